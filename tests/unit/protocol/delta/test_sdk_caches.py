"""Whatever happens on a channel, the caches of the SDKs reconstruct exactly the frames that were said, and all of them.

The models below keep bases as the client libraries do (contract 60 § 2.9), each with its own ways of stripping metadata
and of looking a base up; Python's is the library itself. What a hub does with tracks is modelled by `Cluster`.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import sockudo_python.client as python_sdk
import vcdiff_decoder
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sockudo.protocol.delta import fossil
from sockudo.protocol.delta.algorithms import Algorithm
from sockudo.protocol.delta.channel import DeltaChannel
from sockudo.protocol.delta.node import DeltaNode
from sockudo.protocol.delta.policy import MAX_FRAME
from sockudo.protocol.delta.settings import INHERITED, ChannelDelta, DeltaOptions
from sockudo.protocol.delta.track import DeltaTrack
from sockudo.protocol.frame import Frame
from sockudo.protocol.shapes import json_text

EXAMPLES = int(os.environ.get("SOCKUDO_EXAMPLES", "300"))
CHANNEL = "fx:desk"
DECODERS: dict[str, Callable[[bytes, bytes], bytes]] = {"fossil": fossil.decode, "xdelta3": vcdiff_decoder.decode}


class Cache:
    """What a client library remembers of one channel. ``emitted`` is the plain text of each message it handed out."""

    one_base = False
    algorithms: tuple[Algorithm, ...] = (Algorithm.FOSSIL, Algorithm.XDELTA3)

    def __init__(self) -> None:
        self.emitted: list[bytes] = []

    def clear(self) -> None:
        """The application unsubscribes."""
        raise NotImplementedError

    def store(self, raw: str, number: int | None, key: str | None) -> None:
        """A frame that is no delta, as it came over the wire."""
        raise NotImplementedError

    def base(self, key: str | None, base_index: int) -> str | None:
        """The base of a delta, None when the library has none, as far as it can tell."""
        raise NotImplementedError

    def decoded(self, text: str, number: int, key: str | None) -> None:
        """A delta was decoded to this text."""
        raise NotImplementedError

    def receive(self, wire: bytes) -> None:
        frame = json.loads(wire)
        if frame["event"] == "sockudo:delta":
            self.receive_delta(frame["data"])
            return
        self.emitted.append(re.sub(rb',"__delta_seq":\d+(,"__conflation_key":"(\\.|[^"\\])*")?}$', b"}", wire))
        self.store(wire.decode(), frame.get("__delta_seq"), frame.get("__conflation_key"))

    def receive_delta(self, data: dict[str, Any]) -> None:
        base = self.base(data.get("conflation_key"), data["base_index"])
        if base is not None:
            text = DECODERS[data["algorithm"]](base.encode(), base64.b64decode(data["delta"])).decode()
            self.decoded(text, data["seq"], data.get("conflation_key"))
            self.emitted.append(text.encode())


class JavaScript(Cache):
    """One base, or once a key was seen the last 30 frames per key, of which the first with the number counts."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        self.keyed = False
        self.frames: dict[str, list[tuple[int, str]]] = {}
        self.single: str | None = None

    def store(self, raw: str, number: int | None, key: str | None) -> None:
        if number is None:
            # It looks for a number inside the data, too.
            with contextlib.suppress(ValueError, AttributeError, TypeError):
                number = json.loads(json.loads(raw)["data"]).get("__delta_seq")
            if number is None:
                return
        else:
            raw = re.sub(r',"__delta_seq":\d+', "", raw)
            raw = re.sub(r'"__delta_seq":\d+,', "", raw)
            raw = re.sub(r',"__conflation_key":"[^"]*"', "", raw)
            raw = re.sub(r'"__conflation_key":"[^"]*",', "", raw)
        self.keyed = self.keyed or key is not None
        if key is None:
            self.single = raw
        else:
            self.decoded(raw, number, key)

    def base(self, key: str | None, base_index: int) -> str | None:
        if not self.keyed:
            return self.single
        return next((text for number, text in self.frames.get(key or "", ()) if number == base_index), None)

    def decoded(self, text: str, number: int, key: str | None) -> None:
        if self.keyed:
            frames = self.frames.setdefault(key or "", [])
            frames.append((number, text))
            del frames[:-30]
        else:
            self.single = text


class Kotlin(JavaScript):
    """The same, except that unkeyed frames of a keyed channel are a series of their own. Flutter and Swift as well."""

    def store(self, raw: str, number: int | None, key: str | None) -> None:
        if number is not None:
            self.keyed = self.keyed or key is not None
            raw = re.sub(r',"__delta_seq":\d+', "", raw)
            self.decoded(re.sub(r',"__conflation_key":"[^"]*"', "", raw), number, key)


