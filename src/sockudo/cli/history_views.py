"""How ``sockudo history`` shows what the server answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from sockudo.cli.moments import local_time
from sockudo.cli.tables import print_json, print_table, printable

__all__ = [
    "kept_sentence",
    "print_lines",
    "print_page",
    "print_purged",
    "print_reset",
    "print_snapshot",
    "print_state",
    "what_is_left",
]

_LONGEST_DATA: Final = 200
_STATES: Final = {
    "healthy": "healthy: complete, and clients can catch up from it",
    "degraded": "degraded: a message may be missing, so nothing is read from it until it is reset",
    "reset_required": "unusable until it is reset",
}


def print_lines(page: Mapping[str, Any]) -> None:
    """The items of a page, one JSON object per line."""
    for item in page["items"]:
        print_json(item)


def print_page(page: Mapping[str, Any], *, presence: bool) -> None:
    """The items of a page that has some, as a table."""
    if presence:
        columns = ["serial", "time", "event", "user", "cause", "connection"]
        rows = [_presence_row(item) for item in page["items"]]
    else:
        columns = ["serial", "time", "event", "data", "tags"]
        rows = [_message_row(item) for item in page["items"]]
        if not any(row[-1] for row in rows):
            columns.pop()
            rows = [row[:-1] for row in rows]
    print_table(columns, rows, "")


def _message_row(item: Mapping[str, Any]) -> list[str]:
    message = item["message"]
    data = message.get("data")
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    if len(text) > _LONGEST_DATA:
        text = f"{text[:_LONGEST_DATA]}…"
    name = item["event_name"] or "-"
    if message.get("name"):
        name = f"{name} ({message['name']})"
    tags = " ".join(f"{tag}={value}" for tag, value in (message.get("tags") or {}).items())
    return [str(item["serial"]), local_time(item["published_at_ms"]), name, text, tags]


def _presence_row(item: Mapping[str, Any]) -> list[str]:
    where = item["connection_id"] or (f"on node {item['dead_node_id']}" if item["dead_node_id"] else "-")
    when = local_time(item["published_at_ms"])
    return [str(item["serial"]), when, item["event"].removeprefix("member_"), item["user_id"], item["cause"], where]


def what_is_left(page: Mapping[str, Any], *, oldest: bool) -> Iterator[str]:
    """Of what a reader of the last page does not see: how to go on, and that something is gone for good."""
    continuity = page["continuity"]
    if page["has_more"]:
        last = page["items"][-1]["serial"]
        further = f"--start-serial {last + 1}" if oldest else f"--end-serial {last - 1}"
        yield f"There is more: go on with {further}, or see all of it with --all."
    if continuity["truncated_by_retention"]:
        first = continuity["oldest_available_serial"]
        yield (
            f"What was before is gone: the oldest that is kept is serial {first}."
            if first is not None
            else ("All that there was is gone.")
        )
    if continuity.get("degraded"):
        yield "The record is degraded: something may be missing in it."


def kept_sentence(reply: Mapping[str, Any]) -> str:
    """What a channel keeps, to be looked at before it is dropped."""
    retained = reply["stream"]["retained"]
    return f"{printable(reply['channel'])} keeps {_amount(retained)}{_range(retained)}."


def print_state(reply: Mapping[str, Any]) -> None:
    """The stream of a channel in words."""
    stream = reply["stream"]
    retained, state = stream["retained"], stream["state"]
    kept = _amount(retained)
    if retained["oldest_available_serial"] is not None:
        oldest = local_time(retained["oldest_available_published_at_ms"])
        kept += f"{_range(retained)}, {oldest} to {local_time(retained['newest_available_published_at_ms'])}"
    word = state["durable_state"]
    rows = {"stream": stream["stream_id"] or "none yet", "kept": kept}
    if stream["next_serial"] is not None:
        rows["next serial"] = str(stream["next_serial"])
    rows["state"] = _STATES.get(word, word)
    if state["reason"]:
        rows["reason"] = state["reason"]
    if state["last_transition_at_ms"] is not None:
        rows["since"] = local_time(state["last_transition_at_ms"])
    if state["node_id"]:
        rows["reported by"] = f"node {state['node_id']}"
    rows["held in"] = _source(state)
    typer.secho(printable(reply["channel"]), bold=True)
    for label, text in rows.items():
        typer.echo(f"  {label + ':':<12} {printable(text)}")
    if word != "healthy":
        typer.echo(f"\n  sockudo history reset {printable(reply['channel'])} begins a new stream.")


def _source(state: Mapping[str, Any]) -> str:
    names = {"in_memory": "memory, until the server ends", "durable_store": "the history store", "disabled": "nothing"}
    source = state["authoritative_source"]
    return names.get(source, str(source))


def print_purged(reply: Mapping[str, Any]) -> None:
    """What a purge has dropped, and what is left."""
    typer.echo(f"Dropped {_amount(reply, 'purged')}. {kept_sentence(reply)}")


def print_reset(reply: Mapping[str, Any]) -> None:
    """What a reset has dropped, and the new stream."""
    stream = reply["new_stream_id"]
    typer.echo(f"Dropped {_amount(reply, 'purged')}. {printable(reply['channel'])} begins anew as stream {stream}.")


def print_snapshot(reply: Mapping[str, Any]) -> None:
    """The members of a presence channel at some time."""
    rows = [
        [
            member["user_id"],
            member["last_event"].removeprefix("member_"),
            str(member["last_event_serial"]),
            local_time(member["last_event_at_ms"]),
        ]
        for member in reply["members"]
    ]
    print_table(["user", "last", "serial", "time"], rows, f"No member was on {printable(reply['channel'])}.")


def _amount(counts: Mapping[str, Any], verb: str = "retained") -> str:
    what = "messages" if f"{verb}_messages" in counts else "events"
    number = counts[f"{verb}_{what}"]
    size = counts[f"{verb}_bytes"]
    if not number:
        return "nothing"
    return f"{number:,} {what if number != 1 else what.removesuffix('s')} of {size:,} bytes"


def _range(retained: Mapping[str, Any]) -> str:
    first, last = retained["oldest_available_serial"], retained["newest_available_serial"]
    return "" if first is None else f" (serials {first} to {last})"
