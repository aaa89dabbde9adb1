"""The metrics of a node among others (spec: platform § 6.6): where their numbers come from."""

from __future__ import annotations

from collections.abc import Iterator

from sockudo.base.measures import BUCKETS_MS, Buckets, Distribution, Numbers
from sockudo.cluster.network import NetworkBus
from sockudo.cluster.owners import OwnerCounts

__all__ = ["node_measures", "owned_measures"]

_BOUNDS = (*map(str, BUCKETS_MS), "+Inf")


def node_measures(bus: NetworkBus, driver: str, owned: OwnerCounts) -> Iterator[Numbers | Distribution]:
    """All of them; ``driver`` is what joins the nodes, ``owned`` what became of the keys that they own."""
    yield from _of_membership(bus)
    counts = bus.counts
    for name, text, value in (
        ("node_items_sent_total", "Items published for other nodes", counts.sent),
        ("node_items_unwanted_total", "Items not sent, as no other node wanted them", bus.quiet.unwanted),
        ("node_items_received_total", "Items that other nodes published, as they came in", counts.received),
        ("node_items_repeated_total", "Items that came again and were left out", counts.repeated),
        ("node_items_fenced_total", "Items kept back, as others may have held this node dead", counts.fenced),
        ("node_items_unreadable_total", "Envelopes and items of a version that is not understood", bus.unreadable),
        ("node_gaps_total", "Times that items may have been lost, so that something was read anew", counts.gaps),
    ):
        yield Numbers(name, "counter", text, [({}, float(value))])
    labels = {"driver": driver.replace("-", "_")}
    for name, text, value in (
        ("horizontal_transport_messages_dropped_total", "Payloads dropped as too much waited", bus.carrier.dropped),
        ("horizontal_transport_reconnections_total", "Connections made anew", counts.reconnects),
    ):
        yield Numbers(name, "counter", text, [(labels, float(value))])
    for name, text, value in (
        ("node_numbers_refused_total", "Publishes that no node gave a number", owned.numbers_refused),
        ("node_streams_begun_total", "Streams that began here as no node had the one before", owned.streams_begun),
        ("node_tokens_given_total", "Streams that another node numbers since", owned.tokens_given),
        ("node_tokens_taken_total", "Streams that are numbered here since", owned.tokens_taken),
    ):
        yield Numbers(name, "counter", text, [({}, float(value))])
    yield from owned_measures(owned)
    yield from _of_requests(bus)


def owned_measures(owned: OwnerCounts) -> Iterator[Numbers]:
    """What became of keys, hits and events that are kept by other nodes or in a store."""
    for name, text, value in (
        ("node_keys_unanswered_total", "Idempotency keys on which nothing decided in time", owned.keys_unanswered),
        ("node_keys_allowed_total", "Those of them that were published all the same", owned.keys_allowed),
        ("node_hits_unanswered_total", "Hits of limits that were not added up in time", owned.hits_unanswered),
        ("node_hits_left_out_total", "Hits that count here alone, as there are too many keys", owned.hits_left_out),
        ("node_events_unanswered_total", "Last events that the cache did not give", owned.events_unanswered),
        ("node_events_left_out_total", "Last events that were too many to wait for the cache", owned.events_left_out),
    ):
        yield Numbers(name, "counter", text, [({}, float(value))])


def _of_membership(bus: NetworkBus) -> Iterator[Numbers]:
    members = bus.membership
    for name, text, value in (
        ("nodes_live", "Nodes that this one sees alive, itself included", float(len(members.live()))),
        ("node_deaf", "1 while the node's pings do not come back through the bus", float(members.deaf)),
        ("node_fenced", "1 while others may hold the node dead", float(members.fenced())),
        ("node_round_trip_ms", "How long the node's last message to itself took", members.round_trip * 1000),
        ("node_beat_age_ms", "Since the last beat of the node that was silent for longest", _oldest(bus) * 1000),
    ):
        yield Numbers(name, "gauge", text, [({}, value)])


def _oldest(bus: NetworkBus) -> float:
    members = bus.membership
    return max((members.beat_age(node.id) for node in members.live()), default=0.0)


def _of_requests(bus: NetworkBus) -> Iterator[Numbers | Distribution]:
    counted = [({"app_id": app_id}, of) for app_id, of in bus.request_counts.items()]
    for name, text, field in (
        ("horizontal_adapter_sent_requests", "Questions to other nodes", "sent"),
        ("horizontal_adapter_received_requests", "Questions of other nodes", "received"),
        ("horizontal_adapter_received_responses", "Answers of other nodes", "answers"),
        ("horizontal_adapter_resolved_promises", "Questions that every node answered in time", "complete"),
        ("horizontal_adapter_uncomplete_promises", "Questions that some node did not answer in time", "incomplete"),
    ):
        yield Numbers(name, "counter", text, [(labels, float(getattr(of, field))) for labels, of in counted])
    times = [(labels, Buckets(_BOUNDS, list(of.times.counts), of.times.sum_ms)) for labels, of in counted if of.sent]
    yield Distribution("horizontal_adapter_resolve_time", "Time until a question was answered, in ms", times)
