from __future__ import annotations

from sockudo import errors
from sockudo.auth.ports import Revocation
from sockudo.cluster.in_process import Network
from sockudo.config.apps import Features
from sockudo.sessions.orders import end_tokens, end_user
from support.inside import Client, Node, live_app

APP = live_app(features=Features(enable_user_authentication=True))
OTHER = live_app("other", features=Features(enable_user_authentication=True))


def signed_in(node: Node, user_id: str, app: str = "app") -> Client:
    client = node.connect(node.apps.by_id(app))
    client.sign_in({"id": user_id})
    client.frames()
    return client


async def test_a_user_is_ended_on_every_node_and_nobody_else() -> None:
    network = Network()
    a, b = (Node(APP, OTHER, network=network) for _ in range(2))
    ended = [signed_in(a, "ana"), signed_in(b, "ana"), signed_in(b, "ana")]
    kept = [signed_in(a, "ben"), signed_in(b, "ben"), signed_in(b, "ana", "other")]
    assert await end_user(a.bus, APP.id, "ana", errors.TERMINATED) == 3
    assert [client.peer.closed for client in ended] == [(4009, ended[0].peer.closed[1])] * 3  # type: ignore[index]
    assert [client.peer.closed for client in kept] == [None] * 3


async def test_forced_reconnects_are_closed_with_their_own_code() -> None:
    node = Node(APP)
    client = signed_in(node, "ana")
    assert await end_user(node.bus, APP.id, "ana", errors.FORCE_RECONNECT) == 1
    assert client.peer.closed is not None
    assert client.peer.closed[0] == errors.FORCE_RECONNECT.ws


async def test_a_user_without_connections_is_no_failure() -> None:
    node = Node(APP)
    assert await end_user(node.bus, APP.id, "nobody", errors.TERMINATED) == 0
    assert await end_user(node.bus, "unknown", "nobody", errors.TERMINATED) == 0


async def test_a_revocation_is_known_on_every_node_from_then_on() -> None:
    network = Network()
    a, b = (Node(APP, network=network) for _ in range(2))
    revocation = Revocation(APP.id, "jti", "token-1", a.clock.time() + 60)
    assert await end_tokens(a.bus, APP.id, [revocation]) == 0
    for node in (a, b):
        assert node.revocations._ends == {APP.id: {("jti", "token-1"): revocation.until}}
