"""How ``sockudo push`` shows what the server answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import typer

from sockudo.cli.moments import local_time
from sockudo.cli.tables import print_table, printable
from sockudo.push.diagnosis.advice import STATE_WORDS, row_of_class, row_of_status
from sockudo.push.lifecycle import Funnel, funnel
from sockudo.push.records import Counters

__all__ = [
    "funnel_of",
    "print_aligned",
    "print_dead_letters",
    "print_deliveries",
    "print_device",
    "print_devices",
    "print_publishes",
    "print_rows",
    "print_status",
    "remarks",
]

_LABEL: Final = 14
_LONGEST_LIST: Final = 10


def funnel_of(status: Mapping[str, Any]) -> Funnel:
    """How far the publish of a status has come."""
    return funnel(msgspec.convert(status["counters"], Counters))


def print_rows(rows: Mapping[str, str]) -> None:
    for label, text in rows.items():
        typer.echo(f"  {label + ':':<{_LABEL}} {printable(text)}")


# ---- publishes ----


def print_publishes(statuses: Sequence[Mapping[str, Any]], empty: str) -> None:
    """Publishes, one per line and never cut: ids are there to be copied."""
    rows = [["id", "accepted", "state", "planned", "succeeded", "failed", "expired", "retrying", "given up"]]
    for status in statuses:
        counts = funnel_of(status)
        numbers = (counts.planned, counts.succeeded, counts.failed, counts.expired, counts.retrying)
        cells = [f"{number:,}" for number in (*numbers, counts.dead_lettered)]
        rows.append([status["publishId"], local_time(status.get("createdAtMs")), status["state"], *cells])
    print_aligned(rows, empty)


def print_status(status: Mapping[str, Any]) -> None:
    """One publish: its state, its funnel, and what failed."""
    counts = funnel_of(status)
    state = status["state"]
    typer.echo(f"{typer.style(printable(status['publishId']), bold=True)}  {STATE_WORDS.get(state, printable(state))}")
    rows = {
        "planned": f"{counts.planned:,}",
        "sent": f"{counts.sent:,}",
        "succeeded": f"{counts.succeeded:,}",
        "failed": f"{counts.failed:,}",
        "expired": f"{counts.expired:,}",
        "given up": f"{counts.dead_lettered:,}",
        "retrying": f"{counts.retrying:,}",
        "waiting": f"{counts.waiting:,}",
    }
    for label, name in (("accepted", "createdAtMs"), ("not before", "notBeforeMs"), ("expires", "expiresAtMs")):
        if status.get(name):
            rows[label] = local_time(status[name])
    if status.get("retryAfterMs"):
        rows["next try"] = local_time(status["retryAfterMs"])
    if status.get("errorReason"):
        rows["reason"] = status["errorReason"]
    if status.get("missing"):
        rows["reached no device"] = _shortened(status["missing"])
    print_rows(rows)
    failures = status.get("failures", ())
    if failures:
        typer.echo()
        head = ["provider", "failure", "count", "for example", "its answer"]
        print_aligned([head, *map(_failure, failures)], "")


def _failure(sample: Mapping[str, Any]) -> list[str]:
    example = sample.get("example", {})
    return [
        sample["provider"],
        sample.get("failureClass", ""),
        f"{sample['count']:,}",
        example.get("deviceId", "a raw recipient"),
        " ".join(dict.fromkeys(filter(None, (sample["class"], example.get("reason"))))),
    ]


def remarks(status: Mapping[str, Any]) -> Iterator[str]:
    """What to do, for each kind of failure once, for what it waits for, and for the outcome."""
    for each in status.get("waitsFor", ()):
        yield f"{each['provider']} cannot send now; its recipients wait."
        yield f"  → {each['missing']}"
    rows = [row_of_class(sample["class"], sample["provider"]) for sample in status.get("failures", ())]
    rows.append(row_of_status(status["state"], status.get("code"), status.get("errorReason")))
    for row in dict.fromkeys(filter(None, rows)):
        yield row.meaning
        yield f"  → {row.remedy}"
        yield f"  → More: sockudo explain {row.slug}"


def print_deliveries(deliveries: Sequence[Mapping[str, Any]], empty: str) -> None:
    """What became of single recipients."""
    rows = [["time", "device", "provider", "outcome", "attempt", "answer"]]
    for each in deliveries:
        error = each.get("error") or {}
        answer = " ".join(dict.fromkeys(filter(None, (error.get("class"), error.get("reason")))))
        device = each.get("deviceId") or "(raw recipient)"
        attempt = str(each.get("attempt", 1))
        rows.append([local_time(each["occurredAtMs"]), device, each["provider"], each["outcome"], attempt, answer])
    print_aligned(rows, empty)


# ---- devices ----


def print_devices(devices: Sequence[Mapping[str, Any]], empty: str) -> None:
    head = ["id", "client", "platform", "provider", "state", "last active"]
    print_aligned([head, *map(_device_row, devices)], empty)


def _device_row(device: Mapping[str, Any]) -> list[str]:
    return [
        device["id"],
        device.get("clientId") or "-",
        f"{device['platform']} {device['formFactor']}",
        device["recipient"]["provider"],
        _device_state(device),
        local_time(device.get("lastActiveAtMs") or None),
    ]


def print_device(device: Mapping[str, Any], channels: Sequence[str]) -> None:
    """One device and what it is subscribed to; never its token."""
    typer.secho(printable(device["id"]), bold=True)
    print_rows(
        {
            "client": device.get("clientId") or "-",
            "state": _device_state(device),
            "provider": device["recipient"]["provider"],
            "token hash": device["recipient"]["tokenHash"],
            "platform": f"{device['platform']}, {device['formFactor']}",
            "locale": f"{device['locale']}, {device['timezone']}",
            "last active": local_time(device.get("lastActiveAtMs") or None),
            "subscribed to": ", ".join(channels) or "no channel: only publishes to its device or client id reach it",
        }
    )


def _device_state(device: Mapping[str, Any]) -> str:
    failures = device.get("pushFailureCount", 0)
    state = str(device["pushState"])
    if failures:
        state += f", {failures} failures"
    return f"{state}: {device['pushErrorReason']}" if device.get("pushErrorReason") else state


# ---- dead letters ----


def print_dead_letters(letters: Sequence[Mapping[str, Any]], empty: str) -> None:
    head = ["id", "given up", "publish", "provider", "stage", "replay", "reason"]
    print_aligned([head, *map(_letter_row, letters)], empty)


def _letter_row(letter: Mapping[str, Any]) -> list[str]:
    return [
        letter["deadLetterId"],
        local_time(letter["occurredAtMs"]),
        letter["publishId"],
        letter.get("provider") or "-",
        letter["stage"],
        "yes" if letter["replayable"] else "no",
        letter["reason"],
    ]


def print_aligned(rows: list[list[str]], empty: str) -> None:
    """A table whose first row is its head; ``empty`` where it has no other."""
    print_table(rows[0], rows[1:], empty)


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - _LONGEST_LIST
    return ", ".join(names[:_LONGEST_LIST]) + (f" and {more:,} more" if more > 0 else "")
