"""Nodes of neighbouring versions understand each other: what today's send and read is what was recorded of a hundred.

When the first test fails, a field was changed, removed or made necessary: give it another name and a default instead,
or raise `sockudo.cluster.wire.VERSION` to the next hundred.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from sockudo.cluster.items import Item
from sockudo.cluster.wire import VERSION, Beat, Bye, ItemReader, encode, envelopes
from sockudo.protocol.frames import Frame
from sockudo.publishing.nodes import Message
from sockudo.publishing.roster_items import EntriesChanged
from support.node_wire import broken, kinds_now, recorded

NODE = bytes(range(16))


@pytest.mark.parametrize("name", recorded())
def test_a_kind_is_what_it_was(name: str) -> None:
    now = kinds_now()
    assert name in now, "nodes of the version before send it still"
    assert broken(recorded()[name], now[name]) == []


def test_every_kind_is_recorded() -> None:
    new = set(kinds_now()) - set(recorded())
    assert not new, "record them: PYTHONPATH=tests .venv/bin/python -m support.node_wire"


MESSAGE: dict[str, Any] = recorded()["item message"]["is"]


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The recorded message with something else at ``path``."""
    schema = copy.deepcopy(MESSAGE)
    place = schema["$defs"]["Message"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return schema


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("required",), ["type", "app_id", "frame", "json"], id="a field that may no longer be left out"),
        pytest.param(("required",), ["type", "app_id"], id="a field that others wait for"),
        pytest.param(("properties", "json"), {"type": "string"}, id="another type"),
        pytest.param(("properties", "exclude", "anyOf"), [{"type": "string"}], id="a value that is no longer read"),
        pytest.param(("properties",), {}, id="fields that are gone"),
    ],
)
def test_a_change_that_nodes_of_the_version_before_do_not_understand_is_found(
    path: tuple[str, ...], value: Any
) -> None:
    assert broken(MESSAGE, changed(path, value))


def test_a_field_that_may_be_left_out_is_an_addition() -> None:
    assert not broken(MESSAGE, changed(("properties", "priority"), {"type": "integer"}))


ITEMS: list[Item] = [
    Beat(12.5, "realtime-1", 2.0, (100, 100), "draining", {"app": 7}),
    Message("app", Frame("tide", "news", '{"height":3}', serial=4, stream_id="s", message_id="m"), "1.2", False, True),
    EntriesChanged("app", "presence-room", 4, 5, {"ana": b"{}"}, {"ben": "left"}, {"ana": "1.2"}),
    Bye(),
]

# As nodes of version 100 have sent them, byte for byte.
RECORDED = (
    "9564c410000102030405060708090a0b0c0d0e0f03079487a474797065a462656174a473656e74cb4029000000000000a46e"
    "616d65aa7265616c74696d652d31a8696e74657276616ccb4000000000000000a876657273696f6e73926464a4726f6c65a8"
    "647261696e696e67ab636f6e6e656374696f6e7381a36170700786a474797065a76d657373616765a66170705f6964a36170"
    "70a56672616d6586a56576656e74a474696465a76368616e6e656ca46e657773a464617461ac7b22686569676874223a337d"
    "aa6d6573736167655f6964a16da973747265616d5f6964a173a673657269616c04a76578636c756465a3312e32a8636f6d70"
    "72657373c2a46a736f6ec388a474797065a7656e7472696573a66170705f6964a3617070a46e616d65ad70726573656e6365"
    "2d726f6f6da870726576696f757304a776657273696f6e05a370757481a3616e61c4027b7da772656d6f76656481a362656e"
    "a46c656674a7736f636b65747381a3616e61a3312e3281a474797065a3627965"
)


def test_bytes_of_version_100_are_read_as_they_were_meant() -> None:
    opened = ItemReader([Message, EntriesChanged]).open(bytes.fromhex(RECORDED))
    assert opened == (NODE.hex(), 3, 7, ITEMS, False)


def test_of_a_version_that_cannot_be_read_beats_and_goodbyes_are() -> None:
    [readable] = envelopes(NODE, 3, 7, [*map(encode, ITEMS)])
    version, *rest = msgspec.msgpack.decode(readable)
    assert version == VERSION
    reader = ItemReader([Message, EntriesChanged])
    opened = reader.open(encode([(VERSION // 100 + 1) * 100, *rest]))
    assert opened == (NODE.hex(), 3, 7, [ITEMS[0], None, None, ITEMS[3]], True)
    assert reader.unreadable == 2
