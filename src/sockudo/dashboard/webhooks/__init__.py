"""The area Webhooks: pages and API."""

from sockudo.dashboard.webhooks.routes import routes

__all__ = ["routes"]
