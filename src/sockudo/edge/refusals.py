"""Reports a refused HTTP request or upgrade to operators: a count, an entry of the inspector, a log line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from starlette.types import Scope

from sockudo import errors
from sockudo.edge.lane import LanePublish
from sockudo.edge.replies import Refusal, Reply, error_reply
from sockudo.errors import SockudoError
from sockudo.inspector import Entry
from sockudo.limits.address import client_address

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = [
    "ONLY_PUBLISHES",
    "HttpHead",
    "after_failure",
    "garbled",
    "is_elsewhere",
    "is_operators",
    "missing_cause",
    "note_connection",
    "note_request",
    "note_scope",
    "note_upgrade",
    "refused_publish",
    "scope_address",
]

ONLY_PUBLISHES: Final = "this node takes publishes alone (server_role = 'api'): ask one of the others"
"""What there is to say of a node for backends."""

# Signed routes by which operators find out what is wrong: no limit of requests may close them.
_OPERATORS: Final = ("/problems", "/inspector/stream")


def after_failure(edge: Edge, reply: Reply, address: str) -> Reply:
    """The reply itself, or 429 where it refuses an authentication and the address has failed too often.

    Everything is checked before, so a client that shares the address and signs rightly is served.
    """
    refusal = reply.refusal
    if refusal is None or (refusal.spec.status != 401 and refusal.spec is not errors.APP_NOT_FOUND):
        return reply
    limits = edge.limits
    verdict = limits.hit("failed_auth", address, edge.clock.monotonic())
    if verdict is None or verdict.allowed:
        return reply
    return error_reply(limits.refusal(verdict, "failed_auth"), limits.headers(verdict))


def is_operators(path: str) -> bool:
    """Whether the path is one that is not counted before its signature is looked at."""
    return path.startswith("/apps/") and path.endswith(_OPERATORS)


_LONGEST: Final = 300
_MOST_SECRETS: Final = 100

# A path of ours behind something that a proxy should have stripped.
_PREFIXED: Final = re.compile(r"(/.{1,100}?)(/apps/[^/?]+/|/app/[^/?]+)")

_DOCTOR: Final = b"sockudo-doctor/"

_NO_UPGRADE: Final = (
    "the request has no Upgrade header: a proxy strips it (nginx: proxy_http_version 1.1, proxy_set_header Upgrade "
    '$http_upgrade, proxy_set_header Connection "upgrade"), or the address was opened as a page'
)


class HttpHead(Protocol):
    """The request at hand of a connection, as far as it has arrived; None before the first one."""

    edge: Edge
    unix: bool
    url: bytes
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None


def note_request(edge: Edge, refusal: Refusal, request: str, app_id: str | None, address: str) -> None:
    """Counts a request of the API and notifies the inspector. ``request`` is method and path, never the query."""
    edge.gateway.refused_requests[refusal.spec.slug] += 1
    app = edge.apps.by_id(app_id) if app_id is not None else None
    shown = _shown(edge, refusal, request, app_id)
    edge.refusal_log.note(refusal, address, shown, edge.clock.monotonic())
    inspector = edge.gateway.inspector
    inspector.note(
        Entry(
            inspector.now_ms(),
            "request_refused",
            app.id if app is not None else None,
            address=address,
            error=refusal.spec.slug,
            text=refusal.text,
            cause=refusal.likely_cause,
            request=shown,
            status=refusal.spec.status,
            shared_cause=refusal.shared_cause,
        )
    )


def refused_publish(edge: Edge, reply: Reply, publish: LanePublish, address: str) -> Reply:
    """Notes a refusal on the express lane; the reply to send for it."""
    reply = after_failure(edge, reply, address)
    if reply.refusal is not None:
        request = f"POST {publish.raw_path.decode('latin-1')}"
        note_request(edge, reply.refusal, request, publish.app_id, address)
    return reply


def note_scope(edge: Edge, refusal: Refusal, scope: Scope) -> None:
    """The same for a request of the web framework.

    Of paths outside the API, which every scanner of the internet tries, only those are more than counted that end like
    one of the API's.
    """
    path: str = scope["path"]
    if path.startswith("/app/"):
        headers = dict(scope["headers"])
        if headers.get(b"user-agent", b"").startswith(_DOCTOR):
            # It asks so on purpose, to see whose address is counted.
            edge.gateway.refused_requests[refusal.spec.slug] += 1
            return
        if refusal.spec is errors.UPGRADE_INVALID and b"upgrade" not in headers:
            refusal = refusal._replace(likely_cause=_NO_UPGRADE)
        origin = headers.get(b"origin")
        note_upgrade(
            edge, refusal, path[5:], scope_address(edge, scope), None if origin is None else origin.decode("latin-1")
        )
        return
    if refusal.spec is errors.NOT_FOUND and refusal.likely_cause is None:
        refusal = refusal._replace(likely_cause=missing_cause(edge, path))
    if not path.startswith(("/apps/", "/users/")) and refusal.likely_cause is None:
        edge.gateway.refused_requests[refusal.spec.slug] += 1
        return
    app_id = path.split("/", 3)[2] if path.startswith("/apps/") else None
    note_request(edge, refusal, f"{scope['method']} {path}", app_id, scope_address(edge, scope))


def scope_address(edge: Edge, scope: Scope) -> str:
    """The client's address, through the proxies that are trusted for such a request."""
    limits = edge.limits
    hops = limits.upgrade_trust_hops if scope["path"].startswith("/app/") else limits.api_trust_hops
    return client_address(scope["client"], scope["headers"], hops, unix=edge.settings.unix_socket.enabled)


