"""A signed publish, from the request's parts to the reply: the same for the express lane and for the web framework."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from sockudo import errors
from sockudo.auth.signing import authenticate
from sockudo.base.ids import unique_id
from sockudo.edge.replies import PLAIN_OK, Reply, error_reply
from sockudo.errors import SockudoError
from sockudo.publishing import OK

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["check_json", "finished_reply", "publish_reply"]


_log = structlog.get_logger("sockudo.http")


def check_json(content_type: bytes | None) -> None:
    """Endpoints that read a body need a JSON content type; parameters are ignored (spec: http-api § 10.4)."""
    if content_type == b"application/json":
        return
    kind = (content_type or b"").split(b";", 1)[0].strip().lower()
    if kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return
    raise errors.UNSUPPORTED_MEDIA_TYPE("Expected request with Content-Type: application/json")


def publish_reply(
    edge: Edge,
    batch: bool,
    app_id: str,
    raw_path: bytes,
    query: bytes | None,
    headers: Mapping[bytes, bytes],
    body: bytes,
) -> Reply | asyncio.Future[bytes]:
    """Checks the signature, publishes, and answers. ``headers`` have lower-case names; refusals are replies too.

    The reply to a publish that asked for nothing is always `PLAIN_OK` itself. A future means that the answer waits for
    a commit; `finished_reply` makes it of the future when that has ended.
    """
    clock = edge.clock
    try:
        app = authenticate(
            edge.apps,
            method="POST",
            raw_path=raw_path,
            query=query,
            body=body,
            path_app_id=app_id,
            now=clock.time(),
            may_explain=edge.may_explain,
        )
        state = edge.gateway.state(app)
        traffic = state.traffic
        traffic.http_calls += 1
        traffic.http_bytes_received += len(body)
        check_json(headers.get(b"content-type"))
        key = headers.get(b"x-idempotency-key")
        publish = edge.events.publish_batch if batch else edge.events.publish
        reply = publish(app, state, body, None if key is None else key.decode("utf-8", "replace"), clock.monotonic())
    except SockudoError as error:
        return error_reply(error)
    if reply is OK:
        traffic.http_bytes_sent += len(OK)
        return PLAIN_OK
    if isinstance(reply, bytes):
        traffic.http_bytes_sent += len(reply)
        return Reply(200, reply)
    return reply


def finished_reply(done: asyncio.Future[bytes] | asyncio.Future[Reply]) -> Reply:
    """The reply of a publish whose commit has ended, one way or the other."""
    if done.cancelled():
        return error_reply(errors.DRAINING(retry_after=1))
    problem = done.exception()
    if problem is None:
        body = done.result()
        if isinstance(body, Reply):
            return body
        return PLAIN_OK if body is OK else Reply(200, body)
    if isinstance(problem, SockudoError):
        return error_reply(problem)
    reference = unique_id()
    _log.error("publish failed", reference=reference, exc_info=problem)
    return error_reply(errors.INTERNAL_ERROR(f"Internal server error {reference}"))
