"""The area Apps: pages and API."""

from sockudo.dashboard.apps.routes import routes

__all__ = ["routes"]
