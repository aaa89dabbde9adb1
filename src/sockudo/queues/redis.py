"""Webhook deliveries in Redis, where several processes share them.

All keys begin with ``{prefix}:v2:{webhooks}``, whose braces are part of the name: in a Redis Cluster they are all in
one hash slot (contract 70 § 4.2). None of them has the name of a key that other versions keep there.

=========================  ==========  ================================================================================
``:format``                text        version of this layout
``:sequence``              number      of the newest delivery
``:delivery:{id}``         hash        the delivery; what is None is not there
``:attempts:{id}``         list        its newest attempts as JSON, the oldest first
``:lane:{lane}``           list        ids that wait in a lane, the head first; a lane is ``["app","endpoint",number]``
``:lanes:{endpoint}``      set         lanes of ``["app","endpoint"]`` with something waiting
``:due``                   sorted set  lanes that nobody has, by when their head is due; named after the head's sequence
``:leases``                sorted set  lanes that somebody has, by when the lease ends
``:lane-tokens``           hash        lane → token of who has it, or had it last and never said what became of it
``:{state}:{endpoint}``    sorted set  ids of an endpoint by sequence: ``waiting``, ``delivered``, ``dead``
``:settled:{state}``       sorted set  ids in the order in which they were ``delivered`` or became ``dead``
``:settled-sequence``      number      of the last of those
``:endpoints``             set         endpoints with any delivery
=========================  ==========  ================================================================================

A lane with something in it is either in ``:due`` or in ``:leases``. Whatever changes is one script; when its answer
does not come in time it may still have been carried out. That does no harm: an id is appended once, a claim that nobody
knows of ends with its lease, and a settled delivery is not claimed again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import redis.asyncio as redis_client
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sockudo import errors
from sockudo.config.sections import RedisServer, RedisTls
from sockudo.errors import SockudoError
from sockudo.ids import unique_id
from sockudo.queues.memory import KEPT_ATTEMPTS
from sockudo.queues.redis_scripts import SCRIPTS
from sockudo.webhooks.ports import Claim, Endpoints, Outcome
from sockudo.webhooks.records import Attempt, Counts, Delivery, State

__all__ = ["RedisWebhookQueue"]

_FORMAT: Final = 1
_LONGEST_MS: Final = 60_000
# Calls are short; more at a time than this wait for a connection.
_CONNECTIONS: Final = 8

_Lane = tuple[str, str, int]
_Trace = tuple[tuple[str, str], ...]

_log = structlog.get_logger("sockudo.webhooks")


class RedisWebhookQueue:
    """Keeps deliveries in a Redis server, version 6 or newer.

    What was appended survives this process; whether it survives the Redis server is up to that server: with
    ``appendfsync always`` everything does, with ``everysec`` all but the last second, without an append-only file
    nothing since the last snapshot. Every call ends within ``timeout_ms``; 0 stands for a minute.
    """

    def __init__(self, server: RedisServer, tls: RedisTls, *, prefix: str, timeout_ms: int) -> None:
        self._server = server
        self._tls = tls
        self._base = f"{prefix.rstrip(':')}:v2:{{webhooks}}"
        self._timeout_ms = timeout_ms or _LONGEST_MS
        self._client: redis_client.Redis | None = None
        self._scripts: dict[str, Any] = {}

    async def start(self) -> None:
        if self._client is None:
            self._client = self._connect()
            self._scripts = {name: self._client.register_script(text) for name, text in SCRIPTS.items()}
        try:
            version = int(await self._run("open", _FORMAT))
        except SockudoError as problem:
            await self.close()
            raise errors.SERVICE_UNAVAILABLE(
                f"{problem.text}. See that it runs and that database.redis, or queue.redis.url_override, says how to "
                "reach it."
            ) from problem
        if version > _FORMAT:
            await self.close()
            raise errors.SERVICE_UNAVAILABLE(
                f"The webhook queue was written by a newer version of sockudo: its format is {version}, this version "
                f"knows {_FORMAT}. Run the newer version, or set another queue.redis.prefix."
            )
        await self._warn()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            await self._run("append", *(value for each in deliveries for value in _appended(each)))

    async def claim(
        self, now_ms: int, lease_until_ms: int, limit: int, *, besides: Endpoints = frozenset()
    ) -> list[Claim]:
        claims = await self._run("claim", now_ms, lease_until_ms, limit, unique_id(), *_names(besides))
        return [Claim(_delivery(delivery_id, fields), str(token, "utf-8")) for delivery_id, token, fields in claims]

    async def renew(self, claims: Sequence[Claim], lease_until_ms: int) -> None:
        if claims:
            held = (value for claim in claims for value in (_lane_of(claim.delivery), claim.token))
            await self._run("renew", lease_until_ms, *held)

    async def settle(self, outcomes: Sequence[tuple[Claim, Outcome]], now_ms: int) -> list[bool]:
        if not outcomes:
            return []
        values = (value for claim, outcome in outcomes for value in _settled(claim, outcome))
        return [held == 1 for held in await self._run("settle", now_ms, KEPT_ATTEMPTS, *values)]

    async def next_due(self, *, besides: Endpoints = frozenset()) -> int | None:
        return _number(await self._run("next_due", *_names(besides)))

    async def counts(self) -> Mapping[tuple[str, str], Counts]:
        found = await self._run("counts")
        return {msgspec.json.decode(endpoint, type=tuple[str, str]): Counts(*counts) for endpoint, *counts in found}

    async def page(
        self,
        app_id: str,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        which = "" if endpoint is None else _name(app_id, endpoint)
        below = "" if before is None else before
        found = await self._run("page", _beginning(app_id), which, state or "", below, limit)
        return [_delivery(delivery_id, fields) for delivery_id, fields in found]

    async def get(self, app_id: str, delivery_id: str) -> tuple[Delivery, list[Attempt]] | None:
        fields, attempts = await self._run("get", delivery_id)
        if fields[0] is None:
            return None
        delivery = _delivery(delivery_id.encode(), fields)
        if delivery.app_id != app_id:
            return None
        return delivery, [msgspec.json.decode(attempt, type=Attempt) for attempt in attempts]

    async def replay(
        self, app_id: str, now_ms: int, *, ids: Sequence[str] | None = None, endpoint: str | None = None
    ) -> int:
        if ids is not None:
            which = ["ids", *dict.fromkeys(ids)]
        else:
            which = ["dead", "" if endpoint is None else _name(app_id, endpoint)]
        return int(await self._run("replay", now_ms, _beginning(app_id), *which))

    async def expire(self, app_id: str, endpoint: str, created_before_ms: int, now_ms: int, reason: str) -> int:
        return int(await self._run("expire", _name(app_id, endpoint), created_before_ms, now_ms, reason))

    async def trim(self, keep_delivered: int, keep_dead: int) -> int:
        return int(await self._run("trim", keep_delivered, keep_dead))

    # ---- the connection ----

    def _connect(self) -> redis_client.Redis:
        server, seconds = self._server, self._timeout_ms / 1000
        options: dict[str, Any] = {
            "host": server.host,
            "port": server.port,
            "db": server.db,
            "username": server.username or None,
            "password": server.password or None,
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "socket_keepalive": True,
            "client_name": "sockudo",
            "protocol": 2,
            # Whoever calls tries again: it knows for how long it may.
            "retry": Retry(NoBackoff(), 0),
        }
        if server.tls:
            options["connection_class"] = redis_client.SSLConnection
            options["ssl_cert_reqs"] = "none" if self._tls.accept_invalid_certs else "required"
            options["ssl_check_hostname"] = not self._tls.accept_invalid_certs
            options["ssl_ca_certs"] = self._tls.ca_path
            options["ssl_certfile"] = self._tls.client_cert_path
            options["ssl_keyfile"] = self._tls.client_key_path
        pool = redis_client.BlockingConnectionPool(max_connections=_CONNECTIONS, timeout=seconds, **options)
        return redis_client.Redis.from_pool(pool)

    async def _run(self, name: str, *values: str | bytes | int) -> Any:
        if self._client is None:
            raise errors.SERVICE_UNAVAILABLE("The webhook queue is not open")
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                return await self._scripts[name](keys=[self._base], args=values)
        except (TimeoutError, RedisTimeoutError) as error:
            raise errors.SERVICE_UNAVAILABLE(
                f"The webhook queue does not answer: nothing came from Redis at {self._server.place} within "
                f"{self._timeout_ms} ms"
            ) from error
        except (RedisError, OSError) as error:
            # The text of an error may quote what was sent.
            raise errors.SERVICE_UNAVAILABLE(
                f"The webhook queue does not answer: Redis at {self._server.place} ({_reason(error)})"
            ) from None

    async def _warn(self) -> None:
        """Says once what would lose deliveries that were accepted, as far as the server tells."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                told = await self._client.info()
        except (TimeoutError, RedisError, OSError):
            # Not every user may ask.
            return
        if told.get("aof_enabled") == 0:
            _log.warning(
                "Redis keeps no append-only file: webhooks that were accepted since its last snapshot are lost with it",
                server=self._server.place,
            )
        if told.get("maxmemory") and str(told.get("maxmemory_policy")).startswith("allkeys"):
            _log.warning(
                "Redis may drop webhooks to free memory: set its maxmemory-policy to noeviction",
                server=self._server.place,
            )


