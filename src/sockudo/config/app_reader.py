"""App records from a file, a variable or a store, in the ``policy`` form or the flat legacy form
(spec: platform § 2.2).

Numbers may come as numeric texts, and null means the default. Everything that would make an app useless later (an empty
secret, a pattern that does not compile) is refused here, by app and field; a secret is never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from sockudo.config import origins
from sockudo.config.app_shape import Shaper
from sockudo.config.apps import App, Channels, Features, Limits, Policy, PreviousSecret
from sockudo.config.problems import ConfigError, nearest
from sockudo.config.values import read_bool, read_number, read_text
from sockudo.config.webhooks import WebhookError, read_webhook, unused_webhooks

__all__ = ["app_to_builtins", "app_warnings", "origin_warnings", "read_app", "read_apps", "read_deltas"]


_ALGORITHMS = ("fossil", "xdelta3")
_WORDS = ("inherit", "disabled", *_ALGORITHMS)


def read_deltas(raw: Mapping[Any, Any], path: str, refuse: Callable[[str, str], None]) -> dict[str, Any]:
    """The same map with words in lower case and numbers for texts that are numbers; what is null is left out.

    ``refuse`` gets the path and the problem of each entry that cannot be used.
    """
    found: dict[str, Any] = {}
    for pattern, value in raw.items():
        where = f"{path}[{pattern!r}]"
        if not isinstance(pattern, str) or not pattern or pattern.count("*") > 1:
            refuse(where, "is no pattern: a channel name with at most one '*'")
        elif isinstance(value, Mapping):
            found[pattern] = _settings(value, where, refuse)
        else:
            try:
                found[pattern] = _word(value, _WORDS)
            except ValueError as error:
                refuse(where, f"= {value!r} {error}")
    return found


def _settings(raw: Mapping[Any, Any], path: str, refuse: Callable[[str, str], None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in _READERS:
            guess = nearest(str(name), _READERS)
            refuse(f"{path}.{name}", "is not known" + (f"; did you mean '{guess}'?" if guess else ""))
        elif value is not None:
            try:
                found[name] = _READERS[name](value)
            except ValueError as error:
                refuse(f"{path}.{name}", f"= {value!r} {error}")
    return found


def _word(raw: object, words: tuple[str, ...]) -> str:
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word in words:
        return word
    raise ValueError(f"is none of {', '.join(words)}")


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "enabled": read_bool,
    "algorithm": lambda raw: _word(raw, _ALGORITHMS),
    "conflation_key": read_text,
    "max_messages_per_key": read_number,
    "max_conflation_keys": lambda raw: read_number(raw, 1),
    "enable_tags": read_bool,
}


# ---- the record ----


_CREDENTIALS = ("id", "key", "secret")
_FLAT: Mapping[str, tuple[str, ...]] = {
    **{name: ("limits", name) for name in Limits.__struct_fields__},
    **{name: ("features", name) for name in Features.__struct_fields__},
    **{name: ("channels", name) for name in Channels.__struct_fields__},
    **{name: (name,) for name in ("webhooks", "idempotency", "connection_recovery")},
}
_TOP = {*App.__struct_fields__, *_FLAT}


def read_app(raw: Mapping[str, Any], where: str) -> App:
    """The app of a record; ``where`` names the place in problems. Raises ConfigError with all that is wrong with it."""
    problems: list[str] = []
    app = _read(raw, where, problems)
    if problems:
        raise ConfigError(problems)
    return app


def read_apps(raw: object, where: str) -> tuple[tuple[App, ...], list[str], list[str]]:
    """The apps of a list, the problems with it and the warnings about it. Ids are unique, so are keys."""
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not all(isinstance(item, Mapping) for item in raw):
        example = "in TOML each app begins with [[app_manager.array.apps]], with its id, key, secret and enabled"
        return (), [f"{where} is not a list of apps: {example}"], []
    apps: list[App] = []
    problems: list[str] = []
    warnings: list[str] = []
    for number, record in enumerate(raw):
        label = f"{where}[{number}]"
        app = _read(record, label, problems)
        warnings.extend(app_warnings(record, app, label))
        for field in ("id", "key"):
            value = getattr(app, field)
            twin = next((i for i, other in enumerate(apps) if value and getattr(other, field) == value), None)
            if twin is not None:
                problems.append(f"{_label(app.id, label)}: {field} = {value!r} is already taken by {where}[{twin}]")
        apps.append(app)
    return tuple(apps), problems, warnings


def app_warnings(raw: Mapping[str, Any], app: App, where: str) -> list[str]:
    """What is allowed and may surprise: left out ``enabled``, origins, webhooks, ignored flat fields."""
    label = _label(app.id, where)
    found: list[str] = []
    if raw.get("enabled") is None:
        found.append(f"{label}: `enabled` is left out, which means false: it takes neither connections nor requests")
    found.extend(f"{label}: {useless}" for useless in origin_warnings(app))
    found.extend(f"{label}: {unused}" for unused in unused_webhooks(app.policy.webhooks))
    if raw.get("policy") is not None:
        ignored = sorted(raw.keys() & _FLAT.keys())
        if ignored:
            found.append(f"{label}: {', '.join(ignored)} next to `policy` is ignored; move it into `policy`")
    return found


def origin_warnings(app: App) -> list[str]:
    """A sentence for each pattern of ``allowed_origins`` that no page can match."""
    reasons = ((pattern, origins.why_unmatched(pattern)) for pattern in app.policy.channels.allowed_origins)
    return [f"policy.channels.allowed_origins has {pattern!r}, which {why}" for pattern, why in reasons if why]


def _label(app_id: object, where: str) -> str:
    return f"{where} (app {app_id!r})" if isinstance(app_id, str) and app_id else where


def _read(raw: Mapping[str, Any], where: str, problems: list[str]) -> App:
    label = _label(raw.get("id"), where)
    problems.extend(f"{label}: {_unknown(name)}" for name in raw if name not in _TOP)
    nested = raw.get("policy")
    shaper = Shaper(label, problems, flat=nested is None)
    policy = shaper.struct(Policy, _lifted(raw) if nested is None else nested, "policy")
    policy = _with_deltas(policy, shaper)
    _check_policy(policy, shaper)
    credentials = {name: _credential(raw.get(name), name, shaper) for name in _CREDENTIALS}
    enabled = shaper.value(bool, raw.get("enabled"), False, "enabled")
    return App(**credentials, enabled=enabled, policy=policy, previous_secret=_previous(raw, shaper))


def _previous(raw: Mapping[str, Any], shaper: Shaper) -> PreviousSecret | None:
    given = raw.get("previous_secret")
    if given is None:
        return None
    previous: PreviousSecret = shaper.struct(PreviousSecret, given, "previous_secret")
    _credential(previous.secret, "previous_secret.secret", shaper)
    return previous


def _lifted(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The flat form as a policy."""
    policy: dict[str, Any] = {}
    for name, target in _FLAT.items():
        if name in raw:
            part = policy
            for step in target[:-1]:
                part = part.setdefault(step, {})
            part[target[-1]] = raw[name]
    return policy


