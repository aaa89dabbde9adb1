"""How ``sockudo webhooks`` shows what the server answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import typer

from sockudo.cli.moments import local_time
from sockudo.cli.tables import print_table, printable

__all__ = [
    "dead_sentence",
    "print_deliveries",
    "print_delivery",
    "print_endpoints",
    "remarks",
    "replayed_sentence",
    "spelled",
]

_LABEL: Final = 12
_STATES: Final = {
    "ok": "ok",
    "failing": "failing",
    "held_back": "failing, left alone for now",
    "untried": "not tried yet",
}


# ---- endpoints ----


def print_endpoints(reply: Mapping[str, Any]) -> None:
    """The endpoints of an app, each with its addresses in full: a table would cut them."""
    if not reply["endpoints"]:
        typer.echo("The app has no webhooks: they stand in its record, under policy.webhooks.")
    for number, endpoint in enumerate(reply["endpoints"]):
        if number:
            typer.echo()
        typer.echo(f"{typer.style(endpoint['id'], bold=True)}  {printable(endpoint['url'] or '(removed)')}")
        _print_rows(_endpoint_rows(endpoint))


def _endpoint_rows(endpoint: Mapping[str, Any]) -> dict[str, str]:
    counts = ", ".join(f"{endpoint['counts'][name]:,} {name}" for name in ("waiting", "dead", "delivered"))
    if endpoint["url"] is None:
        return {"deliveries": counts}
    last = endpoint["last_answer"]
    rows = {
        "events": " ".join(endpoint["events"]) + _filter(endpoint["filter"]),
        "deliveries": counts,
        "state": _STATES.get(endpoint["state"], endpoint["state"]),
    }
    if last is not None:
        rows["last answer"] = f"{spelled(last)} after {last['took_ms']:,} ms, {local_time(last['at_ms'])}"
    return rows


def _print_rows(rows: Mapping[str, str]) -> None:
    for label, text in rows.items():
        typer.echo(f"  {label + ':':<{_LABEL}} {printable(text)}")


def _filter(condition: Mapping[str, Any]) -> str:
    if not condition:
        return ""
    parts = [f"{name}={value if isinstance(value, str) else ','.join(value)}" for name, value in condition.items()]
    return f" ({' '.join(parts)})"


def remarks(reply: Mapping[str, Any]) -> Iterator[str]:
    """What the table does not say: what to do about endpoints that fail, what is not used, and the queue."""
    for endpoint in reply["endpoints"]:
        advice = (endpoint.get("last_answer") or {}).get("advice")
        if advice:
            yield f"{endpoint['id']}: {advice}"
    if any(endpoint["counts"]["dead"] for endpoint in reply["endpoints"]):
        yield "`sockudo webhooks dead` shows the dead letters, `sockudo webhooks replay` sends them again."
    yield from reply["ignored"]
    queue = reply["queue"]
    if not queue["healthy"]:
        waiting = queue["events_not_queued"]
        yield f"The queue does not work: {waiting:,} events wait in the server's memory. Its log says why."
    if queue["events_lost"]:
        yield f"Lost because the queue took nothing for too long: {queue['events_lost']:,} events."


def dead_sentence(reply: Mapping[str, Any], endpoint_id: str | None) -> tuple[int, str]:
    """How many dead letters an endpoint has, or all together, and that in words."""
    chosen = [each for each in reply["endpoints"] if endpoint_id is None or each["id"] == endpoint_id]
    count = sum(each["counts"]["dead"] for each in chosen)
    where = "The app" if endpoint_id is None else f"{endpoint_id} ({chosen[0]['url'] or 'removed'})" if chosen else ""
    return count, f"{printable(where or endpoint_id or '')} has {_number(count, 'dead letter')}."


# ---- deliveries ----


def print_deliveries(deliveries: Sequence[Mapping[str, Any]], empty: str) -> None:
    """Deliveries, one per line and never cut: ids are there to be copied."""
    rows = [
        [
            each["id"],
            local_time(each["created_at_ms"]),
            _outcome(each),
            str(each["attempt_count"]),
            str(each["events"]),
            each["url"] or f"{each['endpoint']} (removed)",
        ]
        for each in deliveries
    ]
    if not rows:
        typer.echo(empty)
        return
    rows.insert(0, ["id", "queued", "state", "attempts", "events", "endpoint"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        line = "  ".join(printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        typer.echo(typer.style(line, bold=True) if number == 0 else line)


def _outcome(delivery: Mapping[str, Any]) -> str:
    return delivery["state"] if delivery["reason"] is None else f"{delivery['state']}: {delivery['reason']}"


def print_delivery(delivery: Mapping[str, Any]) -> None:
    """Everything about one delivery: its attempts, and the body."""
    rows = {
        "state": _outcome(delivery),
        "endpoint": f"{delivery['endpoint']} {delivery['url'] or '(removed)'}",
        "queued": local_time(delivery["created_at_ms"]),
        "attempts": str(delivery["attempt_count"]),
        "holds": f"{_number(delivery['events'], 'event')}, {delivery['bytes']:,} bytes",
    }
    if delivery["due_at_ms"] is not None:
        rows["next try"] = f"{local_time(delivery['due_at_ms'])}, or when what is before it is done"
    if delivery["settled_at_ms"] is not None:
        rows["given up" if delivery["state"] == "dead" else "delivered"] = local_time(delivery["settled_at_ms"])
    typer.secho(printable(delivery["id"]), bold=True)
    _print_rows(rows)
    if delivery["attempts"]:
        typer.echo()
        print_table(["attempt", "time", "took", "answer", "body"], [_attempt_row(a) for a in delivery["attempts"]], "")
    typer.echo(f"\n{_pretty(delivery['body'])}")


def _attempt_row(attempt: Mapping[str, Any]) -> list[str]:
    body = attempt["snippet"]
    return [str(attempt["number"]), local_time(attempt["at_ms"]), f"{attempt['took_ms']:,} ms", spelled(attempt), body]


def spelled(answer: Mapping[str, Any]) -> str:
    """A status or, where there is none, the word for what kept it from coming."""
    return str(answer["problem"] if answer["status"] is None else answer["status"])


def _pretty(body: str) -> str:
    """The body on lines of its own, without anything that commands a terminal: JSON escapes what it holds."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return printable(body)
    return "\n".join(printable(line) for line in text.split("\n"))


def replayed_sentence(replies: Sequence[Mapping[str, Any]]) -> str:
    """How many deliveries are sent again, and what became of the rest."""
    count = sum(reply["replayed"] for reply in replies)
    sentence = f"{_number(count, 'delivery', 'deliveries')} sent again."
    waiting = [each for reply in replies for each in reply["waiting"]]
    unknown = [each for reply in replies for each in reply["unknown"]]
    if waiting:
        sentence += f" Under way anyway: {', '.join(waiting)}."
    if unknown:
        sentence += f" Not known: {printable(', '.join(unknown))}."
    return sentence


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