class DotNet(Cache):
    """Strips nothing, and takes ``base_index`` for a place in the frames of a key, sorted by number: else the last."""

    algorithms = (Algorithm.FOSSIL, Algorithm.XDELTA3)

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        self.frames: dict[str, dict[int, str]] = {}
        self.single: str | None = None

    def store(self, raw: str, number: int | None, key: str | None) -> None:
        if number is not None:
            self.decoded(raw, number, key)

    def base(self, key: str | None, base_index: int) -> str | None:
        if not self.frames:
            return self.single
        frames = sorted(self.frames.get(key or "", {}).items())
        if not frames:
            return None
        return frames[base_index if base_index < len(frames) else -1][1]

    def decoded(self, text: str, number: int, key: str | None) -> None:
        if key is None:
            self.single = text
        else:
            self.frames.setdefault(key, {})[number] = text


# The library forgets this argument when it makes the event of a delta, which is why it is sent none.
_PythonEvent = functools.partial(python_sdk.SockudoEvent, stream_id=None)


class Python(Cache):
    """The library itself, mended: one base per channel, the metadata stripped in part."""

    one_base = True
    algorithms = (Algorithm.XDELTA3,)

    def __init__(self) -> None:
        super().__init__()

        async def send(event: str, data: Any, channel: str | None) -> bool:
            raise AssertionError(f"{event} must not be needed")

        self.manager = python_sdk.DeltaCompressionManager(python_sdk.DeltaOptions(), send, python_sdk.ProtocolPrefix(2))

    def clear(self) -> None:
        self.manager.clear_channel_state(CHANNEL)

    def store(self, raw: str, number: int | None, key: str | None) -> None:
        if number is not None:
            stripped = python_sdk.SockudoClient._strip_delta_metadata(raw)
            self.manager.handle_full_message(CHANNEL, stripped, number, key)

    def receive_delta(self, data: dict[str, Any]) -> None:
        with mock.patch.object(python_sdk, "SockudoEvent", _PythonEvent):
            event = _result(self.manager.handle_delta_message(CHANNEL, data))
        if event is not None:
            self.emitted.append(event.raw_message.encode())


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine that waits for nothing returns."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


@dataclass(eq=False)
class Client:
    """An application with its library, connected to a node or not. ``expected`` is all that was said to it."""

    cache: Cache
    algorithm: Algorithm
    node: int | None = None
    only_even: bool = False
    place: int | None = None
    expected: list[bytes] = field(default_factory=list)


