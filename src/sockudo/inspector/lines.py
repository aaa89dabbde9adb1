"""An entry as one line for people: the same words on the page, in a terminal and wherever else entries are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from sockudo.inspector.entry import By, Entry, Kind

__all__ = ["LABELS", "Line", "Tone", "line_of"]

Tone = Literal["good", "plain", "warn", "bad"]

LABELS: Final[dict[Kind, str]] = {
    "connected": "connected",
    "connect_refused": "connection refused",
    "closed": "closed",
    "signed_in": "signed in",
    "signin_refused": "sign-in refused",
    "subscribed": "subscribed",
    "subscribe_refused": "subscribe refused",
    "unsubscribed": "unsubscribed",
    "message": "message",
    "doubtful": "hardly meant",
    "frame_refused": "frame refused",
    "request_refused": "request refused",
    "push_refused": "notification refused",
    "webhook_delivered": "webhook delivered",
    "webhook_failed": "webhook failed",
    "webhook_dead": "webhook given up",
}
"""What each kind is called; its order is that of a connection's life."""

_GOOD: Final[frozenset[Kind]] = frozenset({"connected", "signed_in", "subscribed", "webhook_delivered"})
_PLAIN: Final[frozenset[Kind]] = frozenset({"message", "unsubscribed", "closed"})
_WEBHOOKS: Final[frozenset[Kind]] = frozenset({"webhook_delivered", "webhook_failed", "webhook_dead"})
# Ends that are no mistake.
_EXPECTED: Final = frozenset({"server_shutdown", "force_reconnect", "terminated"})
_ENDED_BY: Final[dict[By | None, str]] = {
    "client": "by the client",
    "server": "by the server",
    "backend": "by the app's backend",
    "network": "the connection was lost",
    None: "",
}


class Line(NamedTuple):
    """The parts of a line in their order. ``subject`` are names with what they name, such as ``("socket", "1.2")``.

    ``text`` is a sentence, ``hint`` the likely cause or what to do, where one is known, and ``marks`` are small facts.
    Names, texts and data come from outside: what shows them makes sure that they command nothing.
    """

    label: str
    tone: Tone
    subject: tuple[tuple[str, str], ...]
    text: str
    hint: str
    marks: tuple[str, ...]

    def __str__(self) -> str:
        named = [value if name == "channel" else f"{name} {value}" for name, value in self.subject]
        return "  ".join(part for part in (self.label, *named, self.text, self.hint, " · ".join(self.marks)) if part)


def line_of(entry: Entry) -> Line:
    """The entry in words; its time is left to the one who shows it."""
    return Line(
        LABELS[entry.kind],
        _tone(entry),
        tuple(_subject(entry)),
        _text(entry),
        _hint(entry),
        tuple(_marks(entry)),
    )


def _tone(entry: Entry) -> Tone:
    if entry.kind in _GOOD:
        return "good"
    if entry.kind not in _PLAIN:
        return "bad"
    if entry.kind == "doubtful":
        return "warn"
    if entry.kind == "message":
        return "warn" if entry.cause is not None else "plain"
    if entry.error is not None:
        return "warn" if entry.error in _EXPECTED else "bad"
    return "warn" if entry.by == "network" else "plain"


def _subject(entry: Entry) -> Iterator[tuple[str, str]]:
    named = (
        ("app", entry.app_id),
        ("channel", entry.channel),
        ("socket", entry.socket_id),
        ("user", entry.user_id),
        ("endpoint", entry.endpoint),
        ("from", entry.address),
    )
    for name, value in named:
        if value is not None:
            yield name, value


def _text(entry: Entry) -> str:
    match entry.kind:
        case "message":
            return _said(entry)
        case "closed":
            how = _ENDED_BY[entry.by]
            if entry.silent is not None:
                how += f" after {entry.silent} s without anything from the client"
            return ": ".join(part for part in (how, entry.text) if part)
        case "connected":
            return " ".join(part for part in (entry.client, entry.origin and _page(entry.origin)) if part)
        case "frame_refused" | "doubtful" if entry.event is not None:
            return f"{entry.event}: {entry.text or ''}"
        case "request_refused" if entry.request is not None:
            return f"{entry.request}: {entry.text or ''}"
        case "webhook_delivered" | "webhook_failed" | "webhook_dead":
            about = " ".join(
                part for part in (entry.event, entry.request and f"to {entry.request.removeprefix('POST ')}") if part
            )
            # A colon behind an address looks like the beginning of a port.
            return " – ".join(part for part in (about, entry.text) if part)
        case "connect_refused" if entry.origin is not None:
            return f"{entry.text or ''} (origin {entry.origin})"
    return entry.text or ""


def _page(origin: str) -> str:
    """Where the page of a connection is from. Browsers send ``null`` for pages that have no origin."""
    return "on a local file or a sandboxed page" if origin == "null" else f"on {origin}"


def _hint(entry: Entry) -> str:
    if entry.cause is None or entry.kind == "message":
        return entry.cause or ""
    return f"{'what to do' if entry.kind in _WEBHOOKS else 'likely cause'}: {entry.cause}"


def _said(entry: Entry) -> str:
    event = entry.event or "message"
    return event if entry.data is None else f"{event} {entry.data}"


def _marks(entry: Entry) -> Iterator[str]:
    if entry.source is not None:
        yield "from the API" if entry.source == "api" else "from a client"
    if entry.recipients is not None:
        yield f"to {entry.recipients} connection{'' if entry.recipients == 1 else 's'}"
    if entry.bytes is not None:
        yield f"{entry.bytes} bytes"
    if entry.serial is not None:
        yield f"serial {entry.serial}"
    if entry.status is not None:
        yield f"HTTP {entry.status}"
    if entry.attempt is not None:
        yield f"attempt {entry.attempt}"
    if entry.took_ms is not None:
        yield f"{entry.took_ms} ms"
    if entry.delivery is not None:
        yield f"delivery {entry.delivery}"
    if entry.code is not None:
        yield str(entry.code)
    if entry.error is not None:
        yield entry.error
    if entry.node is not None:
        yield f"on {entry.node}"
