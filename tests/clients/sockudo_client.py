"""Sockudo's own Python client, with everything it reports kept for a test to wait on."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, NamedTuple, Self

from sockudo_python import (
    ChannelAuthorizationOptions,
    ChannelHistoryOptions,
    ConnectionState,
    SockudoChannel,
    SockudoClient,
    SockudoOptions,
    SockudoTransport,
    SubscriptionOptions,
    UserAuthenticationOptions,
)
from sockudo_python.client import PresenceHistoryOptions

from support.waiting import PATIENCE, until

__all__ = ["Heard", "Listener"]


class Heard(NamedTuple):
    """``channel`` is empty for what is reported of the connection."""

    channel: str
    event: str
    data: Any


class Listener:
    """For ``async with``: connects on entering, and waits until it is greeted.

    ``backend`` is the URL of the app's backend, ``options`` those of the client. On leaving, an exception inside the
    client fails the test: it catches all of its own, and reports them as errors.
    """

    def __init__(self, port: int, key: str, backend: str = "", **options: Any) -> None:
        chosen: dict[str, Any] = {
            "cluster": "test",
            "force_tls": False,
            # Else it tries TLS after the first break, and gives up at the first connection that fails.
            "enabled_transports": [SockudoTransport.WS],
            "ws_host": "127.0.0.1",
            "ws_port": port,
            "channel_authorization": ChannelAuthorizationOptions(f"{backend}/auth"),
            "user_authentication": UserAuthenticationOptions(f"{backend}/user-auth"),
            "channel_history": ChannelHistoryOptions(f"{backend}/history"),
            "presence_history": PresenceHistoryOptions(f"{backend}/presence"),
            **options,
        }
        self.client = SockudoClient(key, SockudoOptions(**chosen))
        self.client.bind_global(lambda event, data: self._hear("", event, data))
        self.client.user.dispatcher.bind_global(lambda event, data: self._hear("user", event, data))
        self.client.watchlist.dispatcher.bind_global(lambda event, data: self._hear("watchlist", event, data))
        self.heard: list[Heard] = []
        self._unread: list[Heard] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.client.connect()
        await until(lambda: self.state is ConnectionState.CONNECTED, "the greeting")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        received = self.client._receive_task
        await self.client.close()
        if received is not None:
            await received
        if kind is None:
            problems = [each.data for each in self.heard if isinstance(each.data, BaseException)]
            assert problems == []

    @property
    def state(self) -> ConnectionState:
        return self.client.connection_state

    @property
    def socket_id(self) -> str:
        return self.client.socket_id or ""

    def position(self, channel: str) -> tuple[str | None, int]:
        """Stream and serial that the client would resume from."""
        found = self.client._channel_positions[channel]
        return found.stream_id, found.serial

    def _hear(self, channel: str, event: str, data: Any) -> None:
        entry = Heard(channel, event, data)
        self.heard.append(entry)
        self._unread.append(entry)
        self._news.set()

    async def next(self, channel: str, event: str) -> Any:
        """The data of the oldest such event that was not handed out before; waits for one."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    for position, entry in enumerate(self._unread):
                        if (entry.channel, entry.event) == (channel, event):
                            return self._unread.pop(position).data
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{event} on {channel!r} did not come; heard: {self.heard[-20:]}") from None

    def open(self, channel: str, **options: Any) -> SockudoChannel:
        """Asks for a channel; its acknowledgement is still to come."""
        known = self.client.channel(channel)
        found = self.client.subscribe(channel, SubscriptionOptions(**options) if options else None)
        if known is None:
            found.bind_global(lambda event, data: self._hear(channel, event, data))
        return found

    async def join(self, channel: str, **options: Any) -> SockudoChannel:
        """The same, once it is acknowledged."""
        found = self.open(channel, **options)
        await self.next(channel, f"{self.client.prefix.event_prefix}subscription_succeeded")
        return found

    def messages(self, channel: str) -> list[Any]:
        """The data of all messages on the channel so far, in order."""
        own = (self.client.prefix.event_prefix, self.client.prefix.internal_prefix)
        return [each.data for each in self.heard if each.channel == channel and not each.event.startswith(own)]

    async def settled(self, channel: str, event: str = "end-of-test") -> list[Any]:
        """The data of all messages before the one called ``event``, which a test publishes last."""
        await self.next(channel, event)
        return self.messages(channel)[:-1]
