"""What is published on one connection to Redis: joined per turn of the loop, bounded, in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from sockudo.drivers.carriers.outbox import Outbox
from sockudo.storage.redis_wire import RedisWire, RedisWireError, pack, reason_of

__all__ = ["RedisOutbox"]

# On the way to the server at most; what is more waits, where the oldest can be dropped.
_WINDOW_BYTES: Final = 4 * 1024 * 1024
_WINDOW_PAYLOADS: Final = 20_000
_CHUNK: Final = 256 * 1024
_EARLY: Final = 1_000
_GONE: Final = "the connection was lost"


class RedisOutbox:
    """Sends payloads with ``command``, PUBLISH or SPUBLISH, on one connection after the other.

    ``refused`` takes the answer to a payload that the server did not accept, with its topic and the payload;
    ``overflowed`` the topics of payloads that were dropped because too much waited.
    """

    def __init__(
        self,
        prefix: str,
        command: str,
        *,
        refused: Callable[[str, str, bytes], None],
        overflowed: Callable[[Sequence[str] | None], None],
    ) -> None:
        self._prefix = prefix
        self._command = command
        self._refused = refused
        self._wire: RedisWire | None = None
        self._waiting = Outbox(overflowed)
        # In the order of their answers; a question of this side stands among the payloads.
        self._sent: deque[tuple[str, bytes] | asyncio.Future[Any]] = deque()
        self._sent_bytes = 0
        self._scheduled = False
        self._idle = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Payloads that were dropped because too much waited, since the start."""
        return self._waiting.dropped

    def begin(self, wire: RedisWire) -> None:
        """From now on payloads go out on this connection."""
        self._wire = wire
        wire.take = self._answered

    def end(self) -> set[str]:
        """The connection is gone, and with it what waited; returns the topics of all that has no answer."""
        self._wire = None
        topics = set()
        for sent in self._sent:
            if not isinstance(sent, asyncio.Future):
                topics.add(sent[0])
            elif not sent.done():
                sent.set_exception(RedisWireError(_GONE))
                # Perhaps nothing waits for it any more.
                sent.exception()
        while taken := self._waiting.take(_CHUNK):
            topics.update(topic for topic, _ in taken)
        self._sent.clear()
        self._sent_bytes = 0
        self._idle.set()
        return topics

    def publish(self, topic: str, payload: bytes) -> bool:
        """Sends a payload at the end of this turn, or says that there is no connection."""
        if self._wire is None:
            return False
        self._waiting.add(topic, payload)
        if len(self._waiting) % _EARLY == 0:
            # Much in one turn: the server may begin with it.
            self._flush()
        self._flush_soon()
        return True

    def ask(self, *command: str) -> asyncio.Future[Any]:
        """The answer to a command, in its turn. An error raises `RedisWireError`."""
        answer = asyncio.get_running_loop().create_future()
        if self._wire is None:
            answer.set_exception(RedisWireError(_GONE))
        else:
            self._sent.append(answer)
            self._wire.write(pack(command))
        return answer

    async def drain(self, seconds: float) -> None:
        """Returns when the server has answered all that was published, or after ``seconds``."""
        self._flush()
        if self._sent:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)

    def _flush_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        command, prefix, sent, wire = self._command, self._prefix, self._sent, self._wire
        while wire is not None and self._sent_bytes < _WINDOW_BYTES and len(sent) < _WINDOW_PAYLOADS:
            taken = self._waiting.take(_CHUNK)
            if not taken:
                return
            sent.extend(taken)
            self._sent_bytes += sum(len(payload) for _, payload in taken)
            wire.write(b"".join([pack((command, prefix + topic, payload)) for topic, payload in taken]))

    def _answered(self, reply: Any) -> None:
        if not self._sent:
            return
        sent = self._sent.popleft()
        if isinstance(sent, asyncio.Future):
            self._resolve(sent, reply)
            return
        topic, payload = sent
        self._sent_bytes -= len(payload)
        if type(reply) is not int:
            self._refused(str(reply), topic, payload)
        if len(self._waiting):
            self._flush_soon()
        elif not self._sent:
            self._idle.set()

    def _resolve(self, answer: asyncio.Future[Any], reply: Any) -> None:
        if answer.done():
            return
        if isinstance(reply, Exception):
            answer.set_exception(RedisWireError(reason_of(reply)))
        else:
            answer.set_result(reply)
