"""A signed client of the HTTP API (spec: http-api § 5 to 8, 11 and 12; webhooks), asynchronous, on httpx."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec

from sockudo.base.clock import Clock, SystemClock
from sockudo.base.version import __version__
from sockudo.client.auth import Credentials
from sockudo.client.event_stream import EventReader
from sockudo.client.failures import ApiError, UnreachableError
from sockudo.client.signing import signed_target

__all__ = ["ApiClient"]

# The server sends at least a comment every ten seconds on a stream.
_STREAM_SILENCE = 30.0


class ApiClient:
    """Speaks to the server at ``url`` as the app of ``credentials``.

    Use it as ``async with``. Every call raises `ApiError` for a refusal and `UnreachableError` when there is no answer
    within ``timeout`` seconds. Nothing is tried twice: to try again safely, pass an ``idempotency_key``. ``tls`` says
    whose certificates count, if not those of this system.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        timeout: float = 10.0,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials
        self._clock = clock or SystemClock()
        self._http = httpx.AsyncClient(
            timeout=timeout,
            transport=transport,
            headers={"User-Agent": f"sockudo/{__version__}"},
            # Reading the certificates of this machine takes as long as many calls, and plain HTTP asks for none.
            verify=(tls or True) if not self.url.lower().startswith("http:") else False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._http.aclose()

    async def publish(
        self,
        channels: str | Sequence[str],
        event: str,
        data: Any = None,
        *,
        socket_id: str | None = None,
        info: Sequence[str] = (),
        idempotency_key: str | None = None,
        message_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Publish one event to one or several channels; answers the server's reply.

        ``data`` that is text is sent as it is, anything else as its JSON. ``socket_id`` names a connection that must
        not receive the event. ``info`` asks for counts: ``user_count``, ``subscription_count``. What follows is seen by
        subscribers on protocol V2 only: ``message_id`` is the publisher's own id, under which a message is published
        once; ``tags`` are what filters look at; ``extras`` are headers and switches (spec: http-api § 5.5).
        """
        body: dict[str, Any] = {"name": event, "channels": [channels] if isinstance(channels, str) else list(channels)}
        if data is not None:
            body["data"] = _text(data)
        if socket_id is not None:
            body["socket_id"] = socket_id
        if info:
            body["info"] = ",".join(info)
        if idempotency_key is not None:
            body["idempotency_key"] = idempotency_key
        if message_id is not None:
            body["message_id"] = message_id
        if tags:
            body["tags"] = dict(tags)
        if extras:
            body["extras"] = dict(extras)
        return await self.request("POST", "/events", body=body)

    async def publish_batch(
        self, events: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Publish several events in order; each as in the body of spec: http-api § 5.1, ``data`` as in `publish`."""
        batch = [
            {**event, "data": _text(event["data"])} if event.get("data") is not None else event for event in events
        ]
        headers = {} if idempotency_key is None else {"X-Idempotency-Key": idempotency_key}
        return await self.request("POST", "/batch_events", body={"batch": batch}, headers=headers)

    async def channels(self, *, prefix: str = "", info: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
        """The occupied channels whose name begins with ``prefix``, each with the counts that ``info`` asks for."""
        parameters = {name: value for name, value in (("filter_by_prefix", prefix), ("info", ",".join(info))) if value}
        reply = await self.request("GET", "/channels", parameters)
        found: dict[str, dict[str, Any]] = reply.get("channels", {})
        return found

    async def channel(self, name: str, *, info: Sequence[str] = ()) -> dict[str, Any]:
        """Whether the channel is occupied, and the attributes that ``info`` asks for."""
        return await self.request("GET", f"/channels/{_segment(name)}", {"info": ",".join(info)} if info else None)

    async def users(self, channel: str) -> list[str]:
        """The ids of the members of a presence channel."""
        reply = await self.request("GET", f"/channels/{_segment(channel)}/users")
        return [user["id"] for user in reply.get("users", [])]

    async def terminate(self, user_id: str) -> dict[str, Any]:
        """Close every connection of the user with 4009: clients stay away."""
        return await self.request("POST", f"/users/{_segment(user_id)}/terminate_connections", body={})

    async def force_reconnect(self, user_id: str) -> dict[str, Any]:
        """Close every connection of the user with 4200: clients come back at once."""
        return await self.request("POST", f"/users/{_segment(user_id)}/force_reconnect", body={})

    # ---- what channels keep ----

    async def history(
        self,
        channel: str,
        *,
        presence: bool = False,
        limit: int | None = None,
        oldest_first: bool = False,
        cursor: str | None = None,
        bounds: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """A page of what the channel keeps; with ``presence``, of who came and went.

        ``bounds`` are inclusive: ``start_serial``, ``end_serial``, ``start_time_ms``, ``end_time_ms``. For the next
        page pass the ``next_cursor`` of this one, with everything but ``limit`` as it was. The server may make a page
        smaller than ``limit``.
        """
        parameters = {name: str(value) for name, value in (bounds or {}).items()}
        parameters["direction"] = "oldest_first" if oldest_first else "newest_first"
        if limit is not None:
            parameters["limit"] = str(limit)
        if cursor is not None:
            parameters["cursor"] = cursor
        return await self.request("GET", _history(channel, presence), parameters)

    async def history_state(self, channel: str, *, presence: bool = False) -> dict[str, Any]:
        """The stream of the channel: its id, what is kept of it, and whether it can be relied on."""
        return await self.request("GET", f"{_history(channel, presence)}/state")

    async def purge_history(
        self,
        channel: str,
        *,
        reason: str,
        requested_by: str | None = None,
        before_serial: int | None = None,
        before_time_ms: int | None = None,
    ) -> dict[str, Any]:
        """Drop what the channel keeps from strictly before one of the two bounds, or all of it; the stream goes on."""
        body = _operation("purge", channel, reason, requested_by)
        if before_serial is not None:
            body |= {"mode": "before_serial", "before_serial": before_serial}
        if before_time_ms is not None:
            body |= {"mode": "before_time_ms", "before_time_ms": before_time_ms}
        return await self.request("POST", f"{_history(channel, False)}/purge", body={"mode": "all"} | body)

    async def reset_history(
        self, channel: str, *, reason: str, requested_by: str | None = None, presence: bool = False
    ) -> dict[str, Any]:
        """Drop everything and begin a new stream, whose serials start at 1."""
        body = _operation("reset", channel, reason, requested_by)
        return await self.request("POST", f"{_history(channel, presence)}/reset", body=body)

    async def presence_snapshot(
        self, channel: str, *, at_time_ms: int | None = None, at_serial: int | None = None
    ) -> dict[str, Any]:
        """Who was on the presence channel at a moment or a serial, both inclusive; without either, at the end."""
        given = {"at_time_ms": at_time_ms, "at_serial": at_serial}
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        return await self.request("GET", f"{_history(channel, True)}/snapshot", parameters)

    # ---- messages that change ----

    async def message(self, channel: str, message_serial: str) -> dict[str, Any]:
        """A message as it reads now, in ``item``."""
        return await self.request("GET", _message(channel, message_serial))

    async def message_versions(
        self,
        channel: str,
        message_serial: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        oldest_first: bool = False,
    ) -> dict[str, Any]:
        """A page of a message's versions. For the next one pass the ``next_cursor`` of this one."""
        parameters = {"direction": "oldest_first" if oldest_first else "newest_first"}
        if limit is not None:
            parameters["limit"] = str(limit)
        if cursor is not None:
            parameters["cursor"] = cursor
        return await self.request("GET", f"{_message(channel, message_serial)}/versions", parameters)

    async def change_message(
        self, channel: str, message_serial: str, action: str, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make a new version by an update, a delete or an append; ``changes`` are the fields of the request."""
        return await self.request("POST", f"{_message(channel, message_serial)}/{action}", body=dict(changes))

    # ---- webhooks ----

    async def webhooks(self) -> dict[str, Any]:
        """The app's endpoints, with what became of their deliveries."""
        return await self.request("GET", "/webhooks")

    async def webhook_deliveries(
        self,
        *,
        endpoint: str | None = None,
        state: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """A page of deliveries, the newest first. For the next one pass ``next_before`` of this one as ``before``."""
        given = {"endpoint": endpoint, "state": state, "before": before, "limit": limit}
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        return await self.request("GET", "/webhooks/deliveries", parameters)

    async def webhook_delivery(self, delivery_id: str) -> dict[str, Any]:
        """One delivery, with its body and every attempt that is kept."""
        return await self.request("GET", f"/webhooks/deliveries/{_segment(delivery_id)}")

    async def replay_webhooks(self, *, ids: Sequence[str] | None = None, endpoint: str | None = None) -> dict[str, Any]:
        """Send these deliveries again; or the dead ones of the endpoint; or, without either, all dead ones."""
        body: dict[str, Any] = {"all": True} if endpoint is None else {"endpoint": endpoint}
        return await self.request("POST", "/webhooks/replay", body=body if ids is None else {"ids": list(ids)})

    # ---- what happens ----

    async def problems(self, *, kinds: str | None = None, text: str | None = None) -> dict[str, Any]:
        """What went wrong lately in the app, grouped, the newest first; of these kinds, with these words in it."""
        given = {"kinds": kinds, "q": text}
        return await self.request("GET", "/problems", {name: value for name, value in given.items() if value})

    async def inspect(
        self,
        *,
        channel: str | None = None,
        user_id: str | None = None,
        socket_id: str | None = None,
        kinds: str | None = None,
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """What happens in the app, as it happens: ``hello``, then ``entries`` and at last perhaps ``end``, with data.

        Ends when the server ends the stream; raises `UnreachableError` when it breaks off or the server is silent.
        """
        given = {"channel": channel, "user_id": user_id, "socket_id": socket_id, "kinds": kinds}
        target = self._target("GET", "/inspector/stream", {name: value for name, value in given.items() if value})
        timeout = httpx.Timeout(self._http.timeout.connect, read=_STREAM_SILENCE)
        try:
            async with self._http.stream("GET", self.url + target, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    _reply(response)
                reader = EventReader()
                async for piece in response.aiter_raw():
                    for event, data in reader.feed(piece):
                        yield event, msgspec.json.decode(data)
        except httpx.TimeoutException:
            raise UnreachableError(self.url, "no answer in time") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError.of(self.url, error, garbled=isinstance(error, httpx.RemoteProtocolError)) from None

    def _target(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> str:
        return signed_target(
            self._credentials,
            method,
            f"/apps/{_segment(self._credentials.app_id)}{path}",
            parameters,
            body=content,
            timestamp=int(self._clock.time()),
        )

    async def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send one signed request; ``path`` is percent-encoded, after ``/apps/{id}``. A 204 answers an empty dict."""
        content = None if body is None else msgspec.json.encode(body)
        target = self._target(method, path, parameters, content)
        sent = dict(headers or {})
        if content is not None:
            sent["Content-Type"] = "application/json"
        try:
            response = await self._http.request(method, self.url + target, content=content, headers=sent)
        except httpx.TimeoutException:
            raise UnreachableError(self.url, "no answer in time") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError.of(self.url, error, garbled=isinstance(error, httpx.RemoteProtocolError)) from None
        return _reply(response)


def _reply(response: httpx.Response) -> dict[str, Any]:
    if response.status_code == httpx.codes.NO_CONTENT:
        return {}
    try:
        body = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        body = None
    if response.is_success and isinstance(body, dict):
        return body
    envelope = body if isinstance(body, dict) else {}
    text = envelope.get("error") or f"The answer with status {response.status_code} is not one of a Sockudo server"
    retry_after = response.headers.get("Retry-After", "")
    raise ApiError(
        response.status_code,
        str(envelope.get("code") or "unknown"),
        str(text),
        docs=str(envelope.get("docs") or ""),
        retry_after=int(retry_after) if retry_after.isdecimal() else None,
    )


def _history(channel: str, presence: bool) -> str:
    return f"/channels/{_segment(channel)}/{'presence/' if presence else ''}history"


def _message(channel: str, message_serial: str) -> str:
    return f"/channels/{_segment(channel)}/messages/{_segment(message_serial)}"


def _operation(name: str, channel: str, reason: str, requested_by: str | None) -> dict[str, Any]:
    body = {"confirm_channel": channel, "confirm_operation": name, "reason": reason}
    return body if requested_by is None else {**body, "requested_by": requested_by}


def _text(data: Any) -> str:
    return data if isinstance(data, str) else msgspec.json.encode(data).decode()


def _segment(text: str) -> str:
    return quote(text, safe="")
