"""The declarations of `Settings`, read from its fields: what the loader and the reference page walk over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import structs

from sockudo.config.apps import App
from sockudo.config.keys import Key, keys_of
from sockudo.config.push_rules import PushRule
from sockudo.config.settings import Settings

__all__ = ["APPS", "Kind", "Setting", "build", "declared", "sections", "value_at", "variables"]

Kind = Literal["bool", "int", "count", "text", "text or none", "list", "apps", "rules"]

APPS = "app_manager.array.apps"

_LISTS: Mapping[Any, Kind] = {App: "apps", PushRule: "rules"}


class Setting(msgspec.Struct, frozen=True):
    """One key: its dotted path, what kind of value it has, its default and its declaration.

    A ``count`` is a whole number or None, where None means that nothing is counted.
    """

    path: str
    kind: Kind
    default: Any
    key: Key


@cache
def declared() -> Mapping[str, Setting]:
    """Every key by its dotted path, in the order of declaration."""
    return {setting.path: setting for setting in _walk(Settings, "")}


@cache
def sections() -> Mapping[str, str]:
    """What each section is for, by its dotted path; sections that only hold other sections included."""
    found: dict[str, str] = {}
    pending: list[tuple[str, Any]] = [("", Settings)]
    while pending:
        prefix, struct = pending.pop(0)
        for field in _fields(struct):
            if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
                path = f"{prefix}{field.name}"
                found[path] = (field.type.__doc__ or "").strip()
                pending.append((f"{path}.", field.type))
    return found


@cache
def variables() -> Mapping[str, Setting]:
    """Every environment name of our own, with the key it sets."""
    return {name: setting for setting in declared().values() for name in setting.key.names}


def build(values: Mapping[str, Any], *, dev: bool = False, apps_from: str = "") -> Settings:
    """The settings tree with these values by dotted path, defaults everywhere else."""
    settings: Settings = _assemble(Settings, "", values)
    return structs.replace(settings, dev=dev, apps_from=apps_from)


def value_at(settings: Settings, path: str) -> Any:
    """The value of one key."""
    found: Any = settings
    for name in path.split("."):
        found = getattr(found, name)
    return found


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[structs.FieldInfo, ...]:
    # msgspec evaluates the annotations anew each time, which takes longer than all the rest of loading.
    return structs.fields(struct)


def _walk(struct: type[msgspec.Struct], prefix: str) -> Iterator[Setting]:
    keys = keys_of(struct)
    for field in _fields(struct):
        path = f"{prefix}{field.name}"
        if field.name in keys:
            key = keys[field.name]
            if key.env is None:
                key = structs.replace(key, env=path.upper().replace(".", "_"))
            yield Setting(path, _kind(field.type), _default(field), key)
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _walk(field.type, f"{path}.")


def _default(field: structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _kind(hint: Any) -> Kind:
    if hint is bool:
        return "bool"
    if hint is int:
        return "int"
    if get_origin(hint) in (Union, UnionType):
        return "count" if int in get_args(hint) else "text or none"
    if get_origin(hint) is tuple:
        return _LISTS.get(get_args(hint)[0], "list")
    return "text"


def _assemble(struct: type[msgspec.Struct], prefix: str, values: Mapping[str, Any]) -> Any:
    given: dict[str, Any] = {}
    for field in _fields(struct):
        path = f"{prefix}{field.name}"
        if path in values:
            given[field.name] = values[path]
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            given[field.name] = _assemble(field.type, f"{path}.", values)
    return struct(**given)
