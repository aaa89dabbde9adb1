"""``sockudo push``: notifications sent, followed and explained, from the command line."""

from sockudo.push.cli.commands import app

__all__ = ["app"]
