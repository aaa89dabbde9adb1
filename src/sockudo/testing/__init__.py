"""A test kit for applications that use Sockudo, and for Sockudo itself: see docs/testing.md.

A server inside a test, a client that records, a clock that stands still until it is moved, a proxy that breaks
connections. It depends on no test framework.
"""

from __future__ import annotations

from sockudo.client.auth import Credentials, authorize_channels
from sockudo.client.socket import Event
from sockudo.testing.asserts import assert_not_published, assert_published
from sockudo.testing.blocking import BlockingClient
from sockudo.testing.clock import FakeClock
from sockudo.testing.proxy import FaultProxy
from sockudo.testing.push_answers import ProviderAnswer, ProviderRequest
from sockudo.testing.push_provider import MockPushProvider
from sockudo.testing.recorder import ANYTHING, RecordingClient
from sockudo.testing.server import TestServer, serve
from sockudo.testing.web_push import BrowserKeys

__all__ = [
    "ANYTHING",
    "BlockingClient",
    "BrowserKeys",
    "Credentials",
    "Event",
    "FakeClock",
    "FaultProxy",
    "MockPushProvider",
    "ProviderAnswer",
    "ProviderRequest",
    "RecordingClient",
    "TestServer",
    "assert_not_published",
    "assert_published",
    "authorize_channels",
    "serve",
]
