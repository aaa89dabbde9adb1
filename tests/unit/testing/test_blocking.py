from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sockudo.client.failures import ClosedError
from sockudo.testing import BlockingClient, Credentials, TestServer, serve


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with serve() as server:
        yield server


def test_everything_a_recording_client_does(server: TestServer) -> None:
    with server.blocking_client() as crew, server.blocking_client() as mate:
        assert crew.socket_id != mate.socket_id
        crew.subscribe("presence-crew", user_id="crew-8")
        mate.subscribe("presence-crew", user_id="crew-9", user_info={"rank": "mate"})
        crew.expect("pusher_internal:member_added", channel="presence-crew")
        mate.send_event("client-wave", "presence-crew", 1)
        crew.expect("client-wave", data=1)
        crew.assert_received("client-wave", channel="presence-crew")
        mate.assert_nothing(for_=0.02)
        mate.signin("crew-9", watchlist=["crew-8"])
        mate.unsubscribe("presence-crew")
        crew.expect("pusher_internal:member_removed")
        crew.send_event("client-wave", "private-other", 1)
        assert "not subscribed" in crew.expect_error(4301).data["message"]
        assert [event.event for event in crew.events][-1] == "pusher:error"
        assert crew.closed is None


def test_failures_are_raised_in_the_test(server: TestServer) -> None:
    with server.blocking_client() as client:
        with pytest.raises(AssertionError, match="'tide' did not come"):
            client.expect("tide", timeout=0.02)
        with pytest.raises(AssertionError, match="was not received"):
            client.assert_received("tide")
        with pytest.raises(AssertionError, match="was not closed"):
            client.expect_close(4200, timeout=0.02)


def test_a_refused_connection_leaves_no_thread(server: TestServer) -> None:
    before = threading.active_count()
    with pytest.raises(ClosedError):
        BlockingClient(server.url, Credentials("x", "unknown", "x"))
    assert threading.active_count() == before
