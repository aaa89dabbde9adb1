"""``sockudo webhooks``: what endpoints were sent, dead letters, and trying one out."""

from sockudo.webhooks.cli.commands import app

__all__ = ["app"]
