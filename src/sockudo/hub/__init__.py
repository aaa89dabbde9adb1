"""The domain: who is connected to what, and what is delivered to whom. No IO, no clock."""

from sockudo.hub.app_state import AppState
from sockudo.hub.channel import Channel
from sockudo.hub.connection import Connection
from sockudo.hub.delivery import HubOptions
from sockudo.hub.fanout import Fanout
from sockudo.hub.gate import Gate, GateLimits
from sockudo.hub.hub import Hub
from sockudo.hub.ports import BulkWriter, Peer
from sockudo.hub.presence import MemberEvent
from sockudo.hub.traffic import Traffic

__all__ = [
    "AppState",
    "BulkWriter",
    "Channel",
    "Connection",
    "Fanout",
    "Gate",
    "GateLimits",
    "Hub",
    "HubOptions",
    "MemberEvent",
    "Peer",
    "Traffic",
]
