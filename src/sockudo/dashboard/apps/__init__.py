"""The area Apps: pages and API."""

from sockudo.dashboard.apps.pages import routes

__all__ = ["routes"]
