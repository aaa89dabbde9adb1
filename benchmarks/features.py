"""What the features cost: the same loads on the server as it starts, and with all of them on: ``scripts/bench --features``."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from benchmarks.loads import LOADS
from benchmarks.peers import PEERS, Command, Peer, sockudo_config
from benchmarks.report import Table
from benchmarks.results import Results
from benchmarks.session import Plan
from benchmarks.session import measure as measure_plan
from benchmarks.settings import DISK

__all__ = ["GROUPS", "measure", "table"]

GROUPS = ("fan-1", "fan-16", "fan-64", "channels", "open", "publish", "connections")

_OURS = PEERS["sockudo"]
_RATE = "per_server_cpu_second"
_BACKENDS = ("memory", "sqlite")
_EVENTS = ["channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event"]
_APP = {
    "id": "app-id",
    "key": "app-key",
    "secret": "app-secret",
    "enabled": True,
    "policy": {
        "features": {"enable_client_messages": True, "enable_subscription_count": True, "enable_watchlist_events": True},
        "channels": {"v1_recovery": True, "channel_delta_compression": {"*": "fossil"}},
        # Nothing listens there: its deliveries are queued, tried and kept, which is what costs.
        "webhooks": [{"url": "http://127.0.0.1:9/hook", "event_types": _EVENTS}],
    },
}


def _everything(backend: str, data: Path) -> Peer:
    """The server with history in ``backend``, recovery for all clients, filters, deltas, webhooks and counts."""

    def start(port: int, folder: Path) -> Command:
        program = _OURS.start(port, folder)[0][0]
        config = {
            **sockudo_config(port),
            "app_manager": {"driver": "memory", "array": {"apps": [_APP]}},
            "connection_recovery": {"enabled": True},
            "history": {"enabled": True, "backend": backend},
            "tag_filtering": {"enabled": True},
            "delta_compression": {"enabled": True},
            "webhooks": {"allow_private_addresses": True},
            "data_dir": str(data / str(port)),
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        return [program, "serve", "--config", str(path)], {}

    return Peer(backend, "pusher", start, _OURS.build, _OURS.version, ready_path="/live")


def measure(plan: Plan) -> Results:
    """The three servers stand ready together, and each load visits one after the other."""
    data = Path(tempfile.mkdtemp(prefix="bench-features-", dir=DISK))
    try:
        return measure_plan(plan, [_OURS, *(_everything(backend, data) for backend in _BACKENDS)])
    finally:
        shutil.rmtree(data, ignore_errors=True)


def table(results: Results) -> Table:
    """A row for each load: the plain server, and each of the others with its ratio to it."""
    rows = [["work", "as it starts", "every feature on, history in memory", "every feature on, history in SQLite"]]
    for name in GROUPS:
        if results.of("sockudo", name):
            rows.append([LOADS[name].title, *(_cell(results, peer, name) for peer in ("sockudo", *_BACKENDS))])
    return rows


def _cell(results: Results, peer: str, load: str) -> str:
    if fault := results.fault(peer, load):
        return fault
    path, scale, unit = _RATE, 1000.0, "k/s"
    if load == "open":
        path, scale, unit = "server_busy", 0.001, "ms CPU a second"
    if load == "connections":
        path, scale, unit = "rss_kb_per_connection", 1.0, "KB each"
    value = results.median(peer, load, path)
    if value is None:
        return "-"
    ratio = None if peer == "sockudo" else results.ratio((peer, load), ("sockudo", load), path)
    shown = f"{value / scale:,.{1 if value / scale < 100 else 0}f} {unit}"
    return shown if ratio is None else f"{shown}\n{ratio:.2f} ×"
