"""Who may change a message (spec: messages § 8)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from sockudo.base.message_records import Change
from sockudo.config.apps import Features
from sockudo.errors import SockudoError
from sockudo.protocol.formats import V1_JSON, V2_JSON
from sockudo.sessions.changes import Changer, changer_of
from support.inside import Client, Node, live_app


@pytest.fixture
def node() -> Node:
    return Node(live_app(features=Features(enable_user_authentication=True)))


def signed_in(node: Node, **capabilities: list[str]) -> Client:
    client = node.connect(shape=V2_JSON)
    client.sign_in({"id": "ana", "capabilities": capabilities})
    client.frames()
    return client


def ask(node: Node, client: Client | None, action: Change = "append", client_id: str | None = None) -> Any:
    """Who changes, or the code of the refusal."""
    try:
        return changer_of(node.state, None if client is None else client.socket_id, "news", action, client_id)
    except SockudoError as refused:
        return refused.spec.code


def test_a_backend_may_do_everything_in_any_name(node: Node) -> None:
    assert ask(node, None) == Changer()
    assert ask(node, None, client_id="somebody") == Changer("somebody", UNSET, None)


def test_own_and_any(node: Node) -> None:
    own = signed_in(node, message_append_own=["news"])
    assert ask(node, own) == Changer("ana", "ana", "ana")
    assert ask(node, own, "update") == "mutable_not_permitted"
    both = signed_in(node, message_append_own=["news"], message_append_any=["ne*"])
    assert ask(node, both) == Changer("ana", UNSET, "ana")
    assert ask(node, both, client_id="ana") == Changer("ana", UNSET, "ana")


def test_what_is_not_granted_is_denied(node: Node) -> None:
    assert ask(node, signed_in(node)) == "mutable_not_permitted"
    assert ask(node, signed_in(node, message_append_own=["other"])) == "mutable_not_permitted"
    assert ask(node, node.connect(shape=V2_JSON)) == "mutable_not_permitted"


def test_connections_that_cannot_act(node: Node) -> None:
    assert ask(node, node.connect(shape=V1_JSON)) == "auth_failed"
    assert ask(node, node.connect(shape=V2_JSON), client_id="ana") == "auth_failed"
    assert ask(node, signed_in(node, message_append_any=["*"]), client_id="ben") == "auth_failed"
    with pytest.raises(SockudoError):
        changer_of(node.state, "1.1", "news", "append", None)
