"""What a reload may change (SIGHUP)."""

from __future__ import annotations

from sockudo.config.schema import build, declared, value_at
from sockudo.config.settings import Settings

__all__ = ["reloadable_changes", "reloaded"]


def reloadable_changes(old: Settings, new: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys whose values differ: those that apply at once, and those that need a restart."""
    applied: list[str] = []
    ignored: list[str] = []
    for path, setting in declared().items():
        if value_at(old, path) != value_at(new, path):
            (applied if setting.key.reload else ignored).append(path)
    return tuple(applied), tuple(ignored)


def reloaded(old: Settings, new: Settings) -> Settings:
    """The old settings with everything taken over from ``new`` that may change at once, and nothing else."""
    values = {path: value_at(new if setting.key.reload else old, path) for path, setting in declared().items()}
    return build(values, dev=old.dev, apps_from=new.apps_from)
