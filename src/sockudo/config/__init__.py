"""The configuration: typed settings, declared once, and their loader."""

from __future__ import annotations

from sockudo.config.loader import Loaded, load, reloadable_changes, reloaded
from sockudo.config.problems import ConfigError
from sockudo.config.settings import LogFormat, Settings

__all__ = ["ConfigError", "Loaded", "LogFormat", "Settings", "load", "reloadable_changes", "reloaded"]
