"""Mistakes that people make, and what has to be shown of each: to who made it, and to the operators of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from support.operators import PASSWORD, dashboard_config
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.tokens import TOKEN_APP
from support.waiting import wait_until

__all__ = ["BEARER", "FULL", "OFF", "STRICT", "TALKING", "Mistake", "check", "mistaken_server", "problems"]

BEARER: Final = {"Authorization": f"Bearer {PASSWORD}"}

TALKING: Final = Credentials("talking", "talking-key", "talking-secret")
"""Client events are on."""
STRICT: Final = Credentials("strict", "strict-key-5d21c0", "strict-secret")
"""For pages of one origin; client events are off."""
OFF: Final = Credentials("off", "off-key-c1d2e3", "off-secret")
"""Disabled."""
FULL: Final = Credentials("full", "full-key-8810fe", "full-secret")
"""One connection at most."""


class Mistake(NamedTuple):
    """``make`` makes it, and insists on what is answered. Operators find ``error`` with ``text``, which is what was
    said or its cause, among the problems, and ``remedy`` in its advice or beside its cause.
    """

    name: str
    make: Callable[[ServerProcess], object]
    error: str
    text: str
    remedy: str


@contextmanager
def mistaken_server(**more: Mapping[str, Any]) -> Iterator[ServerProcess]:
    """A server on which they can be made, one after another."""
    apps = [
        app_record(DEFAULT_APP),
        app_record(STRICT, channels={"allowed_origins": ["https://only.example"]}, features={}),
        app_record(TALKING, features={"enable_client_messages": True}),
        app_record(FULL, limits={"max_connections": 1}),
        app_record(TOKEN_APP),
        {**app_record(OFF), "enabled": False},
    ]
    config = {
        **dashboard_config(),
        **STREAMS,
        "app_manager": {"array": {"apps": apps}},
        "websocket": {"max_messages": 100, "max_backpressure": 65_536},
        **more,
    }
    with start_server(config) as server:
        yield server


def problems(server: ServerProcess, error: str) -> list[dict[str, Any]]:
    """The groups of problems in which the word is."""
    path = f"/dashboard/api/v1/problems?q={error}"
    found: list[dict[str, Any]] = server.request("GET", path, port=server.metrics_port, headers=BEARER).json()["items"]
    return found


def check(server: ServerProcess, mistake: Mistake) -> None:
    """Makes the mistake, and looks whether operators are shown what it was and what to do."""
    mistake.make(server)

    def shown() -> list[tuple[str, str]]:
        """Of each group of this error that has the text: all that is said, and the advice."""
        found = []
        for group in problems(server, mistake.error):
            entry, explanation = group["last"][0], group["explanation"]
            cause = entry.get("cause") or ""
            said = f"{entry['text']} {cause} {entry.get('origin')}"
            if group["error"] == mistake.error and mistake.text in said:
                found.append((said, " ".join((explanation["remedy"], *explanation["causes"], cause))))
        return found

    wait_until(shown, f"{mistake.error} with {mistake.text!r} to be noted")
    [(_, advice)] = shown()
    assert mistake.remedy in advice
