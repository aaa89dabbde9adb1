"""A client that remembers everything it receives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from sockudo.client.auth import Credentials
from sockudo.client.failures import ClosedError
from sockudo.client.socket import Event, Socket

__all__ = ["ANYTHING", "RecordingClient"]

_ACKNOWLEDGED: Final = "pusher_internal:subscription_succeeded"


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # equal to everything, so it has no place in a set

    def __repr__(self) -> str:
        return "anything"


ANYTHING: Final[Any] = _Anything()
"""Equal to every value: a place in expected data that does not matter."""


class RecordingClient:
    """A connected client that keeps every frame in ``events``, in the order of arrival.

    `expect` hands out each frame once, so that two equal expectations need two frames; what it passed over can still be
    expected later. A mismatch raises AssertionError with the last frames in its text.
    """

    def __init__(self, socket: Socket, credentials: Credentials) -> None:
        self.socket = socket
        self.credentials = credentials
        self.events: list[Event] = []
        self.closed: ClosedError | None = None
        self._unclaimed: list[Event] = []
        self._news = asyncio.Event()
        self._reader = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def connect(cls, url: str, credentials: Credentials, **options: Any) -> Self:
        """Connect to the server at ``url`` as a client of the app; ``options`` as in `Socket.connect`.

        By default the client sends no native pings, so the server alone decides when to ask for a sign of life.
        """
        return cls(await Socket.connect(url, credentials.key, **{"keepalive": None, **options}), credentials)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def socket_id(self) -> str:
        return self.socket.socket_id

    async def close(self) -> None:
        """Leave; what was received stays readable."""
        await self.socket.close()
        await self._reader

    # ---- doing ----

    async def subscribe(
        self,
        channel: str,
        *,
        user_id: str | None = None,
        user_info: Any = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - named in the failure
    ) -> Event:
        """Subscribe, signed with the app's secret where the channel needs it, and wait for the acknowledgement.

        Its ``data`` holds the members of a presence channel. Raises AssertionError when the server refuses.
        """
        await self.socket.subscribe(channel, self.credentials, user_id=user_id, user_info=user_info)
        return await self._answer(_ACKNOWLEDGED, channel, timeout)

    async def unsubscribe(self, channel: str) -> None:
        """Leave a channel."""
        await self.socket.unsubscribe(channel)

    async def signin(
        self,
        user_id: str,
        *,
        user_info: Any = None,
        watchlist: list[str] | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - named in the failure
    ) -> Event:
        """Sign in as a user, signed with the app's secret, and wait for the confirmation."""
        await self.socket.signin(self.credentials, user_id, user_info=user_info, watchlist=watchlist)
        return await self._answer("pusher:signin_success", None, timeout)

    async def send_event(self, event: str, channel: str, data: Any) -> None:
        """Send a client event."""
        await self.socket.send_event(event, channel, data)

    # ---- expecting ----

    async def expect(
        self,
        event: str,
        *,
        channel: str | None = None,
        data: Any = ANYTHING,
        timeout: float = 5.0,  # noqa: ASYNC109 - named in the failure
    ) -> Event:
        """The first frame with this event (and channel, and data) that was not handed out yet; waits for it."""
        described = _described(event, channel, data)
        return await self._wait_for(lambda seen: _matches(seen, event, channel, data), described, timeout)

    async def expect_error(self, code: int, *, timeout: float = 5.0) -> Event:  # noqa: ASYNC109 - named in the failure
        """The next error frame with this code."""

        def matches(seen: Event) -> bool:
            return seen.event == "pusher:error" and isinstance(seen.data, dict) and seen.data.get("code") == code

        return await self._wait_for(matches, f"an error {code}", timeout)

    async def expect_close(self, code: int, *, timeout: float = 5.0) -> str:  # noqa: ASYNC109 - named in the failure
        """Wait until the connection has ended with this code; answers the reason."""
        done, _ = await asyncio.wait([self._reader], timeout=timeout)
        if not done or self.closed is None:
            raise AssertionError(f"the connection was not closed within {timeout:g} s{self._tail()}")
        if self.closed.code != code:
            raise AssertionError(f"expected close {code}, got {self.closed.code} {self.closed.reason}{self._tail()}")
        return self.closed.reason

    def assert_received(self, event: str, *, channel: str | None = None, data: Any = ANYTHING) -> Event:
        """The first frame of this kind among all that came so far, handed out before or not."""
        found = next((seen for seen in self.events if _matches(seen, event, channel, data)), None)
        if found is None:
            raise AssertionError(f"{_described(event, channel, data)} was not received{self._tail()}")
        return found

    async def assert_nothing(
        self, *, for_: float = 0.2, event: str | None = None, channel: str | None = None, data: Any = ANYTHING
    ) -> None:
        """Nothing of this kind is left over or arrives within ``for_`` seconds.

        Without ``event`` it is about what applications publish; frames of the protocol itself do not count. Fails for a
        connection that has ended: to receive nothing would prove nothing.
        """

        def matches(seen: Event) -> bool:
            of_kind = seen.is_app_event if event is None else seen.event == event
            return of_kind and _matches(seen, seen.event, channel, data)

        try:
            found = await self._wait_for(matches, "", for_)
        except AssertionError:
            if self._reader.done():
                raise AssertionError(f"the connection has ended ({self.closed}){self._tail()}") from None
            return
        raise AssertionError(f"unexpected: {found.raw}{self._tail()}")

    # ---- how ----

    async def _read(self) -> None:
        try:
            while True:
                event = await self.socket.receive()
                self.events.append(event)
                self._unclaimed.append(event)
                self._news.set()
        except ClosedError as error:
            self.closed = error
        finally:
            self._news.set()

    async def _answer(self, event: str, channel: str | None, seconds: float) -> Event:
        """The server's answer to a request: the confirmation, or an error frame, which is a failure here."""

        def matches(seen: Event) -> bool:
            return _matches(seen, event, channel, ANYTHING) or seen.event == "pusher:error"

        answer = await self._wait_for(matches, _described(event, channel, ANYTHING), seconds)
        if answer.event == "pusher:error":
            raise AssertionError(f"refused: {answer.raw}{self._tail()}")
        return answer

    async def _wait_for(self, matches: Callable[[Event], bool], described: str, seconds: float) -> Event:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    self._news.clear()
                    for position, seen in enumerate(self._unclaimed):
                        if matches(seen):
                            return self._unclaimed.pop(position)
                    if self._reader.done():
                        break
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{described} did not come within {seconds:g} s{self._tail()}") from None
        if not self._reader.cancelled() and (broken := self._reader.exception()) is not None:
            raise broken
        raise AssertionError(f"{described} did not come before the end: {self.closed}{self._tail()}")

    def _tail(self) -> str:
        lines = "".join(f"\n  {event.raw}" for event in self.events[-10:])
        return f"; the last frames were:{lines}" if lines else "; nothing was received"


def _matches(seen: Event, event: str, channel: str | None, data: Any) -> bool:
    return seen.event == event and (channel is None or seen.channel == channel) and bool(data == seen.data)


def _described(event: str, channel: str | None, data: Any) -> str:
    where = "" if channel is None else f" on {channel}"
    return f"'{event}'{where}" if data is ANYTHING else f"'{event}'{where} with {data!r}"
