"""The push routes of the HTTP API (spec: push § 2), called as a backend does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from sockudo.client.http import ApiClient

__all__ = ["PushApi"]


class PushApi:
    """Speaks through an open `ApiClient`, whose errors come through.

    Lists answer one page: ``items``, ``next_cursor`` to be passed on as ``cursor``, and ``has_more``.
    """

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def publish(self, body: Mapping[str, Any], *, ignore_quota: bool = False) -> dict[str, Any]:
        """Send a notification; the body is that of spec: push § 2.4."""
        headers = {"X-Sockudo-Push-Quota-Override": "1"} if ignore_quota else {}
        return await self._api.request("POST", "/push/publish", body=body, headers=headers)

    async def status(self, publish_id: str) -> dict[str, Any]:
        """Where a publish stands."""
        return await self._api.request("GET", f"/push/publish/{_segment(publish_id)}/status")

    async def deliveries(
        self, publish_id: str, *, cursor: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """What became of single recipients of a publish."""
        return await self._list(f"/push/publish/{_segment(publish_id)}/deliveries", cursor=cursor, limit=limit)

    async def publishes(
        self, *, state: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """Publishes, the newest first; in this state alone."""
        return await self._list("/push/publishes", state=state, cursor=cursor, limit=limit)

    async def why(self, who: str, *, publish_id: str | None = None) -> dict[str, Any]:
        """Why a device or a client got no notification, or a publish did not reach everybody; takes its time."""
        given = {"who": who, "publishId": publish_id, "thorough": "true"}
        parameters = {name: value for name, value in given.items() if value is not None}
        return await self._api.request("GET", "/push/why", parameters)

    async def cancel(self, publish_id: str) -> None:
        """Nothing is sent any more of a publish that waits for its time."""
        await self._api.request("DELETE", f"/push/scheduled/{_segment(publish_id)}")

    async def test(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one notification at once, past the queue, and answer what the provider answered."""
        return await self._api.request("POST", "/push/test", body=body)

    # ---- devices ----

    async def devices(
        self, *, client_id: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """The devices of the app, or of one client."""
        return await self._list("/push/deviceRegistrations", clientId=client_id, cursor=cursor, limit=limit)

    async def device(self, device_id: str) -> dict[str, Any]:
        return await self._api.request("GET", f"/push/deviceRegistrations/{_segment(device_id)}")

    async def remove_device(self, device_id: str) -> None:
        """With its subscriptions; also when there is no such device."""
        await self._api.request("DELETE", f"/push/deviceRegistrations/{_segment(device_id)}")

    async def remove_devices_of(self, client_id: str) -> dict[str, Any]:
        """All devices of a client."""
        return await self._api.request("DELETE", "/push/deviceRegistrations", {"clientId": client_id})

    async def subscriptions(
        self, *, device_id: str, cursor: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """The channels that a device is subscribed to."""
        return await self._list("/push/channelSubscriptions", deviceId=device_id, cursor=cursor, limit=limit)

    # ---- credentials ----

    async def credentials(self, *, cursor: str | None = None, limit: int | None = None) -> dict[str, Any]:
        """Which ones are stored, without what is in them."""
        return await self._list("/push/credentials", cursor=cursor, limit=limit)

    async def store_credential(self, provider: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store one, in place of that of the same id; the body is that of spec: push § 2."""
        return await self._api.request("POST", f"/push/credentials/{_segment(provider)}", body=body)

    # ---- dead letters ----

    async def dead_letters(
        self,
        *,
        provider: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """What the pipeline has given up, the oldest first."""
        return await self._list(
            "/push/deadLetters", provider=provider, sinceMs=since_ms, untilMs=until_ms, cursor=cursor, limit=limit
        )

    async def replay(self, dead_letter_id: str) -> dict[str, Any]:
        """Send a dead letter again."""
        return await self._api.request("POST", f"/push/deadLetters/{_segment(dead_letter_id)}/replay", body={})

    async def _list(self, path: str, **given: object) -> dict[str, Any]:
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        return await self._api.request("GET", path, parameters)


def _segment(text: str) -> str:
    return quote(text, safe="")
