"""From files, variables and options to `Settings`: all problems are reported at once (spec: platform § 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sockudo.config import app_choice, checks, environment, files
from sockudo.config.draft import Draft
from sockudo.config.joining import settle_joining
from sockudo.config.problems import ConfigError
from sockudo.config.schema import APPS, build, declared, value_at
from sockudo.config.settings import Settings
from sockudo.config.tree import read_tree, unknown_key

__all__ = ["Loaded", "load", "reloadable_changes", "reloaded"]

_DEV: Mapping[str, Any] = {
    "host": "127.0.0.1",
    "app_manager.driver": "memory",
    "rate_limiter.enabled": False,
    "connection_recovery.enabled": True,
    "history.enabled": True,
    "presence_history.enabled": True,
    "tag_filtering.enabled": True,
    "queue.driver": "memory",
    "webhooks.allow_private_addresses": True,
    "push.storage_driver": "memory",
    "push.queue_driver": "memory",
    "push.allow_memory_drivers": True,
    **{f"push.{provider}_enabled": True for provider in ("fcm", "apns", "webpush", "hms", "wns")},
    "push.webpush.allow_local_endpoints": True,
}


class Loaded(msgspec.Struct, frozen=True):
    """Settings and how they came about.

    ``sources`` are lines for people: the file and the variables that were read, by name only. ``origins`` says for each
    key that is not at its default where its value came from. ``path`` is the file that was read.
    """

    settings: Settings
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    origins: Mapping[str, str] = {}
    path: Path | None = None


def load(
    *,
    path: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    dev: bool = False,
    overrides: Mapping[str, object] | None = None,
) -> Loaded:
    """Reads the configuration: defaults, ``--dev``, one file, the environment, ``overrides`` from the command line.

    ``overrides`` are dotted keys; None means that the option was not given. Raises ConfigError with every problem.
    Nothing of the process is read but the file: environment and working directory are passed in.
    """
    draft = Draft()
    if dev:
        for key, value in _DEV.items():
            draft.put(key, value, "--dev")
    found = _read_file(draft, path, environ, cwd)
    environment.read(draft, environ)
    _read_overrides(draft, overrides or {})
    app_choice.choose(draft, environ, dev=dev)
    environment.settle_log_level(draft, environ)
    _settle_dashboard(draft)
    settle_joining(draft)
    _settle_history(draft)
    if draft.values.get("dev_origins") and not dev:
        draft.warnings.append("dev_origins has no effect without --dev: allowed_origins of an app decides")
    checks.check(draft)
    if draft.problems:
        raise ConfigError(draft.problems, _located(draft.problems, found, cwd))
    return Loaded(
        build(draft.values, dev=dev, apps_from=_apps_from(draft, found, cwd)),
        tuple(draft.sources),
        tuple(dict.fromkeys(draft.warnings)),
        draft.origins,
        found,
    )


def _located(problems: Sequence[str], file: Path | None, cwd: Path) -> Sequence[str]:
    """The problems with the lines of the file; what cannot be read has none."""
    from sockudo.config.lines import located  # only needed once something is wrong

    try:
        text = "" if file is None else file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        text = ""
    if file is None or not text:
        return problems
    return [located(each, _place(file, cwd), text, toml=file.name.endswith(".toml")) for each in problems]


def _settle_dashboard(draft: Draft) -> None:
    """Without metrics no second listener is expected, unless the dashboard is asked for."""
    asked = "dashboard.enabled" in draft.origins or draft.values.get("dashboard.public", False)
    if draft.values.get("metrics.enabled") is False and not asked:
        draft.put("dashboard.enabled", False, draft.origins["metrics.enabled"])


def _settle_history(draft: Draft) -> None:
    """In development, joined nodes have none of their own; one that is asked for is refused."""
    joined = draft.values.get("adapter.driver", "local") != "local"
    if joined and draft.values.get("history.backend", "sqlite") in checks.OWN_HISTORIES:
        for path in ("history.enabled", "presence_history.enabled"):
            if draft.origins.get(path) == "--dev":
                draft.put(path, False, "--dev")


def _apps_from(draft: Draft, file: Path | None, cwd: Path) -> str:
    origin = draft.origins[APPS] if draft.values.get(APPS) else ""
    # The file goes by a short name in texts about it; its editor needs to find it.
    return str(file) if file is not None and origin == _place(file, cwd) else origin


def _place(file: Path, cwd: Path) -> str:
    return str(file.relative_to(cwd)) if file.is_relative_to(cwd) else str(file)


def _read_file(draft: Draft, path: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    found = files.find(path, cwd)
    if found is None:
        draft.sources.append("no configuration file: defaults")
        return None
    place = _place(found, cwd)
    draft.sources.append(f"file {place}")
    try:
        read_tree(draft, files.read(found, place, environ), place)
    except ConfigError as error:
        draft.problems.extend(error.problems)
    return found


def _read_overrides(draft: Draft, overrides: Mapping[str, object]) -> None:
    given = {key: value for key, value in overrides.items() if value is not None}
    for key, value in given.items():
        setting = declared().get(key)
        if setting is None or setting.kind in ("apps", "rules"):
            draft.problems.append(f"command line: {unknown_key(key)}")
        else:
            draft.read(setting, value, place="command line", name=key, origin="command line")
    if given:
        draft.sources.append(f"command line: {', '.join(given)}")


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
