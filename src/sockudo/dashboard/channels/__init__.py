"""The area Channels: which there are, who is in one, what it has kept, and a test event for it."""
