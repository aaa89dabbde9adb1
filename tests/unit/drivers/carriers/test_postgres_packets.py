"""Packets: what fits into notifications, what becomes a row, and that it is the same at the other end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockudo.drivers.carriers.postgres_packets import Item, Packed, Packer, channel_of, items_of, note_of

SENDER = bytes(range(16))
ITEMS = st.lists(
    st.tuples(st.sampled_from(["all", "c:app:room", "c:app:other", "n:0f", "u:app:名"]), st.binary(max_size=3_000))
)


def packed(items: list[Item], *, as_row: bool = False, polls: bool = False) -> Packed:
    packer = Packer("bus", SENDER)
    packer.polls = polls
    return packer.pack(items, as_row=as_row)


@given(ITEMS)
def test_what_is_packed_comes_out_in_the_order_of_each_topic(items: list[Item]) -> None:
    made = packed(items)
    notes = [note_of(text.encode()) for text in made.texts]
    if made.row is None:
        assert all(note is not None and note.body is not None for note in notes)
        out = [item for note in notes if note is not None for item in items_of(note.body or b"")]
        assert [note.number for note in notes if note is not None] == list(range(1, len(notes) + 1))
        for channel, text in zip(made.channels, made.texts, strict=True):
            note = note_of(text.encode())
            assert note is not None
            assert {channel_of("bus", topic) for topic, _ in items_of(note.body or b"")} == {channel}
    else:
        out = items_of(made.row.body)
        assert {note and (note.sender, note.number, note.body, note.size) for note in notes} == {
            (SENDER, made.row.number, None, len(made.row.body))
        }
    for topic in {topic for topic, _ in items}:
        assert [each for each in out if each[0] == topic] == [each for each in items if each[0] == topic]
    # PostgreSQL takes less than 8,000 bytes, and channels of less than 64.
    assert all(len(text) < 8_000 for text in made.texts)
    assert all(len(channel) < 64 for channel in made.channels)


def test_short_payloads_share_a_notification() -> None:
    made = packed([("c:app:room", b"x" * 50)] * 80)
    assert len(made.texts) == 2
    assert made.row is None


def test_a_long_payload_takes_all_of_its_turn_into_a_row() -> None:
    made = packed([("c:app:room", b"short"), ("all", bytes(6_000)), ("c:app:room", b"later")])
    assert made.row is not None
    assert sorted(made.channels) == sorted(made.row.channels) == sorted({channel_of("bus", "c:app:room"), "bus_all"})
    assert len(set(made.texts)) == 1


def test_many_notifications_are_a_row_too() -> None:
    assert packed([("c:app:room", bytes(5_000))] * 32).row is None
    assert packed([("c:app:room", bytes(5_000))] * 33).row is not None


def test_where_somebody_polls_everything_is_a_row() -> None:
    made = packed([("all", b"x")], as_row=True, polls=True)
    note = note_of(made.texts[0].encode())
    assert made.row is not None
    assert note is not None
    assert note.poller


def test_numbers_go_on_from_packet_to_packet() -> None:
    packer = Packer("bus", SENDER)
    texts = [packer.pack([("all", b"x")], as_row=as_row).texts[0] for as_row in (False, True, False)]
    assert [note.number for text in texts if (note := note_of(text.encode())) is not None] == [1, 2, 3]


def test_each_node_has_a_channel_and_all_else_shares_64() -> None:
    assert channel_of("bus", "all") == "bus_all"
    assert channel_of("bus", f"n:{'0f' * 16}") == f"bus_n_{'0f' * 16}"
    slots = {channel_of("bus", f"c:app:{number}") for number in range(5_000)} | {channel_of("bus", "n:X y")}
    assert slots == {f"bus_{number}" for number in range(64)}


def test_what_others_send_there_is_ignored() -> None:
    for text in (b"", b"hello", b"a.b.c.d", b"AAAA.1.i.%%", b"AAAA.x.i.AAAA", "é".encode(), b"AAAA.1.r.x"):
        assert note_of(text) is None
    assert items_of(b"\xc1") == []
    assert items_of(b"\x01") == []
