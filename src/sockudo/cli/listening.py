"""What `sockudo listen` does while it runs: stay subscribed, print, come back after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sockudo.cli.listen_options import V2Options
from sockudo.cli.outcome import ExitCode, explanation, fail, note
from sockudo.cli.printer import Printer
from sockudo.cli.recovery import Recovery
from sockudo.cli.target import Target
from sockudo.client.auth import needs_auth
from sockudo.client.events import Event
from sockudo.client.failures import ApiError, ClosedError, UnreachableError
from sockudo.client.socket import Reconnect, Socket
from sockudo.client.wire import V1, Wire
from sockudo.errors import CHANNEL_AUTH_INVALID, ORIGIN_NOT_ALLOWED

__all__ = ["Listener", "is_signed_for"]

_USER: Final = "#server-to-user-"


def is_signed_for(channel: str) -> bool:
    """Whether subscribing takes a signature of the app: of the channel, or of the user whose channel it is."""
    return needs_auth(channel) or channel.startswith(_USER)


class Listener:
    """Keeps subscriptions to ``channels`` and hands their events to the printer.

    With ``v2`` it speaks protocol V2, and goes on where it was when it comes back. ``printed`` counts the events
    written so far.
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
        v2: V2Options | None = None,
        origin: str | None = None,
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
        self._origin = origin
        self._v2 = v2
        self._wire = V1
        self._recovery = Recovery()
        if v2 is not None:
            self._wire = Wire(2, v2.format, v2.token)
            self._recovery = Recovery(channel=self._channels[0], rewind=v2.rewind, since=v2.since)
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
                socket = await Socket.connect(
                    self._target.url,
                    self._target.credentials.key,
                    origin=self._origin,
                    wire=self._wire,
                    tls=self._target.tls(),
                )
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
        await self._subscribe(socket)
        waiting = set(self._channels)
        while True:
            event = await socket.receive()
            for ready in [*await self._understand(socket, event, waiting), *self._recovery.take(event)]:
                if self._printer.wants(ready):
                    self._printer.write(ready)
                    self.printed += 1
                    if self.printed == self._count:
                        return True

    async def _subscribe(self, socket: Socket) -> None:
        credentials, v2 = self._target.credentials, self._v2
        positions = self._recovery.begin()
        if v2 is not None and v2.delta is not None:
            await socket.enable_deltas(v2.delta)
        # A client with a token is signed in already.
        if v2 is None or v2.token is None:
            for user in (name.removeprefix(_USER) for name in self._channels if name.startswith(_USER)):
                await socket.signin(credentials, user)
        for channel in self._channels:
            options = self._recovery.subscription(channel)
            if v2 is not None and v2.filter is not None:
                options["filter"] = v2.filter
            await socket.subscribe(
                channel, credentials, user_id=self._user_id, user_info=self._user_info, options=options
            )
        if positions:
            await socket.resume(positions)

    async def _understand(self, socket: Socket, event: Event, waiting: set[str]) -> list[Event]:
        """Act on a system event; answers the events that had to wait for it."""
        data = event.data if isinstance(event.data, dict) else {}
        match event.system:
            case "subscription_succeeded":
                await self._acknowledged(socket, event, waiting)
            case "rewind_complete":
                self._recovery.rewound(event)
            case "resume_success":
                return self._recovery.resumed(event)
            case "error":
                return self._complained(event, waiting)
            case "delta_compression_enabled" if data.get("enabled") is False:
                note("The server sends no differences: its configuration has them off.")
            case "delta":
                note(f"An event of {event.channel} was lost: it came as a difference from one that is not here.")
            case "token_expired":
                note(f"The token is {data.get('reason', 'expired')}.")
        return []

    async def _acknowledged(self, socket: Socket, event: Event, waiting: set[str]) -> None:
        position = self._recovery.acknowledged(event)
        if position:
            await socket.resume(position)
        if event.channel in waiting:
            waiting.discard(event.channel)
            if not waiting:
                self._reconnect.established()
                note(f"Listening to {', '.join(self._channels)} on {self._target.url} (Ctrl-C ends)")

    def _complained(self, event: Event, waiting: set[str]) -> list[Event]:
        """Say what the server complains about; a refused subscription ends the command, which has no other use."""
        data = event.data if isinstance(event.data, dict) else {}
        code, text = data.get("code"), str(data.get("message", ""))
        number = code if isinstance(code, int) else 0
        closes = 4100 <= number < 4300
        if waiting and not closes:
            fail(f"{text} ({code})", ExitCode.REFUSED, *self._advice(number, text))
        if self._recovery.is_awaited and not closes:
            return self._recovery.refused(f"{text} ({code})")
        note(f"The server says: {text} ({code})")
        return []

    def _advice(self, code: int, text: str) -> tuple[str, ...]:
        """The catalogue's, but that the signature is ours: the secret alone can be wrong with it."""
        if not text.startswith(CHANNEL_AUTH_INVALID.meaning):
            return explanation(code, text)
        app = self._target.credentials
        named = f"app {app.app_id}" if app.app_id else "the app"
        return (
            f"The secret is not that of {named} with the key {app.key}: this command signed with it.",
            f"`sockudo apps show {app.app_id or 'ID'} --reveal-secret` prints it, on the server's machine.",
        )

    async def _wait(self, closed: ClosedError | None, text: str, *, established: bool) -> None:
        delay = self._reconnect.delay(None if closed is None else closed.code, established=established)
        if delay is None and closed is not None:
            if self._origin is None and closed.reason.startswith(ORIGIN_NOT_ALLOWED.meaning):
                advice = "Without --origin no Origin header is sent: name one of the app's allowed_origins with it."
                fail(text, ExitCode.REFUSED, advice, f"More: sockudo explain {ORIGIN_NOT_ALLOWED.slug}")
            raise closed
        note(f"{text}. Connecting again{f' in {delay:g} s' if delay else ''}.")
        await self._sleep(delay or 0)


def _passing(error: ApiError) -> bool:
    """Whether the refused upgrade may work later: a server that drains or is asked too often."""
    return error.status == 429 or error.status >= 500
