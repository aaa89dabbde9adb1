"""Channels of this server as a sixth provider (spec: push § 8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sockudo.errors import SockudoError
from sockudo.push.delivery import Readiness, Sent
from sockudo.push.providers.answers import accepted, failed
from sockudo.push.recipients import Recipient

__all__ = ["PublishOnChannel", "RealtimeProvider"]

PublishOnChannel = Callable[[str, str, Mapping[str, Any]], Awaitable[str | None]]
"""Publishes the payload for an app on a channel; the message's id, where it has one. Raises SockudoError."""


class RealtimeProvider:
    """A `PushProvider` that needs no account."""

    def __init__(self, publish: PublishOnChannel) -> None:
        self._publish = publish

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        try:
            message_id = await self._publish(app_id, recipient.token, payload)
        except SockudoError as error:
            return failed(_kind(error), error.spec.code)
        return accepted(message_id)

    async def readiness(self, app_id: str) -> Readiness:
        return Readiness(ready=True, source="this server")

    async def close(self) -> None:
        return None


def _kind(error: SockudoError) -> str:
    status = error.spec.status or 500
    if status == 429:
        return "quota"
    return "unavailable" if status >= 500 else "invalid_payload"