def note_upgrade(edge: Edge, refusal: Refusal, key: str, address: str, origin: str | None = None) -> None:
    """Counts a WebSocket that was refused before its handshake and notifies the inspector."""
    edge.gateway.refused_requests[refusal.spec.slug] += 1
    edge.refusal_log.note(refusal, address, "GET /app/{key}", edge.clock.monotonic())
    app = edge.apps.by_key(key)
    edge.gateway.inspector.connect_refused(
        refusal.spec,
        refusal.text,
        refusal.likely_cause,
        app_id=app.id if app is not None else None,
        address=address,
        origin=origin,
        shared_cause=refusal.shared_cause,
    )


def note_connection(http: HttpHead, refusal: Refusal) -> None:
    """Notes a request that was refused before its app was known: garbled, too large, too slow."""
    # Both are None before the first request of a connection.
    path = (http.url or b"").partition(b"?")[0].decode("latin-1")
    hops = http.edge.limits.api_trust_hops
    address = client_address(http.client, http.headers or [], hops, unix=http.unix)
    note_request(http.edge, refusal, path or "a request that cannot be read", None, address)


def is_elsewhere(edge: Edge, path: str) -> bool:
    """Whether what a path may lead to is not on this node, but on others."""
    return edge.settings.server_role == "api" and path.startswith(("/apps/", "/app/", "/users/"))


def missing_cause(edge: Edge, path: str) -> str | None:
    """Why there may be nothing at a path: it is another node's, or one of ours behind a prefix."""
    if is_elsewhere(edge, path):
        return ONLY_PUBLISHES
    found = _PREFIXED.match(path)
    if found is None:
        return None
    return (
        f"the path has the prefix {found[1]}, and the server's paths have none: have the proxy strip it (nginx: a "
        "slash behind the address in proxy_pass), or remove it from the client's configuration"
    )


def garbled(data: bytes) -> SockudoError:
    """The refusal of bytes that are no HTTP, which may be the beginning of TLS."""
    if data[:2] == b"\x16\x03":
        return errors.MALFORMED_REQUEST(
            "TLS is spoken to a plain port",
            likely_cause="the client uses https or wss and this port has no TLS: use http or ws (forceTLS: false), "
            "switch on ssl.enabled, or connect to the proxy that ends TLS",
        )
    return errors.MALFORMED_REQUEST()


def _shown(edge: Edge, refusal: Refusal, request: str, app_id: str | None) -> str:
    """The request as it may be kept: a secret may stand where an id belongs."""
    if refusal.spec is errors.APP_NOT_FOUND and app_id:
        for app in edge.apps.all()[:_MOST_SECRETS]:
            if app.record.secret == app_id:
                request = request.replace(app_id, "{secret}")
    return request[:_LONGEST]
