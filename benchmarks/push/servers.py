"""The server with push on, over a stand-in for its providers in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import PEERS, Command, Peer, sockudo_config
from benchmarks.processes import pinned
from benchmarks.settings import CLIENT_CORE, PYTHON, ROOT

__all__ = ["DELAY_MS", "providers", "server"]

# How long a provider thinks.
DELAY_MS = 20

_OURS = PEERS["sockudo"]
_VAPID_KEY = "DBDo39wc6fB1KQqF3Nf6Q4JfDh1oIUaYg1nRVGdoAHE"


@contextlib.contextmanager
def providers() -> Iterator[str]:
    """Starts the stand-in on the clients' core; its address."""
    command = [str(PYTHON), "-m", "sockudo.testing.push_server", "--port", "0", "--delay-ms", str(DELAY_MS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(CLIENT_CORE)) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("listening on ")
        finally:
            process.kill()


def server(data: Path, url: str) -> Peer:
    """The server as it comes, with its data in a folder, and FCM and Web Push at that address."""

    def start(port: int, folder: Path) -> Command:
        program = _OURS.start(port, folder)[0][0]
        config = {
            **sockudo_config(port),
            "data_dir": str(data),
            "push": {
                "fcm_enabled": True,
                "webpush_enabled": True,
                "fcm": {"endpoint": url, "project_id": "bench", "provider_token": "bench"},
                "webpush": {"vapid_private_key": _VAPID_KEY, "allow_local_endpoints": True},
            },
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        return [program, "serve", "--config", str(path)], {}

    return Peer("sockudo", "pusher", start, _OURS.build, _OURS.version, ready_path="/live")
