"""The replay buffer of a channel, and the port of the store that keeps streams."""