def _unknown(name: str) -> str:
    if name in Policy.__struct_fields__:
        return f"`{name}` is only read inside `policy`"
    guess = nearest(name, _TOP)
    return f"unknown field '{name}'" + (f"; did you mean '{guess}'?" if guess else "")


def _credential(raw: object, name: str, shaper: Shaper) -> str:
    """The text of a credential; a problem is reported without the value, since credentials get mixed up."""
    if not isinstance(raw, str):
        shaper.refuse(name, "is missing" if raw is None else "is not text: put it in quotes")
        return ""
    if not raw:
        shaper.refuse(name, "is empty")
    elif raw != raw.strip() or not raw.isprintable():
        shaper.refuse(name, "has white space around it or a control character in it")
    elif "/" in raw and name in ("id", "key"):
        shaper.refuse(name, "contains '/', which no request path can carry")
    elif raw in (".", "..") and name in ("id", "key"):
        shaper.refuse(name, f"is '{raw}', which clients take out of a request path")
    return raw


def _with_deltas(policy: Policy, shaper: Shaper) -> Policy:
    raw = policy.channels.channel_delta_compression
    if raw is None:
        return policy
    deltas = read_deltas(raw, "policy.channels.channel_delta_compression", shaper.refuse)
    return structs.replace(policy, channels=structs.replace(policy.channels, channel_delta_compression=deltas))


def _check_policy(policy: Policy, shaper: Shaper) -> None:
    for pattern in policy.channels.allowed_origins:
        problem = origins.check_pattern(pattern)
        if problem:
            shaper.refuse("policy.channels.allowed_origins", f"has {pattern!r}, which {problem}")
    names: set[str] = set()
    for number, namespace in enumerate(policy.channels.channel_namespaces):
        path = f"policy.channels.channel_namespaces[{number}]"
        if not namespace.name or ":" in namespace.name:
            shaper.refuse(f"{path}.name", f"= {namespace.name!r} is empty or contains ':'")
        elif namespace.name in names:
            shaper.refuse(f"{path}.name", f"= {namespace.name!r} stands twice")
        names.add(namespace.name)
        if namespace.channel_name_pattern is not None:
            try:
                re.compile(namespace.channel_name_pattern)
            except (re.error, OverflowError, RecursionError) as error:
                shaper.refuse(f"{path}.channel_name_pattern", f"is no regular expression: {error}")
    for number, entry in enumerate(policy.webhooks):
        try:
            read_webhook(entry)
        except WebhookError as problem:
            shaper.refuse(f"policy.webhooks[{number}]", str(problem))


def app_to_builtins(app: App) -> dict[str, Any]:
    """Dicts, lists, texts, numbers and booleans; what is None is left out. Contains the secret.

    `sockudo.config.app_reader.read_app` makes an equal app of it.
    """
    plain: dict[str, Any] = _pruned(msgspec.to_builtins(app))
    return plain


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_pruned(item) for item in value]
    return value
