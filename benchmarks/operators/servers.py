"""The server as operators have it: with webhooks, and with a dashboard whose password is known."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers import PEERS, Command, Peer, sockudo_config

__all__ = ["PASSWORD", "server"]

PASSWORD = "measured-password"

_OURS = PEERS["sockudo"]
_APP = {"id": "app-id", "key": "app-key", "secret": "app-secret", "enabled": True}
_EVENTS = ["channel_occupied", "channel_vacated", "member_added", "member_removed"]


def server(name: str, data: Path, hooks: list[str] | None = None) -> Peer:
    """The server with its data in a folder; ``hooks`` are the webhooks of its app, each told everything of presence."""
    webhooks = [{"url": url, "event_types": _EVENTS} for url in hooks or []]

    def start(port: int, folder: Path) -> Command:
        program = _OURS.start(port, folder)[0][0]
        config = {
            **sockudo_config(port),
            "app_manager": {"driver": "memory", "array": {"apps": [{**_APP, "policy": {"webhooks": webhooks}}]}},
            "presence": {"max_members_per_channel": 10_000},
            "webhooks": {"allow_private_addresses": True},
            "dashboard": {"password": PASSWORD},
            "data_dir": str(data),
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        return [program, "serve", "--config", str(path)], {}

    return Peer(name, "pusher", start, _OURS.build, _OURS.version, ready_path="/live")
