"""What this node answers to operators, whichever node they ask; also where it serves no dashboard itself."""

from __future__ import annotations

from sockudo.base.clock import Clock
from sockudo.cluster.router import Router
from sockudo.dashboard.channels.detail import (
    ListMembers,
    ListSubscribers,
    ShowChannel,
    own_channel,
    own_members,
    own_subscribers,
)
from sockudo.dashboard.channels.listing import ListChannels, own_channels
from sockudo.dashboard.connections.detail import EndConnection, ShowConnection, end_own, own_connection
from sockudo.dashboard.connections.listing import ListConnections, own_connections
from sockudo.hub.view import HubView
from sockudo.monitoring.problems import ListProblems, own_problems
from sockudo.sessions import Gateway

__all__ = ["answer_operators"]


def answer_operators(router: Router, gateway: Gateway, view: HubView, clock: Clock) -> None:
    """From now on this node answers for its connections, channels and problems."""
    router.on_request(ListConnections, lambda asked: own_connections(gateway, asked))
    router.on_request(ShowConnection, lambda asked: own_connection(gateway, asked))
    router.on_request(EndConnection, lambda order: end_own(gateway, order))
    router.on_request(ListChannels, lambda asked: own_channels(view, asked))
    router.on_request(ShowChannel, lambda asked: own_channel(view, clock.monotonic(), asked))
    router.on_request(ListMembers, lambda asked: own_members(view, asked))
    router.on_request(ListSubscribers, lambda asked: own_subscribers(view, asked))
    router.on_request(ListProblems, lambda asked: own_problems(gateway.inspector.problems, asked))
