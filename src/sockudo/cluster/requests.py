"""Requests between nodes on a carrier: who is asked, what they answered, and what this node answers
(spec: platform § 10.3)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import structlog

from sockudo.base.measures import Latency
from sockudo.cluster.asking import Asking
from sockudo.cluster.items import ALL, Item, Request, node_topic
from sockudo.cluster.members import NetworkMembership
from sockudo.cluster.ports import Answers, Node, Receiver
from sockudo.cluster.wire import ENVELOPE_BYTES, Answer, Ask, encode

__all__ = ["RequestCounts", "Requests"]

_NO_APP: Final = "cluster"
# Apps whose requests are counted one by one: other nodes name them.
_MOST_APPS: Final = 10_000

_log = structlog.get_logger("sockudo.cluster")


class RequestCounts:
    """What was asked about one app since the start, for metrics; ``cluster`` is about none."""

    __slots__ = ("answers", "complete", "incomplete", "received", "sent", "times")

    def __init__(self) -> None:
        self.sent = self.received = self.answers = self.complete = self.incomplete = 0
        self.times = Latency()


class _Question:
    """A request of this node: what it waits for, and parts of long answers."""

    __slots__ = ("asking", "counts", "parts", "reply")

    def __init__(self, asking: Asking, reply: Any, counts: RequestCounts) -> None:
        self.asking = asking
        self.reply = reply
        self.counts = counts
        self.parts: dict[str, list[bytes]] = {}


class Requests:
    """The requests of one node. ``send`` sends an item; answers come in by `take_answer`, questions by `take_ask`."""

    def __init__(self, membership: NetworkMembership, send: Callable[[str, Item], None]) -> None:
        self._membership = membership
        self._send = send
        self._receiver: Receiver | None = None
        self._decoder: Any = None
        self.counts: dict[str, RequestCounts] = {}
        self._questions: dict[int, _Question] = {}
        self._next = secrets.randbits(32)
        self._answering: set[asyncio.Future[Any]] = set()

    def attach(self, receiver: Receiver) -> None:
        """From now on ``receiver`` answers."""
        self._receiver = receiver
        self._decoder = _decoder_of(receiver.requests)

    def close(self) -> None:
        """Ends what is under way."""
        for question in self._questions.values():
            for node_id in tuple(question.asking.left):
                question.asking.refused(node_id)
        for future in self._answering:
            future.cancel()

    def forget(self, node_id: str) -> None:
        """The node went: its answers are not waited for."""
        for question in tuple(self._questions.values()):
            question.asking.forget(node_id)

    async def ask(self, request: Request, deadline: float, nodes: Sequence[str] | None) -> Answers:
        """See `sockudo.cluster.ports.Bus.ask`."""
        me = self._membership.me.id
        live = [node.id for node in self._membership.live()]
        asked = live if nodes is None else [node_id for node_id in nodes if node_id in live]
        asking = Asking(asked, self._answering)
        others = [node_id for node_id in asked if node_id != me]
        self._next += 1
        number, counts = self._next, self._counts(request)
        began = asyncio.get_running_loop().time()
        if others:
            counts.sent += 1
            self._questions[number] = _Question(asking, type(request).reply, counts)
            item = Ask(number, msgspec.Raw(encode(request)), deadline)
            for topic in [ALL] if nodes is None else map(node_topic, others):
                self._send(topic, item)
        if me in asked:
            asking.take(me, None if self._receiver is None else self._receiver.answer(request))
        try:
            await asking.wait(deadline)
        finally:
            self._questions.pop(number, None)
        if others:
            counts.times.note(asyncio.get_running_loop().time() - began)
            counts.complete += not asking.failed
            counts.incomplete += asking.failed
        return Answers(asking.values, not asking.failed)

    def take_ask(self, sender: Node, ask: Ask) -> None:
        """Answers another node."""
        try:
            request = self._decoder.decode(ask.request)
        except (msgspec.DecodeError, ValueError):
            # Of a newer version: there is no answer, which is one.
            self._reply(sender, ask.number, None)
            return
        self._counts(request).received += 1
        asking = Asking([sender.id], self._answering)
        asking.take(sender.id, None if self._receiver is None else self._receiver.answer(request))
        if not asking.left:
            self._reply(sender, ask.number, asking)
            return
        waiting = asyncio.ensure_future(asking.wait(ask.deadline))
        self._answering.add(waiting)
        waiting.add_done_callback(self._answering.discard)
        waiting.add_done_callback(lambda _done: self._reply(sender, ask.number, asking))

    def _counts(self, request: Request) -> RequestCounts:
        app_id: str = getattr(request, "app_id", _NO_APP)
        found = self.counts.get(app_id)
        if found is None:
            name = app_id if len(self.counts) < _MOST_APPS else _NO_APP
            found = self.counts.setdefault(name, RequestCounts())
        return found

    def _reply(self, sender: Node, number: int, asking: Asking | None) -> None:
        topic = node_topic(sender.id)
        if asking is None or asking.failed:
            self._send(topic, Answer(number, 0, 1, b"", failed=True))
            return
        value = encode(asking.values.get(sender.id))
        parts = [value[start : start + ENVELOPE_BYTES] for start in range(0, len(value), ENVELOPE_BYTES)]
        self._send_parts(topic, [Answer(number, part, len(parts), piece) for part, piece in enumerate(parts)])

    def _send_parts(self, topic: str, parts: Sequence[Answer]) -> None:
        """One a turn, so that what else there is to send comes in between."""
        self._send(topic, parts[0])
        if len(parts) > 1:
            asyncio.get_running_loop().call_soon(self._send_parts, topic, parts[1:])

    def take_answer(self, sender: Node, answer: Answer) -> None:
        """Takes a part of what another node answers."""
        question = self._questions.get(answer.number)
        if question is None:
            return
        question.counts.answers += not answer.part
        if answer.failed:
            question.asking.refused(sender.id)
            return
        parts = question.parts.setdefault(sender.id, [])
        if answer.part != len(parts):
            # A part was lost, so the rest is of no use.
            question.asking.refused(sender.id)
            return
        parts.append(answer.value)
        if len(parts) < answer.of:
            return
        try:
            value = msgspec.msgpack.decode(b"".join(parts), type=question.reply)
        except (msgspec.DecodeError, ValueError):
            _log.error("the answer of a node cannot be read", node=sender.name)
            question.asking.refused(sender.id)
            return
        question.asking.answered(sender.id, value)


def _decoder_of(kinds: Sequence[type[Request]]) -> msgspec.msgpack.Decoder[Any]:
    union: Any = None
    for kind in kinds:
        union = kind if union is None else union | kind
    return msgspec.msgpack.Decoder(union)
