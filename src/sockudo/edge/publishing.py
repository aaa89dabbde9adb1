"""A signed publish, from the request's parts to the reply: the same for the express lane and for the web framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sockudo import errors
from sockudo.auth.signing import authenticate
from sockudo.edge.replies import Reply, error_reply
from sockudo.errors import SockudoError

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["check_json", "publish_reply"]


def check_json(content_type: bytes | None) -> None:
    """Endpoints that read a body need a JSON content type; parameters are ignored (contract 20 § 10.4)."""
    if content_type == b"application/json":
        return
    kind = (content_type or b"").split(b";", 1)[0].strip().lower()
    if kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return
    raise errors.UNSUPPORTED_MEDIA_TYPE("Expected request with Content-Type: application/json")


def publish_reply(
    edge: Edge,
    *,
    batch: bool,
    app_id: str,
    raw_path: bytes,
    query: bytes | None,
    headers: Mapping[bytes, bytes],
    body: bytes,
) -> Reply:
    """Checks the signature, publishes, and answers. ``headers`` have lower-case names; refusals are replies too."""
    clock = edge.clock
    try:
        app = authenticate(
            edge.apps, method="POST", raw_path=raw_path, query=query, body=body, path_app_id=app_id, now=clock.time()
        )
        traffic = edge.gateway.state(app).traffic
        traffic.http_calls += 1
        traffic.http_bytes_received += len(body)
        check_json(headers.get(b"content-type"))
        key = headers.get(b"x-idempotency-key")
        publish = edge.publisher.batch if batch else edge.publisher.events
        reply = publish(app, body, key.decode("utf-8", "replace") if key is not None else None, clock.monotonic())
        traffic.http_bytes_sent += len(reply)
        return Reply(200, reply)
    except SockudoError as error:
        return error_reply(error)
