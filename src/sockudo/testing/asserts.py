"""Assertions around a block of code: what it publishes, or that it publishes nothing."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sockudo.client.auth import Credentials
from sockudo.testing.blocking import BlockingClient
from sockudo.testing.recorder import ANYTHING, RecordingClient

if TYPE_CHECKING:
    from sockudo.testing.server import TestServer

__all__ = ["assert_not_published", "assert_published"]

_WATCHER = "sockudo-testing"


def assert_published(
    server: TestServer, channel: str, event: str, data: Any = ANYTHING, *, timeout: float = 5.0
) -> _Watch:
    """Around a block, ``with`` or ``async with``: the block publishes ``event`` with ``data`` on ``channel``.

    Private and presence channels are joined with the app's secret; on a presence channel as ``sockudo-testing``.
    Raises AssertionError when the event did not come until ``timeout`` seconds after the block.
    """
    return _Watch(server, channel, event, data, wanted=True, seconds=timeout)


def assert_not_published(
    server: TestServer, channel: str, event: str | None = None, data: Any = ANYTHING, *, for_: float = 0.2
) -> _Watch:
    """Around a block: it publishes nothing like this on ``channel``, nor does it come in the ``for_`` seconds after."""
    return _Watch(server, channel, event, data, wanted=False, seconds=for_)


class _Watch:
    """A subscriber for the time of a block, and the check at its end. A block that raises is not checked."""

    def __init__(
        self, server: TestServer, channel: str, event: str | None, data: Any, *, wanted: bool, seconds: float
    ) -> None:
        self._target: tuple[str, Credentials] = (server.url, server.app)
        self._channel = channel
        self._event = event
        self._data = data
        self._wanted = wanted
        self._seconds = seconds
        self._blocking = contextlib.ExitStack()
        self._async = contextlib.AsyncExitStack()

    @property
    def _member(self) -> str | None:
        return _WATCHER if self._channel.startswith("presence-") else None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            self._client = opened.enter_context(BlockingClient(*self._target))
            self._client.subscribe(self._channel, user_id=self._member)
            self._blocking = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._blocking:
            if kind is not None:
                return
            if self._wanted:
                self._client.expect(str(self._event), channel=self._channel, data=self._data, timeout=self._seconds)
            else:
                self._client.assert_nothing(
                    for_=self._seconds, event=self._event, channel=self._channel, data=self._data
                )

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opened:
            self._recorder = await opened.enter_async_context(await RecordingClient.connect(*self._target))
            await self._recorder.subscribe(self._channel, user_id=self._member)
            self._async = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._async:
            if kind is not None:
                return
            if self._wanted:
                await self._recorder.expect(
                    str(self._event), channel=self._channel, data=self._data, timeout=self._seconds
                )
            else:
                await self._recorder.assert_nothing(
                    for_=self._seconds, event=self._event, channel=self._channel, data=self._data
                )
