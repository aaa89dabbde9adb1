"""What ``sockudo tail`` does while it runs: follow, print, come back after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.tail_views import TailPrinter
from sockudo.cli.target import Target
from sockudo.client.failures import ApiError, UnreachableError
from sockudo.client.socket import Reconnect

if TYPE_CHECKING:
    from sockudo.client.http import ApiClient

__all__ = ["Tailer", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is followed of the app; None is everything. ``kinds`` are separated by commas."""

    channel: str | None = None
    user_id: str | None = None
    socket_id: str | None = None
    kinds: str | None = None

    @property
    def words(self) -> str:
        """Words that are in every problem which concerns it."""
        return " ".join(value for value in (self.channel, self.user_id, self.socket_id) if value)

    def __str__(self) -> str:
        parts = [
            f"{name} {value}"
            for name, value in (("channel", self.channel), ("user", self.user_id), ("socket", self.socket_id))
            if value
        ]
        return ", ".join(parts)


class Tailer:
    """Follows an app's entries and hands them to the printer. ``printed`` counts those written so far."""

    def __init__(
        self,
        target: Target,
        wanted: Wanted,
        printer: TailPrinter,
        *,
        count: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        client: Callable[..., AbstractAsyncContextManager[ApiClient]] | None = None,
    ) -> None:
        self._target = target
        self._wanted = wanted
        self._printer = printer
        self._count = count
        self._sleep = sleep
        self._client = client
        self._reconnect = Reconnect()
        self.printed = 0

    async def run(self, seconds: float | None, *, problems: bool = False) -> bool:
        """Follow until ``count`` entries were printed (True) or ``seconds`` are over (False).

        With ``problems`` the recent ones come first. Raises `UnreachableError` and `ApiError` when it does not work
        the first time, and later when the server refuses for good.
        """
        target = self._target
        async with target.api() if self._client is None else self._client(target.url, target.credentials) as api:
            if problems:
                reply = await api.problems(kinds=self._wanted.kinds, text=self._wanted.words)
                self._printer.groups(reply["groups"])
            try:
                async with asyncio.timeout(seconds):
                    await self._stay(api)
            except TimeoutError:
                return False
        return True

    async def _stay(self, api: ApiClient) -> None:
        connected = False
        while True:
            try:
                stream = api.inspect(
                    channel=self._wanted.channel,
                    user_id=self._wanted.user_id,
                    socket_id=self._wanted.socket_id,
                    kinds=self._wanted.kinds,
                )
                async with aclosing(stream):
                    async for event, data in stream:
                        connected = True
                        if self._understand(event, data):
                            return
                text = "The server has ended the stream"
            except (UnreachableError, ApiError) as error:
                if not connected or (isinstance(error, ApiError) and error.status != 429 and error.status < 500):
                    raise
                text = str(error)
            await self._wait(text)

    def _understand(self, event: str, data: dict[str, Any]) -> bool:
        """Act on the server's events; True when enough was printed."""
        if event == "hello":
            self._reconnect.established()
            what = f" ({self._wanted})" if str(self._wanted) else ""
            note(f"Following {self._target.credentials.app_id}{what} on {self._target.url} (Ctrl-C ends)")
        elif event == "entries":
            return self._print(data)
        elif event == "end":
            self._ended(data)
        return False

    def _print(self, data: dict[str, Any]) -> bool:
        for entry in data["entries"]:
            self._printer.entry(entry)
            self.printed += 1
            if self.printed == self._count:
                return True
        if data["skipped"]:
            self._printer.skipped(data["skipped"])
        return False

    def _ended(self, data: dict[str, Any]) -> None:
        from sockudo.errors import CATALOGUE

        spec = CATALOGUE.get(str(data.get("error")))
        if spec is None or spec.retry:
            note(f"The server says: {data.get('text')}")
            return
        fail(str(data.get("text")), ExitCode.REFUSED, spec.remedy, f"More: sockudo explain {spec.slug}")

    async def _wait(self, text: str) -> None:
        delay = self._reconnect.delay(None, established=True) or 0
        note(f"{text}. Connecting again in {delay:g} s.")
        await self._sleep(delay)
