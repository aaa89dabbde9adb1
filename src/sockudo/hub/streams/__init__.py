"""What was said on a channel, in order: positions, the hot replay buffer, and the port of the durable store."""