class Cluster(RuleBasedStateMachine):
    """Two nodes, one channel, clients that come, go and come back, and everything that can go wrong between."""

    @initialize(
        keyed=st.sampled_from(["never", "channel", "server"]),
        interval=st.integers(0, 4),
        most_keys=st.integers(1, 3),
        base_bytes=st.sampled_from([10**9, 900]),
    )
    def start(self, keyed: str, interval: int, most_keys: int, base_bytes: int) -> None:
        options = DeltaOptions(
            full_message_interval=interval,
            min_message_size=120,
            conflation_key_path="symbol" if keyed == "server" else None,
        )
        path = "symbol" if keyed == "channel" else None
        self.settings = ChannelDelta(conflation_key=path, max_conflation_keys=most_keys) if path else INHERITED
        # With a path for the whole server, a channel that nobody is on is not known to be keyed.
        self.caches_outlive_connections = keyed != "server"
        self.unix = 1_000_000.0
        self.now = 0.0
        self.nodes = [DeltaNode(options, lambda: self.unix, base_bytes) for _ in range(2)]
        self.channels: list[DeltaChannel | None] = [None, None]
        self.tracks: list[dict[tuple[Algorithm, bool, bool], DeltaTrack]] = [{}, {}]
        self.clients: list[Client] = []
        self.numbers = itertools.count(1)

    def members(self, node: int, track: DeltaTrack | None = None) -> list[Client]:
        on_node = [client for client in self.clients if client.node == node]
        return on_node if track is None else [client for client in on_node if self.track(client) is track]

    def track(self, client: Client) -> DeltaTrack:
        assert client.node is not None
        channel = self.channels[client.node]
        if channel is None:
            channel = self.channels[client.node] = DeltaChannel(self.nodes[client.node], "app", CHANNEL, self.settings)
        key = (client.algorithm, client.cache.one_base, client.only_even)
        track = self.tracks[client.node].get(key)
        if track is None:
            track = DeltaTrack(channel, client.algorithm, one_base=client.cache.one_base)
            self.tracks[client.node][key] = track
        return track

    def join(self, client: Client, node: int, *, only_even: bool, above: int = 0) -> None:
        client.node, client.only_even = node, only_even
        client.place = self.track(client).join(above)

    def leave(self, client: Client) -> int:
        assert client.node is not None
        node, track = client.node, self.track(client)
        above = track.leave()
        client.node = client.place = None
        if not track.members:
            self.tracks[node] = {key: other for key, other in self.tracks[node].items() if other is not track}
        if not self.members(node):
            self.channels[node] = None
        return above

    @rule(
        library=st.sampled_from([JavaScript, Kotlin, DotNet, Python]),
        algorithm=st.sampled_from(list(Algorithm)),
        node=st.integers(0, 1),
        only_even=st.booleans(),
    )
    def connect(self, library: type[Cache], algorithm: Algorithm, node: int, only_even: bool) -> None:
        cache = library()
        client = Client(cache, algorithm if algorithm in cache.algorithms else cache.algorithms[0])
        self.clients.append(client)
        self.join(client, node, only_even=only_even)

    @precondition(lambda self: any(client.node is None for client in self.clients))
    @rule(data=st.data(), only_even=st.booleans(), elsewhere=st.booleans())
    def connect_again(self, data: st.DataObject, only_even: bool, elsewhere: bool) -> None:
        """With the caches of before, to the same node at once or to another one when the clock has gone on."""
        client = data.draw(st.sampled_from([client for client in self.clients if client.node is None]))
        node = data.draw(st.integers(0, 1))
        if elsewhere or any(channel is not None for channel in self.channels):
            self.unix += 30
        if not self.caches_outlive_connections:
            client.cache.clear()
        self.join(client, node, only_even=only_even)

    @precondition(lambda self: any(client.node is not None for client in self.clients))
    @rule(data=st.data(), how=st.sampled_from(["disconnect", "unsubscribe", "resync", "change filter"]))
    def one_client(self, data: st.DataObject, how: str) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.node is not None]))
        assert client.node is not None
        if how == "resync":
            client.cache.clear()
            client.place = self.track(client).rejoin()
        elif how == "change filter":
            node = client.node
            above = self.leave(client)
            self.join(client, node, only_even=not client.only_even, above=above)
        else:
            self.leave(client)
            if how == "unsubscribe":
                client.cache.clear()

    @rule(
        event=st.sampled_from(["quote", "quote", "quote", "halt"]),
        symbol=st.sampled_from(["A", "A", 'B"\\\n', "C", "é" * 20, None, None]),
        pad=st.sampled_from(["x" * 150, "x" * 150, "x" * 150, "x" * 149 + "é😀", ""]),
        kind=st.sampled_from(["", "", "", "", "plain", "__delta_seq", "__conflation_key"]),
        times=st.integers(1, 4),
        missed=st.lists(st.integers(0, 50), max_size=1),
        settle=st.booleans(),
    )
    def publish(
        self, event: str, symbol: str | None, pad: str, kind: str, times: int, missed: list[int], settle: bool
    ) -> None:
        """The same kind of message some times; ``missed`` picks clients that do not get the last one."""
        for turn in range(times):
            number = next(self.numbers)
            data: dict[str, Any] = {"bid": 1 + number / 8, "pad": pad}
            if symbol is not None:
                data["symbol"] = symbol
            if kind.startswith("__"):
                data[kind] = number
            frame = Frame(event, CHANNEL, json.dumps(data), message_id=f"m-{number * 7919}", serial=number)
            self.say(frame, number, missed if turn == times - 1 else [], compress=kind != "plain")
            if settle:
                self.settle()

    def say(self, frame: Frame, number: int, missed: list[int], *, compress: bool) -> None:
        text = json_text(frame)
        assert len(text) < MAX_FRAME
        for node in range(2):
            for (_, _, only_even), track in list(self.tracks[node].items()):
                if only_even and number % 2:
                    continue
                said = track.say(frame, text, self.now, compress=compress)
                for client in self.members(node, track):
                    if self.clients.index(client) in missed:
                        client.place = track.rejoin()
                        continue
                    client.expected.append(text)
                    client.cache.receive(said.settled if client.place is None else said.newcomers)

    def settle(self) -> None:
        for node in range(2):
            for track in self.tracks[node].values():
                until = track.settle(self.now)
                for client in self.members(node, track):
                    if client.place is not None and client.place <= until:
                        client.place = None

    @rule(seconds=st.sampled_from([0.01, 1, 200, 301, 601]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.unix += seconds

    @rule()
    def sweep(self) -> None:
        for node in range(2):
            self.nodes[node].sweep()
            for track in self.tracks[node].values():
                track.sweep(self.now)

    @invariant()
    def every_client_has_got_exactly_what_was_said(self) -> None:
        for client in getattr(self, "clients", ()):
            assert client.cache.emitted == client.expected, type(client.cache).__name__

    @invariant()
    def bases_that_nobody_has_are_not_kept(self) -> None:
        for node in range(2) if hasattr(self, "clients") else ():
            if not self.members(node):
                assert self.nodes[node].base_bytes == 0


TestSdkCaches = Cluster.TestCase
TestSdkCaches.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
