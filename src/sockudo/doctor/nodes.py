"""What joins nodes: whether it can be reached as configured, and how long a message takes through it; and what nodes of
a running server say of each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sockudo.base.ids import unique_id
from sockudo.config import ConfigError
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.operators import operator_answer
from sockudo.errors import SockudoError

__all__ = ["check_cluster", "check_nodes", "judge_nodes", "judge_queue"]


_TOPIC: Final = "doctor:"
# What waits there for longer than a moment is what hangs.
_MUCH_UNREAD: Final = 0.1


class _Echo:
    """Waits for a payload of a carrier; its other events do not matter."""

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


# ---- what the nodes say of each other ----


# Seconds by which clocks may differ before times of events and tokens look wrong, and milliseconds of a round trip.
_MUCH_SKEW: Final = 1.0
_SLOW_MS: Final = 100.0


async def check_cluster(deployment: Deployment) -> Sequence[Finding]:
    """Asks the dashboard of the server that runs here for all nodes."""
    answer = await operator_answer(deployment, "nodes")
    if not answer.get("nodes"):
        return [not_checked("which nodes there are is for operators: run it on a node with --config and a password")]
    return judge_nodes(answer)


def judge_nodes(answer: Mapping[str, Any]) -> list[Finding]:
    """``answer`` is that of ``/dashboard/api/v1/nodes``."""
    nodes = answer["nodes"]
    reports = {str(node["name"]): node["report"] for node in nodes if node["report"] is not None}
    found: list[Finding] = []
    silent = [str(node["name"]) for node in nodes if node["report"] is None]
    if silent:
        found.append(
            problem(
                f"{len(silent)} of {len(nodes)} nodes did not answer within a second: {', '.join(silent)}",
                "They still count as alive. Look at their logs, and at what they do: `sockudo doctor` on each.",
            )
        )
    found += _versions(reports)
    found += _clocks(nodes)
    found += _pace(reports)
    if not found:
        found.append(ok(_all_well(len(nodes)), nodes=len(nodes)))
    return found


def _all_well(count: int) -> str:
    return "no other node is joined with this one" if count == 1 else f"{count} nodes answer and agree on the time"


def _versions(reports: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    found = []
    newest_oldest = max((report["versions"][0] for report in reports.values()), default=0)
    behind = [name for name, report in reports.items() if report["versions"][1] < newest_oldest]
    if behind:
        found.append(
            problem(
                f"{', '.join(behind)} cannot be understood by all others, nor understand them (protocol of nodes)",
                "Replace them by the version that the others run.",
            )
        )
    unreadable = {name: report["unreadable"] for name, report in reports.items() if report["unreadable"]}
    if unreadable and not behind:
        shown = ", ".join(f"{name} ({count:,})" for name, count in unreadable.items())
        found.append(
            warning(
                f"some of what other nodes sent was not understood by {shown}",
                "Nodes of a newer version send what an older one leaves out, while a deploy lasts. Otherwise something "
                "else publishes under the same prefix (adapter).",
                **unreadable,
            )
        )
    return found


def _clocks(nodes: Sequence[Mapping[str, Any]]) -> list[Finding]:
    skewed = {
        str(node["name"]): node["clock_skew"]
        for node in nodes
        if node["clock_skew"] is not None and abs(node["clock_skew"]) >= _MUCH_SKEW
    }
    if not skewed:
        return []
    shown = ", ".join(f"{name} by {seconds:+.1f} s" for name, seconds in skewed.items())
    return [
        warning(
            f"clocks differ from the one of the node that was asked: {shown}",
            "Synchronise them (NTP): signatures and tokens are judged by the clock of the node that gets them, and "
            "histories have its times.",
            **skewed,
        )
    ]


def _pace(reports: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    slow = {name: report["round_trip_ms"] for name, report in reports.items() if report["round_trip_ms"] >= _SLOW_MS}
    if not slow:
        return []
    shown = ", ".join(f"{name} {took:,.0f} ms" for name, took in slow.items())
    return [
        warning(
            f"messages between nodes are slow: the last one to itself took {shown}",
            "Where all nodes are slow, look at the broker and the network; where one is, at its event loop.",
            **slow,
        )
    ]
