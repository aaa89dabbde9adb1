"""The text protocol of NATS, wherever the network breaks it in two."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.drivers.carriers.nats_wire import NatsReader, ProtocolError, publish_line, subject_of


class Seen:
    def __init__(self) -> None:
        self.all: list[Any] = []

    def on_info(self, info: dict[str, Any]) -> None:
        self.all.append(info)

    def on_message(self, sid: bytes, payload: bytes) -> None:
        self.all.append((sid, payload))

    def on_ping(self) -> None:
        self.all.append("ping")

    def on_pong(self) -> None:
        self.all.append("pong")

    def on_error(self, text: str) -> None:
        self.all.append(text)


STREAM = (
    b'INFO {"max_payload":1048576} \r\n+OK\r\nPING\r\nMSG a.b 7 5\r\nhe\r\no\r\nMSG a.b 12 reply.to 0\r\n\r\n'
    b"PONG\r\n-ERR 'Authorization Violation'\r\n"
)
READ = [
    {"max_payload": 1048576},
    "ping",
    (b"7", b"he\r\no"),
    (b"12", b""),
    "pong",
    "Authorization Violation",
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_whatever_the_cuts_the_same_is_read(cuts: list[int]) -> None:
    seen = Seen()
    reader = NatsReader(seen)
    at = 0
    for end in [*sorted(cuts), len(STREAM)]:
        reader.feed(STREAM[at:end])
        at = end
    assert seen.all == READ


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"INFO {broken\r\n",
        b"INFO [1]\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 999999999999\r\n",
        b"MSG a 1 2\r\nabcd",
        b"x" * (1024 * 1024 + 1),
    ],
)
def test_another_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        NatsReader(Seen()).feed(data)


def test_lines_have_the_length_of_their_payload() -> None:
    assert publish_line(b"a.b", b"h\r\ni") == b"PUB a.b 4\r\nh\r\ni\r\n"


def test_subjects_are_readable_where_they_can_be() -> None:
    assert subject_of("sockudo", "all") == b"sockudo.all"
    assert subject_of("sockudo.", "c:app:room.1") == b"sockudo.c.YXBw.cm9vbS4x"
    assert subject_of("sockudo", "n:") == b"sockudo.n.-"


@given(st.text(max_size=30), st.text(max_size=30))
def test_each_topic_has_a_subject_of_its_own_that_means_no_other(one: str, other: str) -> None:
    subject = subject_of("p", one)
    assert all(part and part.isascii() for part in subject.split(b"."))
    assert not set(subject) & set(b" \t\r\n*>")
    assert (subject == subject_of("p", other)) == (one == other)
