"""Pages and API of the area Nodes: every node that lives, and the button that drains one."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.dashboard.asked import read_form, read_json
from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import json, page, redirect

__all__ = ["DRAIN_SECONDS", "routes"]

DRAIN_SECONDS: Final = 30
"""Over how long the connections of a node that drains are ended, unless the request says so."""

_LONGEST: Final = 3600

_log = structlog.get_logger("sockudo.dashboard")


class _Drain(msgspec.Struct, forbid_unknown_fields=True):
    """How a node is to drain."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST)] = DRAIN_SECONDS


def routes(board: Board) -> list[Route]:
    """``/dashboard/nodes`` and ``/dashboard/api/v1/nodes``."""

    async def index(request: Request) -> Response:
        found = await board.nodes.views()
        return page(board, request, "nodes/index.html", block="live", found=found, seconds=DRAIN_SECONDS)

    async def drain(request: Request) -> Response:
        form = await read_form(request)
        name = await _drain(board, request, _seconds(form.get("seconds", str(DRAIN_SECONDS))))
        return redirect(request, "/dashboard/nodes", f"The node {name} is draining")

    async def listed(_: Request) -> Response:
        return json(await board.nodes.views())

    async def drain_by_program(request: Request) -> Response:
        given = await read_json(request, _Drain) if await request.body() else _Drain()
        name = await _drain(board, request, given.seconds)
        return json({"ok": True, "node": name})

    return [
        Route("/dashboard/nodes", index, methods=["GET"]),
        Route("/dashboard/nodes/{node}/drain", drain, methods=["POST"]),
        Route("/dashboard/api/v1/nodes", listed, methods=["GET"]),
        Route("/dashboard/api/v1/nodes/{node}/drain", drain_by_program, methods=["POST"]),
    ]


async def _drain(board: Board, request: Request, seconds: float) -> str:
    node = await board.nodes.drain(path_part(request, "node"), seconds)
    _log.warning("an operator asked a node to drain", node=node.name, node_id=node.id, seconds=seconds)
    return node.name


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and int(text) <= _LONGEST):
        raise errors.INVALID_INPUT(f"'seconds' must be a whole number from 0 to {_LONGEST}")
    return float(text)
