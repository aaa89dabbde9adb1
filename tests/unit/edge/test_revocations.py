"""Taking back capability tokens over HTTP (spec: http-api § 8.2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from sockudo import errors
from sockudo.auth.capabilities import NO_CAPABILITIES
from sockudo.auth.ports import Revocation
from sockudo.auth.revocations import Revocations
from sockudo.auth.tokens import Token
from sockudo.edge.front import Front
from sockudo.edge.listeners import asgi_config
from sockudo.edge.revocations import revocation_routes
from support.edge import EdgeNode, Response

PATH = "/apps/app/revocations"
DAY = 86_400
SKEW = 30


class Store:
    """Keeps nothing, and fails when told to."""

    fails = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def changes(self, seen: int | None, now: float) -> tuple[int, Sequence[Revocation]]:
        return 0, ()

    async def record(self, revocations: Sequence[Revocation], now: float) -> None:
        if self.fails:
            raise errors.SERVICE_UNAVAILABLE("The revocation store does not answer (SQLITE_FULL)")


class RevokingNode(EdgeNode):
    """A node with this one route, and what it did to sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[tuple[str, list[Revocation]]] = []
        self.refused_when_ended: list[bool] = []
        self.sessions = 0
        self.store = Store()
        self.revocations = Revocations(self.store)
        front = Front(self.edge, revocation_routes(self.edge, self.revocations, self.end))

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await front(scope, receive, send)

        self.edge.uvicorn = asgi_config(application)

    async def end(self, app_id: str, revocations: Sequence[Revocation]) -> int:
        self.ended.append((app_id, list(revocations)))
        self.refused_when_ended.append(self.refuses())
        return self.sessions

    @property
    def now(self) -> float:
        return self.clock.time()

    async def revoke(self, body: Any, **options: Any) -> Response:
        return await self.wire().ask(self.publish(body, path=PATH, **options))

    def refuses(self, client_id: str = "u7", jti: str = "t-1", *, after: float = 0) -> bool:
        now = self.now + after
        return self.revocations.is_revoked("app", Token(client_id, NO_CAPABILITIES, int(now), int(now) + 60, jti), now)

    def until(self) -> float:
        """When the one revocation of the one call ends, in seconds from now."""
        [(_, [revocation])] = self.ended
        return revocation.until - self.now


@pytest.fixture
async def node() -> RevokingNode:
    revoking = RevokingNode()
    await revoking.revocations.start(revoking.now)
    return revoking


async def test_a_jti(node: RevokingNode) -> None:
    node.sessions = 1
    reply = await node.revoke({"jti": "t-1"})
    assert reply.status == 200
    assert reply.json() == {"revoked_jti": True, "revoked_client_id": False, "closed_connections": 1}
    assert node.refuses(jti="t-1")
    assert not node.refuses(jti="t-2")
    assert [(app, [(one.kind, one.value) for one in found]) for app, found in node.ended] == [("app", [("jti", "t-1")])]


async def test_a_client_id_and_a_reason(node: RevokingNode) -> None:
    reply = await node.revoke({"client_id": "u7", "ttl_seconds": 5, "reason": "stolen", "jti": None})
    assert reply.json() == {"revoked_jti": False, "revoked_client_id": True, "closed_connections": 0}
    assert node.refuses("u7", after=4)
    assert not node.refuses("u7", after=5)
    assert not node.refuses("u8")


async def test_both(node: RevokingNode) -> None:
    reply = await node.revoke({"client_id": "u7", "jti": "t-9", "unknown": {"jti": "x"}})
    assert reply.json() == {"revoked_jti": True, "revoked_client_id": True, "closed_connections": 0}
    assert node.refuses("u7", "t-1")
    assert node.refuses("u8", "t-9")
    assert [len(found) for _, found in node.ended] == [2]


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, DAY + 2 * SKEW),
        ({"ttl_seconds": 600}, 600),
        ({"ttl_seconds": 0}, 1),
        ({"ttl_seconds": 5, "expires_at": 1}, 5),
        ({"ttl_seconds": None, "expires_at": None}, DAY + 2 * SKEW),
        ({"ttl_seconds": 10**30}, 100 * 365 * DAY),
        ({"expires_at": 1}, 1 + SKEW),
        ({"expires_at": -5}, 1 + SKEW),
        ({"expires_at": 10**30}, 100 * 365 * DAY),
    ],
)
async def test_how_long(node: RevokingNode, fields: dict[str, Any], seconds: int) -> None:
    assert (await node.revoke({"jti": "t-1", **fields})).status == 200
    assert node.until() == pytest.approx(seconds)


