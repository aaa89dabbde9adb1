"""The recording client for tests that are not asynchronous."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from sockudo.client.auth import Credentials
from sockudo.client.failures import ClosedError
from sockudo.client.socket import Event
from sockudo.testing.loop_thread import LoopThread
from sockudo.testing.recorder import ANYTHING, RecordingClient

__all__ = ["BlockingClient"]


class BlockingClient:
    """A `RecordingClient` whose methods wait, for use as ``with``; it reads in a thread of its own.

    Methods and failures are those of `RecordingClient`, without the ``await``.
    """

    def __init__(self, url: str, credentials: Credentials, **options: Any) -> None:
        self._thread = LoopThread("sockudo-test-client")
        try:
            self._client = self._thread.run(RecordingClient.connect(url, credentials, **options))
        except BaseException:
            self._thread.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def socket_id(self) -> str:
        return self._client.socket_id

    @property
    def events(self) -> list[Event]:
        """A copy of everything received so far."""
        return list(self._client.events)

    @property
    def closed(self) -> ClosedError | None:
        return self._client.closed

    def close(self) -> None:
        """Leave; what was received stays readable."""
        try:
            self._thread.run(self._client.close())
        finally:
            self._thread.close()

    def subscribe(
        self, channel: str, *, user_id: str | None = None, user_info: Any = None, timeout: float = 5.0
    ) -> Event:
        return self._thread.run(self._client.subscribe(channel, user_id=user_id, user_info=user_info, timeout=timeout))

    def unsubscribe(self, channel: str) -> None:
        self._thread.run(self._client.unsubscribe(channel))

    def signin(
        self, user_id: str, *, user_info: Any = None, watchlist: list[str] | None = None, timeout: float = 5.0
    ) -> Event:
        return self._thread.run(self._client.signin(user_id, user_info=user_info, watchlist=watchlist, timeout=timeout))

    def send_event(self, event: str, channel: str, data: Any) -> None:
        self._thread.run(self._client.send_event(event, channel, data))

    def expect(self, event: str, *, channel: str | None = None, data: Any = ANYTHING, timeout: float = 5.0) -> Event:
        return self._thread.run(self._client.expect(event, channel=channel, data=data, timeout=timeout))

    def expect_error(self, code: int, *, timeout: float = 5.0) -> Event:
        return self._thread.run(self._client.expect_error(code, timeout=timeout))

    def expect_close(self, code: int, *, timeout: float = 5.0) -> str:
        return self._thread.run(self._client.expect_close(code, timeout=timeout))

    def assert_received(self, event: str, *, channel: str | None = None, data: Any = ANYTHING) -> Event:
        return self._thread.call(lambda: self._client.assert_received(event, channel=channel, data=data))

    def assert_nothing(
        self, *, for_: float = 0.2, event: str | None = None, channel: str | None = None, data: Any = ANYTHING
    ) -> None:
        self._thread.run(self._client.assert_nothing(for_=for_, event=event, channel=channel, data=data))
