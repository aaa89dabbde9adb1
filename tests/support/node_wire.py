"""What nodes send each other, as types: recorded once for each hundred of protocol versions, and never changed after.

    PYTHONPATH=tests .venv/bin/python -m support.node_wire

adds kinds that are new to the record of today's hundred.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

import sockudo.monitoring.workers
import sockudo.server.serve
import sockudo.server.server
import sockudo.server.services
import sockudo.server.worker  # noqa: F401 - kinds are known once their modules are imported
from sockudo.cluster.items import Item, Request
from sockudo.cluster.wire import VERSION

__all__ = ["broken", "kinds_now", "recorded"]

_WORDS = ("title", "description", "default")


def _record_of(version: int) -> Path:
    return Path(__file__).parent.parent / "contract" / "data" / f"nodes_{version // 100 * 100}.json"


def recorded(version: int = VERSION) -> dict[str, dict[str, Any]]:
    """The kinds of a hundred of versions, as they were when each was added."""
    record: dict[str, dict[str, Any]] = json.loads(_record_of(version).read_bytes())
    return record


def kinds_now() -> dict[str, dict[str, Any]]:
    """The kinds of items and requests of this tree, with the answers of requests, as JSON Schema."""
    found: dict[str, dict[str, Any]] = {}
    for base in (Item, Request):
        for kind in _below(base):
            if not kind.__module__.startswith("sockudo.") or kind.__subclasses__():
                continue
            name = f"{base.__name__.lower()} {kind.__struct_config__.tag}"
            assert name not in found, f"{name} is the name of two kinds"
            found[name] = {"is": _bare(msgspec.json.schema(kind))}
            if issubclass(kind, Request):
                found[name]["answer"] = _bare(msgspec.json.schema(kind.reply))
    return dict(sorted(found.items()))


def _below(base: type[Any]) -> Iterator[type[Any]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _below(kind)


def _bare(schema: Any) -> Any:
    """Without what is for people, and without the values of defaults."""
    if isinstance(schema, Mapping):
        return {
            key: {name: _bare(one) for name, one in value.items()} if key in ("properties", "$defs") else _bare(value)
            for key, value in schema.items()
            if key not in _WORDS
        }
    return [*map(_bare, schema)] if isinstance(schema, list) else schema


def broken(was: Any, now: Any, where: str = "") -> list[str]:
    """Why a node of today and one of the record would not understand each other; empty when they do.

    Fields that may be left out, and further values of an enumeration, are additions.
    """
    if not isinstance(was, Mapping) or not isinstance(now, Mapping):
        return [] if was == now else [f"{where} was {was} and is {now}"]
    found = []
    for key, value in was.items():
        here = f"{where}/{key}"
        if key not in now:
            found.append(f"{here} is gone")
        elif key in ("properties", "$defs"):
            for name, one in value.items():
                if name not in now[key]:
                    found.append(f"{here}/{name} is gone")
                else:
                    found += broken(one, now[key][name], f"{here}/{name}")
        elif key in ("required", "enum"):
            grown = set(now[key]) - set(value) if key == "required" else set()
            if missing := (set(value) - set(now[key])) | grown:
                found.append(f"{here} differs by {sorted(missing)}")
        elif isinstance(value, list) and isinstance(now[key], list) and len(value) == len(now[key]):
            for index, (one, other) in enumerate(zip(value, now[key], strict=True)):
                found += broken(one, other, f"{here}/{index}")
        else:
            found += broken(value, now[key], here)
    if grown := set(now) - set(was) - {"$defs"}:
        found.append(f"{where} has {sorted(grown)}, which it had not")
    return found


def main() -> None:
    """Adds what is new."""
    path = _record_of(VERSION)
    before = recorded() if path.exists() else {}
    kinds = sorted({**kinds_now(), **before}.items())
    lines = [f"{json.dumps(name)}: {json.dumps(kind, sort_keys=True)}" for name, kind in kinds]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
