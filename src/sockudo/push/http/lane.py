"""Publishes of notifications on the express lane: as their route, without the framework (spec: push § 2.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from sockudo import errors
from sockudo.auth.signing import query_param
from sockudo.edge.lane import LaneEntry
from sockudo.edge.publishing import check_json
from sockudo.edge.replies import Reply, error_reply
from sockudo.edge.signed import signed_app
from sockudo.errors import SockudoError
from sockudo.push.access import read_access
from sockudo.push.bodies import PublishRequest, publish_from
from sockudo.push.http.publishing import FORCED_ASYNC, QUOTA_OVERRIDE, publish_view
from sockudo.push.service import Push
from sockudo.push.services import PushServices
from sockudo.push.validation import check_app_id

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["push_lane", "push_reply"]


def push_lane(edge: Edge, services: PushServices) -> dict[str, LaneEntry]:
    """Publishes take the lane while push takes any."""

    def is_open() -> bool:
        return services.serving() is not None

    return {"push/publish": LaneEntry(is_open, partial(push_reply, edge, services))}


def push_reply(
    edge: Edge,
    services: PushServices,
    app_id: str,
    raw_path: bytes,
    query: bytes | None,
    headers: Mapping[bytes, bytes],
    body: bytes,
) -> Reply | asyncio.Task[Reply]:
    """Checks who asks and reads what for; the task, which is the server's, ends with the answer once it is durable."""
    try:
        app = signed_app(edge, "POST", app_id, raw_path, query, body)
        check_app_id(app.id)
        check_json(headers.get(b"content-type"))
        given = publish_from(body)
        text = {name: value.decode("latin-1") for name, value in headers.items() if name in _ASKED}
        access = read_access(text.get(_CAPABILITY), text.get(_TOKEN), text.get(_AUTHORIZATION))
        access.require_admin()
        push = services.serving()
        if push is None:
            raise errors.PUSH_DISABLED("push admission unavailable: push providers are disabled")
        # Few ask for it, and to decode a query takes as long as to check its signature.
        asked = query is not None and (b"mode" in query or b"%" in query)
        waits = given.sync or (asked and query_param(query or b"", "mode") == "sync")
    except SockudoError as error:
        return error_reply(error)
    over_quota = QUOTA_OVERRIDE.encode() in headers
    task = asyncio.get_running_loop().create_task(_accepted(push, app.id, given, over_quota, waits))
    # Where the tasks of requests are that take the other way.
    tasks: set[asyncio.Task[Any]] = edge.state.tasks
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


_CAPABILITY = b"x-sockudo-push-capability"
_TOKEN = b"x-sockudo-device-identity-token"
_AUTHORIZATION = b"authorization"
_ASKED = frozenset((_CAPABILITY, _TOKEN, _AUTHORIZATION))


async def _accepted(push: Push, app_id: str, given: PublishRequest, over_quota: bool, waits: bool) -> Reply:
    accepted = await push.publish(app_id, given, over_quota=over_quota)
    body = msgspec.json.encode(publish_view(accepted))
    return Reply(202, body, ((FORCED_ASYNC[0].encode(), FORCED_ASYNC[1].encode()),) if waits else ())
