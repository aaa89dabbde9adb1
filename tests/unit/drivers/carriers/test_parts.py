"""Payloads in parts."""

from __future__ import annotations

from sockudo.drivers.carriers.parts import OVERHEAD, Joiner, Splitter

ROOM = "c:app:room"


def parts_of(splitter: Splitter, payload: bytes, longest: int = 1_000) -> list[bytes]:
    parts = list(splitter.split(payload, longest))
    assert all(len(part) <= longest for part in parts)
    return parts


def test_short_ones_go_whole_and_long_ones_come_together() -> None:
    splitter, joiner = Splitter(), Joiner()
    for length in (0, 1, 999, 1_000, 5 * (1_000 - OVERHEAD), 12_345):
        payload = bytes(number % 251 for number in range(length))
        parts = parts_of(splitter, payload)
        assert (len(parts) == 1) == (length < 1_000)
        assert [joiner.join(ROOM, part).payload for part in parts] == [None] * (len(parts) - 1) + [payload]


def test_those_of_several_senders_and_topics_do_not_mix() -> None:
    joiner = Joiner()
    series = [
        (topic, payload, parts_of(Splitter(), payload))
        for topic in (ROOM, "c:app:other")
        for payload in (b"a" * 3_000, b"b" * 3_000)
    ]
    arrived = []
    for index in range(len(series[0][2])):
        for topic, _, parts in series:
            joined = joiner.join(topic, parts[index])
            assert joined.lost == ()
            if joined.payload is not None:
                arrived.append((topic, joined.payload))
    assert arrived == [(topic, payload) for topic, payload, _ in series]


def test_a_missing_part_is_a_loss_and_the_next_payload_is_whole() -> None:
    splitter, joiner = Splitter(), Joiner()
    for missing in range(4):
        first, second = parts_of(splitter, b"1" * 3_500), parts_of(splitter, b"2" * 3_500)
        del first[missing]
        joined = [joiner.join(ROOM, part) for part in (*first, *second)]
        assert [each.payload for each in joined if each.payload is not None] == [b"2" * 3_500]
        assert {topic for each in joined for topic in each.lost} == {ROOM}


def test_what_is_never_complete_is_given_up_past_the_bound() -> None:
    joiner = Joiner(10_000)
    lost = [
        topic
        for number in range(20)
        for part in parts_of(Splitter(), bytes(3_500))[:-1]
        for topic in joiner.join(f"c:app:{number}", part).lost
    ]
    assert lost == [f"c:app:{number}" for number in range(len(lost))]
    assert len(lost) > 15


def test_what_is_no_part_is_a_loss() -> None:
    assert Joiner().join(ROOM, b"\x01short") == (None, (ROOM,))
    assert Joiner().join(ROOM, b"") == (None, (ROOM,))
