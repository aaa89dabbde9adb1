"""``sockudo push``: notifications sent, followed and explained, from the command line."""

from sockudo.cli.push.commands import app

__all__ = ["app"]
