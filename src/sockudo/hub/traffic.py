"""What has passed on one app, counted where it passes and read when metrics are scraped."""

from __future__ import annotations

from collections import Counter

from sockudo.base.measures import Latency

__all__ = ["DeltaTraffic", "Traffic", "size_bucket"]


class DeltaTraffic:
    """What was delivered to subscribers that get differences, of what may be one. Bytes are those of the payloads.

    ``original_bytes`` is what it came to if all of it had been whole, ``saved_bytes`` what the differences were less.
    """

    __slots__ = ("differences", "original_bytes", "saved_bytes", "whole")

    def __init__(self) -> None:
        self.whole = 0
        self.differences = 0
        self.original_bytes = 0
        self.saved_bytes = 0


class Traffic:
    """The counts of one app; everything only grows."""

    __slots__ = (
        "appends_held",
        "appends_joined",
        "bytes_received",
        "bytes_sent",
        "connections_closed",
        "connections_opened",
        "delta_sync_errors",
        "deltas",
        "echoes_suppressed",
        "ephemeral",
        "errors",
        "filtered",
        "http_bytes_received",
        "http_bytes_sent",
        "http_calls",
        "idempotent_publishes",
        "idempotent_repeats",
        "latency",
        "messages_dropped",
        "messages_received",
        "messages_sent",
        "predicate_errors",
        "published",
        "rate_checks",
        "rate_refusals",
        "recovered",
        "recovery_failures",
        "subscribed",
        "unsubscribed",
    )

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed = 0
        # Publishes and client events, one for each channel that they name.
        self.published = 0
        # Appends to messages that waited to be delivered together, and the frames that they were delivered in.
        self.appends_held = 0
        self.appends_joined = 0
        self.messages_received = 0
        self.messages_sent = 0
        self.messages_dropped = 0
        self.ephemeral = 0
        # Deliveries that a filter, or the sender's own wish, held back.
        self.filtered = 0
        self.echoes_suppressed = 0
        self.delta_sync_errors = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.http_calls = 0
        self.http_bytes_received = 0
        self.http_bytes_sent = 0
        self.idempotent_publishes = 0
        self.idempotent_repeats = 0
        # By slug of the error catalogue.
        self.errors: Counter[str] = Counter()
        # By label of the limit on one connection's messages.
        self.rate_checks: Counter[str] = Counter()
        self.rate_refusals: Counter[str] = Counter()
        # By reason why an expression could not be asked.
        self.predicate_errors: Counter[str] = Counter()
        # By label of the channel kind.
        self.deltas: dict[str, DeltaTraffic] = {}
        # By source of what was replayed, and by code of what could not be.
        self.recovered: Counter[str] = Counter()
        self.recovery_failures: Counter[str] = Counter()
        # By label of the channel kind.
        self.subscribed: Counter[str] = Counter()
        self.unsubscribed: Counter[str] = Counter()
        # By label of the channel kind and label of the number of recipients.
        self.latency: dict[tuple[str, str], Latency] = {}


def size_bucket(recipients: int) -> str:
    """The label for so many recipients (spec: platform § 6.2)."""
    if recipients <= 10:
        return "xs"
    if recipients <= 100:
        return "sm"
    if recipients <= 1000:
        return "md"
    return "lg" if recipients <= 10_000 else "xl"
