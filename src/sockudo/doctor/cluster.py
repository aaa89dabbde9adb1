"""What the nodes of a running server say of each other: whether all answer, understand each other, agree on time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.operators import operator_answer

__all__ = ["check_cluster", "judge_nodes"]

# Seconds by which clocks may differ before times of events and tokens look wrong, and milliseconds of a round trip.
_MUCH_SKEW: Final = 1.0
_SLOW_MS: Final = 100.0


async def check_cluster(deployment: Deployment) -> Sequence[Finding]:
    """Asks the dashboard of the server that runs here for all nodes."""
    told = await operator_answer(deployment, "nodes")
    if not told.get("nodes"):
        return [not_checked("which nodes there are is for operators: run it on a node with --config and a password")]
    return judge_nodes(told)


def judge_nodes(told: Mapping[str, Any]) -> list[Finding]:
    """``told`` is the answer of ``/dashboard/api/v1/nodes``."""
    nodes = told["nodes"]
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
