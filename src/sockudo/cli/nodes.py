"""``sockudo nodes``: which nodes live and how they are, and draining one."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from sockudo.cli.groups import command_group, examples_with
from sockudo.cli.operators import DashboardConfig, DashboardPassword, DashboardUrl, Operators
from sockudo.cli.options import Json, Yes
from sockudo.cli.outcome import note
from sockudo.cli.tables import print_json, print_table

__all__ = ["app"]

_EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused by the server, or not every node answered · 2 wrong usage · "
    "3 the server could not be reached"
)
_COLUMNS: Final = (
    "node", "id", "state", "version", "uptime", "connections", "channels", "cpu", "lag", "beat", "round trip", "owns",
    "uses",
)  # fmt: skip

app = command_group("The nodes that behave as one server.", _EXIT_CODES)

_example = examples_with(_EXIT_CODES)


@app.callback(
    invoke_without_command=True, no_args_is_help=False, epilog=_example("sockudo nodes --config sockudo.toml")
)
def nodes(
    context: typer.Context,
    *,
    as_json: Json = False,
    url: DashboardUrl = None,
    password: DashboardPassword = None,
    config: DashboardConfig = None,
) -> None:
    """List every live node, by what each reports of itself: state, version, connections, load, when its last beat came.

    Any node can be asked for all. It is the API of the dashboard that answers.
    """
    if context.invoked_subcommand is not None:
        return
    answer = Operators.found(url, password, config).get("nodes")
    if as_json:
        print_json(answer)
    else:
        print_table(_COLUMNS, [_row(node) for node in answer["nodes"]], "No node answers.")
    if not answer["complete"]:
        note("Not every node has answered in time: what is missing stands as –.")
        raise typer.Exit(1)


@app.command(epilog=_example("sockudo nodes drain realtime-2 --seconds 60"))
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its name, its id, or the beginning of its id.")],
    *,
    seconds: Annotated[
        int, typer.Option(min=0, max=3600, metavar="N", help="Spread the ends of its connections over so long.")
    ] = 30,
    yes: Yes = False,
    url: DashboardUrl = None,
    password: DashboardPassword = None,
    config: DashboardConfig = None,
) -> None:
    """Drain a node: it takes no new connections, and its clients are sent away to connect again (4200).

    Its `/up` says DRAINING, so that a balancer sends clients elsewhere. HTTP requests are still served. It stays so
    until it is started anew.
    """
    from sockudo.cli.calls import ask, refuse_without_terminal

    operators = Operators.found(url, password, config)
    refuse_without_terminal(yes)
    if not yes:
        ask(f"Drain the node {node}? Its clients will connect again.", "The node was left as it is.")
    report = operators.post(f"nodes/{quote(node, safe='')}/drain", {"seconds": seconds})
    note(f"The node {report['node']} is draining.")


def _row(node: dict[str, Any]) -> list[str]:
    report = node["report"]
    name = f"{node['name']} *" if node["me"] else str(node["name"])
    beat = f"{node['beat_age']:.1f} s ago"
    if report is None:
        return [name, node["id"][:8], "no answer", *["–"] * 6, beat, "–", "–", "–"]
    lag = "–" if report["loop_lag_ms"] is None else f"{report['loop_lag_ms']:.1f} ms"
    return [
        name,
        node["id"][:8],
        _state(node, report),
        f"{report['version']} (bus {report['versions'][0]}-{report['versions'][1]})",
        _span(report["at"] - report["started_at"]),
        f"{report['connections']:,}",
        f"{report['channels']:,}",
        f"{report['cpu']:.0%}",
        lag,
        beat,
        f"{report['round_trip_ms']:.1f} ms",
        ", ".join(f"{count:,} {what}" for what, count in report.get("owns", {}).items() if count) or "–",
        ", ".join(f"{what}: {place}" for what, place in report["uses"].items()),
    ]


def _state(node: dict[str, Any], report: dict[str, Any]) -> str:
    state = "draining" if report["draining"] else "in service" if report["role"] == "default" else str(report["role"])
    skew = node["clock_skew"]
    return f"{state}, clock {skew:+.1f} s" if skew else state


def _span(seconds: float) -> str:
    minutes, whole = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole} s"
