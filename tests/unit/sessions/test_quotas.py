"""Connections of an app: those of all nodes count, and the others hear soon of what comes."""

from __future__ import annotations

from sockudo.cluster.in_process import Network
from sockudo.config import Settings
from sockudo.config.apps import Limits
from sockudo.config.sections.drivers import Adapter
from sockudo.errors import OVER_CAPACITY, OVER_QUOTA, ErrorSpec, SockudoError
from support.inside import Node, live_app

APP = live_app(limits=Limits(max_connections=4))


def refusal(node: Node) -> ErrorSpec | None:
    try:
        node.gateway.admit(APP.key, None)
    except SockudoError as refused:
        return refused.spec
    return None


def test_connections_of_all_nodes_count() -> None:
    network = Network()
    first, second = [Node(APP, network=network) for _ in range(2)]
    for node in (first, second, first):
        assert refusal(node) is None
        node.connect(APP)
    assert refusal(second) is None
    last = second.connect(APP)
    assert [refusal(node) for node in (first, second)] == [OVER_QUOTA] * 2
    assert first.gateway.quotas.count(APP.id) == 4
    last.session.leave()
    assert [refusal(node) for node in (first, second)] == [None] * 2


def test_or_those_of_each_where_the_setting_says_so() -> None:
    network = Network()
    settings = Settings(adapter=Adapter(enable_socket_counting=False))
    first, second = [Node(APP, network=network, settings=settings) for _ in range(2)]
    for _ in range(4):
        first.connect(APP)
    assert [refusal(node) for node in (first, second)] == [OVER_QUOTA, None]


def test_from_half_of_the_limit_on_the_others_hear_at_once() -> None:
    node, hurried = Node(APP), list[int]()
    node.membership.hurry = lambda: hurried.append(node.gateway.quotas.count(APP.id))  # type: ignore[method-assign]
    clients = [node.connect(APP) for _ in range(4)]
    for client in clients:
        client.session.leave()
    assert hurried == [1, 2, 3, 4, 3, 2, 1]


def test_only_apps_with_a_limit_are_told_of() -> None:
    other = live_app("other")
    node = Node(APP, other)
    assert node.membership.connections() == {}
    node.connect(APP)
    node.connect(other)
    assert node.membership.connections() == {APP.id: 1}


def test_a_worker_takes_its_share_of_the_server_s() -> None:
    assert [Settings(max_connections=most).connection_limit for most in (0, 5)] == [0, 5]
    settings = Settings(max_connections=5, workers=4)
    assert settings.connection_limit == 2
    node = Node(APP, settings=settings)
    for _ in range(2):
        assert refusal(node) is None
        node.connect(APP)
    assert refusal(node) is OVER_CAPACITY
