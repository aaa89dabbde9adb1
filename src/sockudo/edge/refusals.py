"""What operators are shown of a refused HTTP request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import Scope

from sockudo.edge.address import client_address
from sockudo.edge.replies import Refusal
from sockudo.inspector import Entry

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["note_request", "note_scope", "note_upgrade"]

_LONGEST = 300


def note_request(edge: Edge, refusal: Refusal, request: str, app_id: str | None, address: str) -> None:
    """Counts a request of the API and tells the inspector. ``request`` is method and path, never the query."""
    edge.gateway.refused_requests[refusal.spec.slug] += 1
    app = edge.apps.by_id(app_id) if app_id is not None else None
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
            request=request[:_LONGEST],
            status=refusal.spec.status,
            shared_cause=refusal.shared_cause,
        )
    )


def note_scope(edge: Edge, refusal: Refusal, scope: Scope) -> None:
    """The same for a request of the web framework; paths outside the API are tried by every scanner of the internet."""
    path: str = scope["path"]
    if not path.startswith(("/apps/", "/users/")):
        return
    app_id = path.split("/", 3)[2] if path.startswith("/apps/") else None
    unix = edge.settings.unix_socket.enabled
    address = client_address(scope["client"], scope["headers"], edge.limits.api_trust_hops, unix=unix)
    note_request(edge, refusal, f"{scope['method']} {path}", app_id, address)


def note_upgrade(edge: Edge, refusal: Refusal, key: str, address: str, origin: str | None = None) -> None:
    """Counts a WebSocket that was refused before its handshake and tells the inspector."""
    edge.gateway.refused_requests[refusal.spec.slug] += 1
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
