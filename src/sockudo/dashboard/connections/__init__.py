"""The area Connections: which there are, how one is doing, and its end."""

from __future__ import annotations

from sockudo.dashboard.connections.routes import routes

__all__ = ["routes"]
