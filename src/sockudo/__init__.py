"""Sockudo: a self-hosted realtime server that stock Pusher clients use unchanged."""

from __future__ import annotations

from sockudo.base.version import __version__

__all__ = ["__version__"]
