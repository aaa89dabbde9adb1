"""The area Connections: which there are, how one is doing, and its end."""
