"""The area Channels: which there are, who is in one, what it has kept, and a test event for it."""

from __future__ import annotations

from sockudo.dashboard.channels.routes import routes

__all__ = ["routes"]
