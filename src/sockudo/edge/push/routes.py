"""Every route of push."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from sockudo.edge.push.directory import push_directory_routes
from sockudo.edge.push.publishing import push_publish_routes
from sockudo.edge.push.trial import push_trial_routes

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["push_routes"]


def push_routes(edge: Edge) -> list[Route]:
    """What is kept for push, and publishes; all signed."""
    return [*push_directory_routes(edge), *push_publish_routes(edge), *push_trial_routes(edge)]
