"""What `sockudo listen` does while it runs: stay subscribed, print, come back after a loss."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer

from sockudo.cli.outcome import ExitCode, explanation, fail, note
from sockudo.cli.target import Target
from sockudo.client.failures import ApiError, ClosedError, UnreachableError
from sockudo.client.reconnect import Reconnect
from sockudo.client.socket import Event, Socket

__all__ = ["Listener", "Printer"]

_ACKNOWLEDGED = "pusher_internal:subscription_succeeded"
_USER = "#server-to-user-"
_MEMBERS = ("pusher_internal:member_added", "pusher_internal:member_removed")


class Printer:
    """Writes events to standard output: columns for people, one JSON object per line for programs."""

    def __init__(self, *, as_json: bool, everything: bool) -> None:
        self._as_json = as_json
        self._everything = everything

    def wants(self, event: Event) -> bool:
        """Whether the event is for the reader, or only for the protocol."""
        return self._everything or event.is_app_event or event.event in _MEMBERS

    def write(self, event: Event) -> None:
        typer.echo(self._line(event))

    def _line(self, event: Event) -> str:
        now = time.time()
        if self._as_json:
            members = {"time": round(now, 3), "event": event.event, "channel": event.channel, "data": event.data}
            if event.user_id is not None:
                members["user_id"] = event.user_id
            return json.dumps(members, ensure_ascii=False)
        data = event.data if isinstance(event.data, str) else json.dumps(event.data, ensure_ascii=False)
        clock = datetime.fromtimestamp(now, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        sender = "" if event.user_id is None else f" ({event.user_id})"
        return "  ".join(
            (
                typer.style(clock, dim=True),
                typer.style(event.channel or "-", fg=typer.colors.CYAN),
                typer.style(event.event, bold=True) + sender,
                _printable(data),
            )
        )


class Listener:
    """Keeps subscriptions to ``channels`` and hands their events to the printer.

    ``printed`` counts the events written so far.
    """

    def __init__(
        self,
        target: Target,
        channels: Sequence[str],
        printer: Printer,
        *,
        user_id: str | None = None,
        user_info: Any = None,
        count: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._target = target
        self._channels = list(dict.fromkeys(channels))
        self._printer = printer
        self._user_id = user_id
        self._user_info = user_info
        self._count = count
        self._sleep = sleep
        self._reconnect = Reconnect()
        self.printed = 0

    async def run(self, seconds: float | None) -> bool:
        """Listen until ``count`` events were printed (True) or ``seconds`` are over (False).

        Raises `UnreachableError` when the first connection fails, `ClosedError` when the server says to stay away.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._stay()
        except TimeoutError:
            return False
        return True

    async def _stay(self) -> None:
        connected = False
        while True:
            try:
                socket = await Socket.connect(self._target.url, self._target.credentials.key)
                connected = True
                async with socket:
                    if await self._follow(socket):
                        return
            except (UnreachableError, ApiError) as error:
                if not connected or (isinstance(error, ApiError) and not _passing(error)):
                    raise
                await self._wait(None, str(error), established=False)
            except ClosedError as error:
                await self._wait(error, str(error), established=error.established)

    async def _follow(self, socket: Socket) -> bool:
        """Subscribe and print until enough was printed; raises `ClosedError` when the connection ends."""
        for user in (name.removeprefix(_USER) for name in self._channels if name.startswith(_USER)):
            await socket.signin(self._target.credentials, user)
        for channel in self._channels:
            await socket.subscribe(channel, self._target.credentials, user_id=self._user_id, user_info=self._user_info)
        waiting = set(self._channels)
        while True:
            event = await socket.receive()
            if event.event == _ACKNOWLEDGED:
                waiting.discard(event.channel or "")
                if not waiting:
                    self._reconnect.established()
                    note(f"Listening to {', '.join(self._channels)} on {self._target.url} (Ctrl-C ends)")
            elif event.event == "pusher:error":
                self._report(event, subscribing=bool(waiting))
            if self._printer.wants(event):
                self._printer.write(event)
                self.printed += 1
                if self.printed == self._count:
                    return True

    def _report(self, event: Event, *, subscribing: bool) -> None:
        """Say what the server complains about; a refused subscription ends the command, which has no other use."""
        data = event.data if isinstance(event.data, dict) else {}
        code, text = data.get("code"), str(data.get("message", ""))
        number = code if isinstance(code, int) else 0
        if subscribing and not 4100 <= number < 4300:
            fail(f"{text} ({code})", ExitCode.REFUSED, *explanation(number, text))
        note(f"The server says: {text} ({code})")

    async def _wait(self, closed: ClosedError | None, text: str, *, established: bool) -> None:
        delay = self._reconnect.delay(None if closed is None else closed.code, established=established)
        if delay is None and closed is not None:
            raise closed
        note(f"{text}. Connecting again{f' in {delay:g} s' if delay else ''}.")
        await self._sleep(delay or 0)


def _passing(error: ApiError) -> bool:
    """Whether the refused upgrade may work later: a server that drains or is asked too often."""
    return error.status == 429 or error.status >= 500


def _printable(text: str) -> str:
    """The text on one line and without control characters, which could command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
