"""How a record is changed: a request in, a record that passed every check of a configuration out.

Nothing here knows a store. Values are judged by the reader of configuration files, so that the command line, the
dashboard and a file accept the same; ``where`` names the place in messages about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from msgspec import json, structs

from sockudo.base import ids
from sockudo.config.app_reader import app_to_builtins, read_app
from sockudo.config.apps import App, Channels, Features, Limits, Policy, PreviousSecret
from sockudo.config.problems import ConfigError, nearest

__all__ = [
    "FLAT_NAMES",
    "LONGEST_KEPT",
    "merged",
    "new_app",
    "rotated",
    "settled",
    "version_of",
    "with_values",
    "without_ended",
]

_SECTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(Limits.__struct_fields__, "limits"),
    **dict.fromkeys(Features.__struct_fields__, "features"),
    **dict.fromkeys(Channels.__struct_fields__, "channels"),
}

FLAT_NAMES: Final[Mapping[str, str]] = {
    **{name: f"{section}.{name}" for name, section in _SECTIONS.items()},
    **{name: name for name in Policy.__struct_fields__ if name not in _SECTIONS.values()},
}
"""The dotted path below ``policy`` of every field that has a flat name (spec: platform § 2.2)."""

LONGEST_KEPT: Final = 30 * 86_400
"""Seconds for which an old secret may be accepted beside the new one, at most."""

_VERSION_BYTES: Final = 8


def new_app(record: Mapping[str, Any], where: str) -> App:
    """An app from a record, nested or flat; credentials that are left out are made up, and it is enabled unless

    Raises ConfigError with everything that is wrong with it.
    """
    made = dict(zip(("id", "key", "secret"), ids.app_credentials(), strict=True))
    given = {name: value for name, value in record.items() if value is not None}
    return read_app({**made, "enabled": True, **given}, where)


def with_values(app: App, values: Mapping[str, Any], where: str) -> App:
    """The app with fields of its policy, by dotted path, in place of its own; None is the wish for the default.

    Raises ConfigError with every value that is not allowed.
    """
    plain = app_to_builtins(app)
    for path, value in values.items():
        *sections, name = path.split(".")
        part = plain["policy"]
        for section in sections:
            part = part.setdefault(section, {})
        part[name] = value
    return read_app(plain, where)


def merged(app: App, change: Mapping[str, Any], where: str, *, replace_policy: bool = False) -> App:
    """The app with a part of a record laid over it: objects are merged, everything else replaces, null goes back.

    With ``replace_policy`` the change's policy stands in place of the whole policy. An app keeps its id; null changes
    nothing where a field has no default to go back to. Raises ConfigError for what a record cannot hold, unknown fields
    included.
    """
    problems = [_unknown(name, where) for name in change if name not in App.__struct_fields__]
    if change.get("id", app.id) != app.id:
        problems.append(f"{where}: id cannot be changed: add another app and remove this one")
    if replace_policy and change.get("policy") is None:
        problems.append(f"{where}: policy is missing, which was to replace the whole policy")
    if problems:
        raise ConfigError(problems)
    plain = app_to_builtins(app)
    if replace_policy:
        plain["policy"] = {}
    return read_app(_laid_over(plain, {name: value for name, value in change.items() if value is not None}), where)


def _unknown(name: str, where: str) -> str:
    if name in FLAT_NAMES:
        return f"{where}: {name} is a part of the policy: policy.{FLAT_NAMES[name]}"
    guess = nearest(name, App.__struct_fields__)
    return f"{where}: unknown field '{name}'" + (f"; did you mean '{guess}'?" if guess else "")


def _laid_over(base: Any, change: Any) -> Any:
    """RFC 7396, which is what people mean by a deep merge."""
    if not isinstance(change, Mapping):
        return change
    result = dict(base) if isinstance(base, Mapping) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _laid_over(result.get(name), value)
    return result


def rotated(app: App, *, key: bool = False, until: int | None = None) -> App:
    """The app with a new secret, 24 random bytes as hex (spec: platform § 8.1), and with ``key`` a new key as well.

    The old secret is accepted ``until`` then, in Unix seconds, without it no longer; one from before that is not.
    """
    _, new_key, _ = ids.app_credentials()
    previous = None if until is None else PreviousSecret(app.secret, until)
    return structs.replace(app, secret=ids.app_secret(), key=new_key if key else app.key, previous_secret=previous)


def without_ended(app: App, now: float) -> App:
    """The app without a previous secret that has ended; itself when there is none."""
    if app.previous_secret is None or app.previous_secret.until > now:
        return app
    return structs.replace(app, previous_secret=None)


def settled(app: App) -> dict[str, Any]:
    """The fields of the policy that are not at their default, by flat name."""
    policy, default = app_to_builtins(app)["policy"], app_to_builtins(App("", "", ""))["policy"]
    found: dict[str, Any] = {}
    for name in FLAT_NAMES:
        own, usual = (part.get(_SECTIONS[name], {}) if name in _SECTIONS else part for part in (policy, default))
        if own.get(name) != usual.get(name):
            found[name] = own[name]
    return found


def version_of(app: App) -> str:
    """A short text that is another one after any change of the record, and the same on every node.

    A writer compares it with the version of the record that it read.
    """
    return blake2b(json.encode(app, order="deterministic"), digest_size=_VERSION_BYTES).hexdigest()
