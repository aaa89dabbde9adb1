"""The tables: what the server has to reach, and every peer beside every other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

from benchmarks.loads import LOADS
from benchmarks.results import Results
from benchmarks.settings import FRAME, NOISY
from benchmarks.targets import ROWS

__all__ = ["comparison", "head", "markdown", "noise", "plain", "targets"]

Table = list[list[str]]

_RATE = "per_server_cpu_second"
_RATED = ("fan-1", "fan-4", "fan-16", "fan-64", "channels", "publish")


def plain(table: Table) -> str:
    """Aligned columns for a terminal; a cell of several lines makes its row as high."""
    split = [[cell.split("\n") for cell in row] for row in table]
    widths = [max(len(line) for row in split for line in row[column]) for column in range(len(table[0]))]
    lines = []
    for row in split:
        for parts in zip_longest(*row, fillvalue=""):
            lines.append("  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def markdown(table: Table) -> str:
    """The same as a Markdown table."""
    first, *rest = ["| " + " | ".join(row).replace("\n", "<br>") + " |" for row in table]
    return "\n".join([first, "| --- |" + " ---: |" * (len(table[0]) - 1), *rest])


def head(results: Results) -> list[str]:
    """What, where and when; one line each."""
    meta = results.meta
    lines = [
        f"Measured {meta['date']} on {meta['machine']}; {meta['repetitions']} × {meta['seconds']:g} s, medians.",
        f"Server on core {meta['server_core']}, load generator on core {meta['client_core']}.",
        *(f"{name}: {version}" for name, version in meta["versions"].items()),
    ]
    if any(run["peer"] == "floor" for run in results.runs):
        lines.append(f"floor: one bare send() of {FRAME} bytes per delivery, from C, and nothing else")
        lines.append("io_uring floor: the same sends, up to 512 to a system call")
    return lines + [f"left out: {name} ({why})" for name, why in meta.get("left_out", {}).items()]


def noise(results: Results) -> str:
    """How many runs something else disturbed, and the worst of them; or nothing."""
    runs = results.noisy()
    watched = sum("foreign_cores" in run["figures"] for run in results.runs)
    worst = f"Something else used more than {NOISY} cores during {len(runs)} of {watched} runs; the most: {', '.join(runs[:6])}."
    return worst if runs else ""


def targets(results: Results) -> Table:
    """One row for each promise; rates are deliveries (or publishes) per CPU-second of the server."""
    table = [["work", "ours", "uWS", "Bun", "floor", "io_uring floor", "found", "must reach", "reached"]]
    for row in ROWS:
        if not results.of("sockudo", row.load) and not results.of("uws", row.load):
            continue
        bare, batched = (results.median("floor", row.load + suffix, _RATE) for suffix in ("", "-uring"))
        table.append(
            [
                row.work,
                results.fault("sockudo", row.load) or row.figure(results, "sockudo"),
                results.fault("uws", row.load) or row.figure(results, "uws"),
                results.fault("bun", row.load) or row.figure(results, "bun"),
                *(f"{rate / 1000:,.0f} k/s" if rate else "-" for rate in (bare, batched)),
                "\n".join(check.found(results) for check in row.checks),
                "\n".join(check.wanted() for check in row.checks),
                "\n".join(row.reached(results)),
            ]
        )
    return table


def _spread(results: Results, peer: str, load: str, *path: str, scale: float = 1.0, digits: int = 0) -> str:
    if fault := results.fault(peer, load):
        return fault
    found = results.spread(peer, load, *path)
    if not found:
        return "-"
    low, middle, high = (f"{value / scale:,.{digits}f}" for value in found)
    return middle if low == high else f"{middle} [{low}-{high}]"


def _with_ratio(results: Results, peer: str, load: str) -> str:
    cell = _spread(results, peer, load, _RATE, scale=1000, digits=1 if load == "publish" else 0)
    ratio = None if peer in ("uws", "floor") else results.ratio((peer, load), ("uws", load), _RATE)
    return cell if ratio is None else f"{cell} ×{ratio:.2f}"


def _latency(results: Results, peer: str, load: str) -> str:
    part = "ack_ms" if load == "publish" else "latency_ms"
    values = [results.median(peer, load, part, quantile) for quantile in ("p50", "p99")]
    return "-" if None in values else " / ".join(f"{value:.1f}" if value and value >= 1 else f"{value:.2f}" for value in values)


def comparison(results: Results) -> list[tuple[str, Table]]:
    """Titled tables of all peers: rates, latency, the open loop and connections."""
    peers = results.peers()
    loads = [load for load in _RATED if any(results.of(peer, load) for peer in peers)]

    def rows(names: list[str], cell: Callable[[str, str], str], columns: list[str]) -> Table:
        return [["load", *columns], *([LOADS[load].title, *(cell(peer, load) for peer in columns)] for load in names)]

    tables = [
        ("Deliveries (or publishes) per server CPU-second, thousands [lowest-highest] ×ratio to uWS", rows(loads, lambda peer, load: _with_ratio(results, peer, load), ["floor", *peers])),
        ("Latency under that load, ms: p50 / p99, from the publish to its last subscriber (or its answer)", rows(loads, lambda peer, load: _latency(results, peer, load), peers)),
    ]
    if any(results.of(peer, "open") for peer in peers):
        tables.append(("Open loop: 100 publishes a second to 500 subscribers", _figures(results, "open", peers, {
            "server CPU, ms per second": lambda peer: _spread(results, peer, "open", "server_busy", scale=0.001),
            "p50 / p99 from the scheduled moment, ms": lambda peer: _latency(results, peer, "open"),
        })))
    if any(results.of(peer, "connections") for peer in peers):
        tables.append(("5,000 idle subscribers of one channel", _figures(results, "connections", peers, {
            "KB resident per connection": lambda peer: _spread(results, peer, "connections", "rss_kb_per_connection", digits=1),
            "MB resident before any": lambda peer: _spread(results, peer, "connections", "rss_kb_before", scale=1024),
            "CPU µs to connect and subscribe": lambda peer: _spread(results, peer, "connections", "connect_cpu_us"),
        })))
    return tables


def _figures(results: Results, load: str, peers: list[str], cells: dict[str, Callable[[str], str]]) -> Table:
    measured = [peer for peer in peers if results.of(peer, load)]
    return [["figure", *measured], *([name, *(cell(peer) for peer in measured)] for name, cell in cells.items())]