def _reason(error: Exception) -> str:
    """What went wrong, in words that hold nothing of what was sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "its name has no address"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    word = str(error).partition(" ")[0]
    return word if type(error) is ResponseError and word.isalpha() and word.isupper() else type(error).__name__


def _name(app_id: str, endpoint: str) -> str:
    return msgspec.json.encode((app_id, endpoint)).decode()


def _names(endpoints: Endpoints) -> Iterable[str]:
    return (_name(*each) for each in endpoints)


def _beginning(app_id: str) -> str:
    """What the names of an app's endpoints and lanes begin with."""
    return msgspec.json.encode((app_id,)).decode()[:-1] + ","


def _lane_of(delivery: Delivery) -> bytes:
    return msgspec.json.encode((delivery.app_id, delivery.endpoint, delivery.lane))


def _appended(delivery: Delivery) -> tuple[str | bytes | int, ...]:
    return (
        delivery.id,
        _lane_of(delivery),
        delivery.body,
        delivery.events,
        msgspec.json.encode(delivery.trace),
        delivery.created_at_ms,
        delivery.due_at_ms,
    )


def _settled(claim: Claim, outcome: Outcome) -> tuple[str | bytes | int, ...]:
    attempt = outcome.attempt
    return (
        _lane_of(claim.delivery),
        claim.token,
        outcome.state,
        outcome.due_at_ms,
        outcome.reason or "",
        b"" if attempt is None else msgspec.json.encode(attempt),
        "" if attempt is None else attempt.at_ms,
    )


def _delivery(delivery_id: bytes, fields: Sequence[Any]) -> Delivery:
    lane, body, events, trace, created, due, state, attempts, first, settled, reason, sequence = fields
    app_id, endpoint, number = msgspec.json.decode(lane, type=_Lane)
    return Delivery(
        id=delivery_id.decode(),
        app_id=app_id,
        endpoint=endpoint,
        lane=number,
        body=body,
        events=int(events),
        created_at_ms=int(created),
        due_at_ms=int(due),
        state=msgspec.convert(state.decode(), State),
        attempts=int(attempts),
        first_attempt_at_ms=_number(first),
        settled_at_ms=_number(settled),
        reason=None if reason is None else reason.decode(),
        sequence=int(sequence),
        trace=msgspec.json.decode(trace, type=_Trace),
    )


def _number(text: bytes | None) -> int | None:
    return None if text is None else int(text)
