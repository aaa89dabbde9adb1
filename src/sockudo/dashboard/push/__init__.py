"""The area Push: pages and API."""

from sockudo.dashboard.push.routes import routes

__all__ = ["routes"]
