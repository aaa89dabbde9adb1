"""What the loads and their companions have to agree on."""

__all__ = ["BIG", "ROOM"]

# The presence channel whose members come and go.
ROOM = "presence-room"
# The presence channel of the full server.
BIG = "presence-big"
