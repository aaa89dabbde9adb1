"""Messages that change, on two servers over one store: readers end with the same text (spec: messages § 4 and 9)."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sockudo.client.wire import Format, Wire
from sockudo.testing import RecordingClient
from support.joined import Pair, pair_of
from support.waiting import until

CHANNEL = "story"
CHANGES = {
    "instance": {"shared_stores": True},
    "history": {"enabled": True},
    "connection_recovery": {"enabled": True, "max_buffer_size": 1000},
    "versioned_messages": {"enabled": True},
}
FORMATS: tuple[Format, ...] = ("json", "msgpack", "protobuf")


@pytest.fixture(params=["in-process", "carrier"])
async def pair(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    async with pair_of(tmp_path, CHANGES, shared=True, joined=request.param) as pair:
        yield pair


class Backend:
    """Changes messages of the channel through one of the servers."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    async def create(self, server: int, data: str) -> str:
        body = {"name": "said", "channel": CHANNEL, "data": data, "info": ""}
        answer = await self.pair.backends[server].request("POST", "/events", body=body)
        serial: str = answer["channels"][CHANNEL]["message_serial"]
        return serial

    async def change(self, server: int, serial: str, action: str, **body: Any) -> dict[str, Any]:
        path = f"/channels/{CHANNEL}/messages/{serial}/{action}"
        return await self.pair.backends[server].request("POST", path, body=body)

    async def latest(self, serial: str) -> dict[str, Any]:
        answer = await self.pair.backends[0].request("GET", f"/channels/{CHANNEL}/messages/{serial}")
        item: dict[str, Any] = answer["item"]
        return item


class Reader:
    """A client that keeps what messages read, over any number of connections (spec: messages § 11).

    A version that is not behind the one that it has of a message is one that it knows.
    """

    def __init__(self, pair: Pair, wire: Wire) -> None:
        self.pair = pair
        self.wire = wire
        self.texts: dict[str, Any] = {}
        self.place: dict[str, Any] | None = None
        self.client: RecordingClient | None = None
        self._read = 0
        # The newest version of each message, of all and of what this connection was sent.
        self._versions: dict[str, str] = {}
        self._sent: dict[str, str] = {}
        # Where a subscription began whose past has not come yet, and the messages that have come of it.
        self._head: dict[str, Any] | None = None
        self._shown: set[str] = set()

    async def connect(self, server: int) -> None:
        self.client, self._read = await self.pair.client(server, wire=self.wire), 0
        self._sent.clear()
        self._head = None
        self._shown.clear()
        if self.place is None:
            data = {"channel": CHANNEL, "rewind": 100}
            await self.client.socket.send({"event": "sockudo:subscribe", "data": data})
        else:
            await self.client.socket.resume({CHANNEL: self.place})
            await self.client.socket.send({"event": "sockudo:subscribe", "data": {"channel": CHANNEL}})

    async def drop(self) -> None:
        assert self.client is not None
        await self.client.close()
        self.read()
        self.client = None

    def read(self) -> None:
        """Takes in what has come."""
        assert self.client is not None
        events = self.client.events[self._read :]
        self._read += len(events)
        for event in events:
            frame = json.loads(event.raw)
            assert event.event != "sockudo:resume_failed", frame
            assert event.event != "sockudo:error", frame
            headers = (frame.get("extras") or {}).get("headers")
            if headers is not None:
                self._take(frame, headers)
            elif event.event == "sockudo_internal:subscription_succeeded" and self.place is None:
                self._head = {"stream_id": frame["stream_id"], "serial": int(frame["serial"])}
            elif event.event == "sockudo:rewind_complete":
                self.place, self._head = self._head, None

    def _take(self, frame: dict[str, Any], headers: dict[str, Any]) -> None:
        serial, version = headers["sockudo_message_serial"], headers["sockudo_version_serial"]
        assert version > self._sent.get(serial, ""), f"{serial} was sent twice at {version}"
        self._sent[serial] = version
        if self.place is not None and "serial" in frame:
            assert int(headers.get("sockudo_first_serial", frame["serial"])) > self.place["serial"], frame
            self.place = {"stream_id": frame["stream_id"], "serial": int(frame["serial"])}
        if version <= self._versions.get(serial, ""):
            return
        self._versions[serial] = version
        # A rewind shows each message as it is, before what comes behind that.
        begun = self.place is not None or serial in self._shown
        self._shown.add(serial)
        if headers["sockudo_action"] == "message.append" and begun and not self.wire.whole:
            self.texts[serial] = (self.texts[serial] or "") + frame["data"]
        else:
            self.texts[serial] = frame.get("data")


