"""One connection between workers: what waits, and what is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sockudo.drivers.carriers.mesh_link import WAITING, Link, payload_frame


class Transport(asyncio.Transport):
    """Takes what is written; ``full`` makes it say that the peer does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None: ...

    def abort(self) -> None:
        self.written.append(b"aborted")


class Owner:
    """Writes down what a link tells."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.dropped = 0

    def greeted(self, link: Link, peer: str) -> None:
        self.told.append(("greeted", peer))

    def announced(self, link: Link, number: int, added: Sequence[str], ended: Sequence[str]) -> None:
        self.told.append(("announced", number, added, ended))

    def confirmed(self, link: Link, number: int) -> None:
        self.told.append(("confirmed", number))

    def arrived(self, topic: bytes, payload: bytes) -> None:
        self.told.append((topic, payload))

    def lossy(self, link: Link) -> None:
        self.told.append("lossy")

    def ended(self, link: Link) -> None:
        self.told.append("ended")


def made() -> tuple[Link, Transport, Owner]:
    owner, transport = Owner(), Transport()
    link = Link(owner, "me", dialed=False)
    link.connection_made(transport)
    return link, transport, owner


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def read(frames: bytes) -> list[object]:
    link, _, owner = made()
    link.data_received(frames)
    return owner.told


async def test_what_is_sent_in_one_turn_is_one_write() -> None:
    link, transport, _ = made()
    link.hello()
    link.send(payload_frame("topic", b"one"))
    link.announce(7, ["a"], ["b"])
    link.confirm(3)
    await turn()
    [written] = transport.written
    assert read(written) == [
        ("greeted", "me"),
        (b"topic", b"one"),
        ("announced", 0, ["a"], []),
        ("announced", 7, [], ["b"]),
        ("confirmed", 3),
    ]


async def test_frames_may_come_byte_by_byte() -> None:
    link, _, owner = made()
    for byte in payload_frame("topic", b"payload") * 3:
        link.data_received(bytes([byte]))
    assert owner.told == [(b"topic", b"payload")] * 3


async def test_a_length_that_no_frame_has_ends_the_link() -> None:
    link, transport, owner = made()
    link.data_received(b"\xff\xff\xff\xff" + b"P")
    assert transport.written == [b"aborted"]
    assert owner.told == []


async def test_a_frame_of_a_newer_version_is_ignored() -> None:
    assert read(b"\x00\x00\x00\x03Zxx" + payload_frame("t", b"p")) == [(b"t", b"p")]


async def test_past_the_bound_the_oldest_payloads_go_and_the_peer_hears_of_it() -> None:
    link, transport, owner = made()
    link.pause_writing()
    link.confirm(1)
    size = 1024 * 1024
    count = WAITING // size + 4
    for number in range(count):
        link.send(payload_frame(str(number), b"x" * size))
    assert owner.dropped == 5, "of each a few bytes are for its frame"
    link.resume_writing()
    told = read(b"".join(transport.written))
    assert told[:2] == ["lossy", ("confirmed", 1)]
    assert [int(entry[0]) for entry in told[2:] if isinstance(entry, tuple)] == list(range(5, count))


async def test_leaving_writes_what_waits_and_says_goodbye() -> None:
    link, transport, _ = made()
    link.pause_writing()
    link.send(payload_frame("t", b"p"))
    link.leave()
    peer, _, owner = made()
    peer.data_received(b"".join(transport.written))
    assert owner.told == [(b"t", b"p")]
    assert peer.left