async def test_until_the_end_of_a_token(node: RevokingNode) -> None:
    """A token is taken a little after its end, so its revocation lasts as long."""
    assert (await node.revoke({"jti": "t-1", "expires_at": int(node.now) + 600})).status == 200
    assert node.refuses(after=600 + SKEW - 1)


@pytest.mark.parametrize(
    ("body", "status", "code", "text"),
    [
        ({}, 400, "invalid_input", "revocation requires jti or client_id"),
        ({"jti": None, "reason": "x"}, 400, "invalid_input", "revocation requires jti or client_id"),
        ({"jti": ""}, 400, "invalid_input", "jti must be 1 to 128 bytes, as in a token"),
        ({"jti": "t-1", "client_id": ""}, 400, "invalid_input", "client_id must be 1 to 128 bytes, as in a token"),
        ({"client_id": "é" * 65}, 400, "invalid_input", "client_id must be 1 to 128 bytes, as in a token"),
        (
            {"jti": 5},
            422,
            "invalid_input",
            "Wrong shape of the JSON body: field 'jti': expected string or null, got integer",
        ),
        (
            {"jti": "t-1", "ttl_seconds": -1},
            422,
            "invalid_input",
            "Wrong shape of the JSON body: field 'ttl_seconds': expected integer >= 0",
        ),
        (
            {"jti": "t-1", "expires_at": "soon"},
            422,
            "invalid_input",
            "Wrong shape of the JSON body: field 'expires_at': expected integer or null, got string",
        ),
        ([], 422, "invalid_input", "Wrong shape of the JSON body: expected object, got array"),
        (
            b'{"jti":"a","jti":"b"}',
            422,
            "invalid_input",
            "Wrong shape of the JSON body: the field 'jti' is repeated",
        ),
        (
            b'{"jti":"a","\\u006ati":"b"}',
            422,
            "invalid_input",
            "Wrong shape of the JSON body: the field 'jti' is repeated",
        ),
        (b"", 400, "invalid_input", None),
        (b'{"jti":', 400, "invalid_input", None),
        (b'{"jti":5}x', 400, "invalid_input", None),
        (b'{"jti":"\xff"}', 400, "invalid_input", "The body is not valid JSON: not UTF-8 at byte 8"),
        (b'{"jti":"\\ud800"}', 400, "invalid_input", None),
        (b"[" * 200, 400, "invalid_input", "The body is not valid JSON: nested more than 128 levels deep at byte 128"),
        (b'{"jti":"a","ttl_seconds":' + b"1" * 5000 + b"}", 422, "invalid_input", None),
    ],
)
async def test_bodies_that_are_refused(node: RevokingNode, body: Any, status: int, code: str, text: str | None) -> None:
    reply = await node.revoke(body)
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert text is None or reply.error == text
    assert node.ended == []
    assert not node.refuses()


async def test_a_body_that_is_not_declared_as_json(node: RevokingNode) -> None:
    reply = await node.revoke({"jti": "t-1"}, headers={"Content-Type": "text/plain"})
    assert reply.status == 415
    assert not node.refuses()


async def test_only_who_holds_the_secret_may_revoke(node: RevokingNode) -> None:
    reply = await node.revoke({"jti": "t-1"}, change=lambda head: head.replace(b"auth_signature=", b"auth_signature=0"))
    assert (reply.status, reply.json()["code"]) == (401, "auth_failed")
    assert not node.refuses()
    assert node.ended == []


async def test_what_cannot_be_kept_ends_no_session(node: RevokingNode) -> None:
    node.store.fails = True
    reply = await node.revoke({"jti": "t-1"})
    assert (reply.status, reply.json()["code"]) == (503, "service_unavailable")
    assert node.ended == []
    assert not node.refuses()
    node.store.fails = False
    assert (await node.revoke({"jti": "t-1"})).status == 200


async def test_a_token_is_refused_before_its_sessions_are_ended(node: RevokingNode) -> None:
    """A client that comes back while its session ends must find the door closed."""
    await node.revoke({"jti": "t-1"})
    assert node.refused_when_ended == [True]


async def test_the_call_is_counted(node: RevokingNode) -> None:
    body = json.dumps({"jti": "t-1"}).encode()
    await node.revoke(body)
    traffic = node.gateway.state(node.app).traffic
    assert (traffic.http_calls, traffic.http_bytes_received) == (1, len(body))
