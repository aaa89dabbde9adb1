"""The server in the configurations that are measured, each no further from its defaults than the row needs."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers import PEERS, Command, Peer, sockudo_config
from benchmarks.settings import HERE, PYTHON

__all__ = ["PLAIN", "SERVERS", "counted", "durable", "one_per_commit", "reference"]

_OURS = PEERS["sockudo"]


def _config(port: int, folder: Path, sections: dict[str, object]) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({**sockudo_config(port), **sections}))
    return str(path)


def _server(name: str, program: list[str] | None = None, **sections: object) -> Peer:
    def start(port: int, folder: Path) -> Command:
        command = _OURS.start(port, folder)[0][:1] if program is None else program
        return [*command, "serve", "--config", _config(port, folder, sections)], {}

    return Peer(name, "pusher", start, _OURS.build, _OURS.version, ready_path="/live")


def _altered(what: str, file: Path | None = None) -> list[str]:
    return [str(PYTHON), str(HERE / "v2/altered.py"), what, str(file or "-")]


_RECOVERY = {"connection_recovery": {"enabled": True}}
_FILTERS = {"tag_filtering": {"enabled": True}}

PLAIN = _server("plain")
SERVERS = {"plain": PLAIN, "recovery": _server("recovery", **_RECOVERY), "filters": _server("filters", **_FILTERS)}


def _history(data: Path | None, database: dict[str, object] | None) -> dict[str, object]:
    if database is not None:
        return {"history": {"enabled": True, "backend": "postgres"}, "database": {"postgres": database}}
    return {"history": {"enabled": True, "backend": "sqlite"}, "data_dir": str(data)}


def durable(data: Path | None = None, database: dict[str, object] | None = None) -> Peer:
    """Everything is stored, in SQLite in a folder or in PostgreSQL, and can be recovered."""
    return _server("durable", **_RECOVERY, **_history(data, database))


def one_per_commit(data: Path) -> Peer:
    """The same with SQLite, but no two messages share a commit."""
    return _server("one-per-commit", _altered("one-per-commit"), **_RECOVERY, **_history(data, None))


def counted(file: Path) -> Peer:
    """Counts evaluations of filters and encodings of deltas into a file."""
    return _server("counted", _altered("count", file), **_FILTERS)


def reference(data: Path) -> Peer:
    """A bare program that commits each publish on its own; ``peers/onecommit/server.py``."""
    command = [str(PYTHON), str(HERE / "peers/onecommit/server.py"), str(data / "entries.sqlite3")]
    return Peer("bare", "pusher", lambda port, folder: (command, {}), lambda: None, lambda: "")
