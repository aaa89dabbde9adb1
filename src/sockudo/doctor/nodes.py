"""What joins nodes: whether it can be reached as configured, and how long a message takes through it.

Where that is PostgreSQL, also whether some node does not read what is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final

from sockudo.base.ids import unique_id
from sockudo.config import ConfigError
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.errors import SockudoError

__all__ = ["check_nodes", "judge_queue"]

_TOPIC: Final = "doctor:"
# What waits there for longer than a moment is what hangs.
_MUCH_UNREAD: Final = 0.1


class _Echo:
    """Waits for a payload of a carrier; what else is told does not matter."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    def arrived(self, topic: str, payload: bytes) -> None:
        self.came.set()

    def connected(self) -> None:
        pass

    def disconnected(self, reason: str) -> None:
        pass

    def lost(self, topics: Sequence[str] | None) -> None:
        pass

    def gone(self, topics: Collection[str]) -> None:
        pass


async def check_nodes(deployment: Deployment) -> Sequence[Finding]:
    """Connects as a node does, and sends itself a message."""
    if deployment.make_carrier is None:
        return [not_checked("no --config: what joins nodes is not known")]
    try:
        carrier = deployment.make_carrier()
    except ConfigError as error:
        return [not_checked("what joins nodes (adapter.driver) could not be tried", str(error))]
    if carrier is None:
        return [ok("no broker joins this node with others (adapter.driver)")]
    echo, topic = _Echo(), f"{_TOPIC}{unique_id()}"
    try:
        async with asyncio.timeout(deployment.options.timeout):
            await carrier.open(echo)
            await carrier.subscribe(topic)
            began = time.monotonic()
            carrier.publish(topic, b"echo")
            await echo.came.wait()
    except SockudoError as error:
        return [problem(f"this node cannot be joined with others: {error.text}", "A server does not start so.")]
    except TimeoutError:
        return [
            problem(
                f"{carrier.name}: a message did not come back in time",
                "Is it overloaded, or do firewalls drop what goes there? Nodes hold each other dead in this state.",
            )
        ]
    finally:
        await carrier.close()
    took = (time.monotonic() - began) * 1000
    found = [ok(f"{carrier.name}: a message comes back after {took:.1f} ms", milliseconds=round(took, 1))]
    if deployment.settings is not None and deployment.settings.adapter.driver == "postgres":
        from sockudo.storage.login import notifications_unread

        server, limit_ms = deployment.settings.database.postgres, round(deployment.options.timeout * 1000)
        unread = await asyncio.to_thread(notifications_unread, server, limit_ms)
        found += [] if unread is None else [judge_queue(unread)]
    return found


def judge_queue(unread: float) -> Finding:
    """``unread`` is the part of PostgreSQL's queue of notifications that not all listeners have read."""
    if unread <= _MUCH_UNREAD:
        return ok("PostgreSQL keeps no notifications that nodes do not read", unread=unread)
    return warning(
        f"{unread:.0%} of what PostgreSQL keeps of notifications is not read by all: when it is full, no node can send",
        "Look for a node, or another program that listens on this server, that hangs in a transaction: "
        "SELECT pid, application_name, state FROM pg_stat_activity ORDER BY xact_start.",
        unread=unread,
    )
