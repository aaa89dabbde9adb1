"""A parsed configuration file, key by key, against the declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sockudo.config import app_reader, push_rules, unsupported
from sockudo.config.draft import Draft
from sockudo.config.problems import nearest
from sockudo.config.schema import declared, sections

__all__ = ["read_tree", "unknown_key"]


def read_tree(draft: Draft, tree: Mapping[str, Any], place: str) -> None:
    """Puts every key of the file into the draft; what is unknown or wrong becomes a problem that names ``place``."""
    _read_section(draft, tree, "", place)


def _read_section(draft: Draft, section: Mapping[str, Any], prefix: str, place: str) -> None:
    for name, raw in section.items():
        path = f"{prefix}{name}"
        setting = declared().get(path)
        if setting is not None and setting.kind == "apps":
            _read_apps(draft, raw, path, place)
        elif setting is not None and setting.kind == "rules":
            _read_rules(draft, raw, path, place)
        elif setting is not None:
            draft.read(setting, raw, place=place, name=path, origin=place)
        elif path in sections():
            if isinstance(raw, Mapping):
                _read_section(draft, raw, f"{path}.", place)
            else:
                draft.problems.append(f"{place}: {path} is a section, not a value")
        elif unsupported.is_inert(path):
            continue
        elif unsupported.part_of(path) is not None:
            _weigh_part(draft, raw, path, place)
        else:
            draft.problems.append(f"{place}: {unknown_key(path)}")


def _read_apps(draft: Draft, raw: Any, path: str, place: str) -> None:
    apps, problems, warnings = app_reader.read_apps(raw, path)
    draft.put(path, apps, place)
    draft.problems.extend(f"{place}: {problem}" for problem in problems)
    draft.warnings.extend(f"{place}: {warning}" for warning in warnings)


def _read_rules(draft: Draft, raw: Any, path: str, place: str) -> None:
    rules, problems = push_rules.read_rules(raw, path)
    draft.put(path, rules, place)
    draft.problems.extend(f"{place}: {problem}" for problem in problems)


def _weigh_part(draft: Draft, raw: Any, path: str, place: str) -> None:
    """A part that is off passes, one that is on is refused, anything else has no effect."""
    part = unsupported.part_of(path)
    if part is None:
        return
    _, reason = part
    switches = _switches(raw, path)
    refused = [name for name, value in switches.items() if unsupported.switched_on(value)]
    draft.problems.extend(f"{place}: {name} = true: {reason}" for name in refused)
    if not switches:
        label = f"[{path}]" if path in unsupported.PARTS and isinstance(raw, (Mapping, list)) else path
        draft.warnings.append(f"{place}: {label} has no effect: {reason}")


def _switches(raw: Any, path: str) -> dict[str, Any]:
    if path in unsupported.SWITCHES:
        return {path: raw}
    if not isinstance(raw, Mapping):
        return {}
    return {f"{path}.{name}": value for name, value in raw.items() if f"{path}.{name}" in unsupported.SWITCHES}


def unknown_key(path: str) -> str:
    """The text about an unknown key: the name that was probably meant."""
    prefix, _, leaf = path.rpartition(".")
    known = unsupported.MISNOMERS.get(path) or _sibling(f"{prefix}." if prefix else "", leaf) or _elsewhere(leaf)
    return f"unknown key '{path}'" + (f"; did you mean '{known}'?" if known else "")


def _sibling(prefix: str, leaf: str) -> str | None:
    paths = (*declared(), *sections())
    names = {path[len(prefix) :].partition(".")[0] for path in paths if path.startswith(prefix)}
    guess = nearest(leaf, names | set(unsupported.known_below(prefix)))
    return f"{prefix}{guess}" if guess else None


def _elsewhere(leaf: str) -> str | None:
    by_leaf = {path.rpartition(".")[2]: path for path in reversed([*declared(), *sections()])}
    guess = nearest(leaf, by_leaf)
    return by_leaf[guess] if guess else None
