"""Packets in the order of their senders, while some have to be read from the table."""

from __future__ import annotations

import pytest

from sockudo.drivers.carriers.postgres_inbox import Found, Inbox
from sockudo.drivers.carriers.postgres_packets import Packer
from support.carriers import Heard

ROOM = "c:app:room"
A, B = b"a" * 16, b"b" * 16


class Node:
    """Packets of one sender, as they are told of and stored."""

    def __init__(self, sender: bytes) -> None:
        self.sender = sender
        self.packer = Packer("bus", sender)
        self.rows: dict[tuple[bytes, int], bytes] = {}

    def send(self, payload: bytes, *, row: bool = False, topic: str = ROOM) -> bytes:
        made = self.packer.pack([(topic, payload)], as_row=row)
        if made.row is not None:
            self.rows[self.sender, made.row.number] = made.row.body
        return made.texts[0].encode()

    def found(self, *, wanted: bool = True) -> list[Found]:
        return [Found(sender, number, len(body), wanted) for (sender, number), body in self.rows.items()]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def inbox(heard: Heard) -> Inbox:
    inbox = Inbox({ROOM}, lambda: None)
    inbox.observer = heard
    return inbox


def payloads(heard: Heard) -> list[bytes]:
    return [payload for _, payload in heard.payloads]


def read(inbox: Inbox, *nodes: Node, size: int = 1_000_000) -> None:
    needed = inbox.needed(size)
    rows = {key: body for node in nodes for key, body in node.rows.items()}
    inbox.fill(needed, {key: rows[key] for key in needed if key in rows})


def test_what_is_in_a_notification_arrives_at_once(inbox: Inbox, heard: Heard) -> None:
    a = Node(A)
    inbox.take(a.send(b"1"))
    inbox.take(a.send(b"2", topic="c:app:other"))
    inbox.take(a.send(b"3"))
    assert payloads(heard) == [b"1", b"3"]
    assert not inbox.waits


def test_what_comes_behind_a_row_waits_for_it(inbox: Inbox, heard: Heard) -> None:
    a, b = Node(A), Node(B)
    inbox.take(a.send(b"1", row=True))
    inbox.take(a.send(b"2"))
    inbox.take(b.send(b"3"))
    inbox.take(a.send(b"4", row=True))
    inbox.take(a.send(b"5"))
    assert inbox.waits
    assert payloads(heard) == []
    assert inbox.needed(1) == [(A, 1)]
    read(inbox, a, size=1)
    assert payloads(heard) == [b"1", b"2", b"3"]
    read(inbox, a)
    assert payloads(heard) == [b"1", b"2", b"3", b"4", b"5"]
    assert not inbox.waits


def test_a_row_that_is_told_of_on_several_channels_arrives_once(inbox: Inbox, heard: Heard) -> None:
    a = Node(A)
    text = a.send(b"1", row=True)
    inbox.take(text)
    inbox.take(text)
    assert inbox.needed(1_000) == [(A, 1)]
    read(inbox, a)
    inbox.take(text)
    assert payloads(heard) == [b"1"]
    assert not inbox.waits


def test_a_row_that_is_gone_is_a_loss(inbox: Inbox, heard: Heard) -> None:
    a = Node(A)
    inbox.take(a.send(b"1", row=True))
    inbox.take(a.send(b"2"))
    read(inbox)
    assert payloads(heard) == [b"2"]
    assert heard.losses == [None]


def test_after_a_loss_the_rows_come_before_what_was_told_since(inbox: Inbox, heard: Heard) -> None:
    a = Node(A)
    inbox.take(a.send(b"1"))
    inbox.hold()
    a.send(b"2", row=True)
    a.send(b"3", row=True)
    inbox.take(a.send(b"4"))
    assert not inbox.waits
    inbox.release(a.found())
    assert payloads(heard) == [b"1"]
    read(inbox, a)
    assert payloads(heard) == [b"1", b"2", b"3", b"4"]


def test_what_was_there_before_the_start_is_skipped(inbox: Inbox, heard: Heard) -> None:
    a = Node(A)
    a.send(b"1", row=True)
    inbox.hold()
    inbox.skip(a.found())
    inbox.release(())
    inbox.look(a.found())
    assert not inbox.waits
    a.send(b"2", row=True)
    inbox.look(a.found())
    read(inbox, a)
    assert payloads(heard) == [b"2"]


def test_rows_for_others_are_passed_over_without_being_read(inbox: Inbox, heard: Heard) -> None:
    a, b = Node(A), Node(B)
    a.send(b"1", row=True)
    inbox.look(a.found(wanted=False))
    assert not inbox.waits
    assert inbox.last == {A: 1}
    b.send(b"2", row=True)
    inbox.look([*b.found(), Found(A, 2, 100, False)])
    assert inbox.needed(1_000) == [(B, 1)]
    read(inbox, b)
    assert payloads(heard) == [b"2"]
    assert inbox.last == {A: 2, B: 1}


def test_too_much_that_waits_for_a_row_is_given_up_and_told(inbox: Inbox, heard: Heard) -> None:
    a = Node(A)
    inbox.take(a.send(b"1", row=True))
    for _ in range(50_001):
        inbox.take(a.send(b""))
    assert heard.losses == [None]
    assert len(heard.payloads) < 10


def test_one_that_polls_is_noticed() -> None:
    seen: list[int] = []
    inbox = Inbox({ROOM}, lambda: seen.append(1))
    a = Node(A)
    inbox.take(a.send(b"1", row=True))
    a.packer.polls = True
    inbox.take(a.send(b"2", row=True))
    assert seen == [1]


def test_of_very_many_senders_the_oldest_are_forgotten(inbox: Inbox) -> None:
    inbox.skip(Found(b"%d" % number, 1, 0, False) for number in range(10_050))
    assert len(inbox.last) == 10_000
    assert b"49" not in inbox.last