async def test_what_both_servers_append_is_there_once_and_in_one_order(pair: Pair) -> None:
    backend = Backend(pair)
    readers = [Reader(pair, Wire(2, whole=whole)) for whole in (False, True) for _ in range(2)]
    for number, reader in enumerate(readers):
        await reader.connect(number % 2)
        await until(lambda reader=reader: reader.read() or reader.place is not None, "a subscription")
    serial = await backend.create(0, "")

    async def publish(number: int) -> list[int]:
        answers = [await backend.change(number % 2, serial, "append", data=f"<{number}.{n}>") for n in range(25)]
        return [answer["delivery_serial"] for answer in answers]

    given = await asyncio.gather(*(publish(number) for number in range(4)))
    assert sorted(itertools.chain(*given)) == list(range(2, 102))
    text = (await backend.latest(serial))["data"]
    assert sorted(text[1:-1].split("><")) == sorted(f"{number}.{n}" for number in range(4) for n in range(25))
    for reader in readers:
        await until(lambda reader=reader: _reads(reader, {serial: text}), "a reader to have all of it")
        assert reader.client is not None
        serials = [event.serial for event in reader.client.events if event.serial]
        assert serials == list(range(1, 102))


def _reads(reader: Reader, texts: dict[str, Any]) -> bool:
    reader.read()
    return reader.texts == texts


@pytest.mark.parametrize("seed", range(3))
async def test_clients_that_come_and_go_end_with_what_the_store_has(pair: Pair, seed: int) -> None:
    choice = random.Random(seed)
    backend = Backend(pair)
    wires = [Wire(2, wire, whole=whole, pace=pace) for wire in FORMATS for whole in (False, True) for pace in (0, 100)]
    readers = [Reader(pair, wire) for wire in wires]
    serials: list[str] = [await backend.create(0, "begin")]
    for number in range(120):
        server = choice.randrange(2)
        step = choice.random()
        if step < 0.1:
            serials.append(await backend.create(server, f"m{number}"))
        elif step < 0.55:
            await asyncio.gather(
                *(
                    backend.change(choice.randrange(2), choice.choice(serials), "append", data=f"<{number}.{n}>")
                    for n in range(choice.choice([1, 4]))
                )
            )
        elif step < 0.65:
            await backend.change(server, choice.choice(serials), "update", data=f"u{number}", name="renamed")
        elif step < 0.7:
            fields = choice.choice([{}, {"clear_fields": ["data"]}])
            await backend.change(server, choice.choice(serials), "delete", **fields)
        else:
            reader = choice.choice(readers)
            await (reader.connect(server) if reader.client is None else reader.drop())
    expected = {serial: (await backend.latest(serial)).get("data") for serial in serials}
    for reader in readers:
        if reader.client is None:
            await reader.connect(choice.randrange(2))
        await until(lambda reader=reader: _reads(reader, expected), f"{reader.wire} to read what the store has")


async def test_what_a_rewind_shows_does_not_come_again(pair: Pair) -> None:
    """Whichever of the servers has stored it, and however lately."""
    backend = Backend(pair)
    serial = await backend.create(0, "")
    readers = [Reader(pair, Wire(2, whole=whole)) for whole in (False, True) for _ in range(10)]

    async def grow(server: int) -> None:
        for number in range(60):
            await backend.change(server, serial, "append", data=f"<{server}.{number}>")

    growing = [asyncio.ensure_future(grow(server)) for server in (0, 1)]
    for number, reader in enumerate(readers):
        await reader.connect(number % 2)
    await asyncio.gather(*growing)
    text = (await backend.latest(serial))["data"]
    for reader in readers:
        await until(lambda reader=reader: _reads(reader, {serial: text}), "a reader to have all of it")
