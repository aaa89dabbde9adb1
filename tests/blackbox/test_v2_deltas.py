"""Messages as differences: nobody can tell afterwards, whatever happens on the way (spec: filters-deltas § 2)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from blackbox.deltas import CHOSEN_APP, ENABLED, DeltaReader, Witness, delta_server, enable, publish, quote
from blackbox.recovery import place
from support.server import DEFAULT_APP, ServerProcess
from support.websocket import Connect, Event


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with delta_server() as running:
        yield running


# ---- what comes ----


@pytest.mark.parametrize("algorithm", ["fossil", "xdelta3"])
def test_every_text_is_reconstructed_to_the_byte(
    connect_v2: Connect, server: ServerProcess, unique: str, algorithm: str
) -> None:
    client, witness = connect_v2(), Witness(connect_v2())
    reader = enable(client, {"algorithms": [algorithm]}, algorithm)
    for each in (client, witness.client):
        each.subscribe(unique)
    publish(server, unique, *range(25), tags={"b": "2", "a": "ü"}, extras={"headers": {"n": 1.5, "x": "y"}})
    assert reader.messages(25) == witness.messages(25)
    assert reader.kinds == "FF" + "D" * 10 + "F" + "D" * 10 + "FD"
    assert reader.algorithms == {algorithm}
    assert all(delta < plain for delta, plain in reader.sizes)
    assert sum(delta for delta, _ in reader.sizes) * 1.5 < sum(plain for _, plain in reader.sizes)


def test_the_frames(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, witness = connect_v2(), connect_v2()
    enable(client)
    client.subscribe(unique)
    witness.subscribe(unique)
    publish(server, unique, 1, 2, 3)
    for number in range(2):
        plain = witness.text()
        assert client.text() == f'{plain[:-1]},"__delta_seq":{number}}}'
    plain, found = witness.event(), client.event()
    assert list(found) == ["event", "channel", "data", "message_id", "stream_id", "serial"]
    assert list(found["data"]) == ["event", "delta", "seq", "algorithm", "base_index"]
    assert (found["data"]["seq"], found["data"]["base_index"], found["data"]["event"]) == (2, 1, "quote")
    assert [found[name] for name in ("message_id", "serial")] == [plain["message_id"], 3]


def test_names_that_take_turns_have_one_base(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, witness = connect_v2(), Witness(connect_v2())
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(unique)
    for number, event in enumerate(["a", "b", "a", "b", "b", "b", "a", "a"]):
        publish(server, unique, number, event=event)
    assert reader.messages(8) == witness.messages(8)
    assert reader.kinds == "FFFFDDFD"


def test_what_does_not_pay_is_sent_whole(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, witness = connect_v2(), Witness(connect_v2())
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(unique)
    noise = random.Random(7)
    for number in range(6):
        data = quote(number) if number in (2, 3) else noise.randbytes(300).hex()
        server.publish(unique, "quote", data)
    assert reader.messages(6) == witness.messages(6)
    assert reader.kinds == "FFFDFF"


def test_small_and_uncompressed_ones_leave_the_chain_as_it_is(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    client, witness = connect_v2(), Witness(connect_v2())
    channel = "s"
    app = DEFAULT_APP
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(channel)
    publish(server, channel, 1, 2)
    publish(server, channel, 3, delta=False)
    publish(server, channel, 4, delta=True)
    server.publish(channel, "e", "", app=app, extras={"ephemeral": True})
    publish(server, channel, 5)
    server.publish(channel, "quote", quote(6, note="__delta_seq"))
    publish(server, channel, 7)
    assert reader.messages(8) == witness.messages(8)
    assert reader.kinds == "FFPDPDPF"


def test_a_reader_with_a_filter_has_a_chain_of_its_own(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    wanted: list[Event] = [{}, {"filter": {"key": "n", "cmp": "eq", "val": "1"}}, {"filter": {"events": ["quote"]}}]
    author = connect_v2()
    pairs = []
    for options in wanted:
        client, witness = connect_v2(), Witness(connect_v2())
        reader = enable(client)
        client.subscribe(unique, **options)
        witness.client.subscribe(unique, **options)
        pairs.append((reader, witness))
    excluded = enable(author)
    author.subscribe(unique)
    for number in range(12):
        skipped = {"socket_id": author.socket_id} if number % 4 == 2 else {}
        publish(server, unique, number, event="quote" if number % 3 else "news", tags={"n": str(number % 2)}, **skipped)
    for (reader, witness), count in zip(pairs, (12, 6, 8), strict=True):
        assert reader.messages(count) == witness.messages(count)
    assert excluded.messages(9)
    assert "D" in pairs[2][0].kinds
    assert "D" in pairs[1][0].kinds + pairs[0][0].kinds


# ---- keys ----


@pytest.mark.parametrize("channel", ["keyed", "deep"])
def test_each_key_has_its_chain(connect_v2: Connect, server: ServerProcess, unique: str, channel: str) -> None:
    name = f"{channel}-{unique}"
    client, witness = connect_v2(app=CHOSEN_APP), Witness(connect_v2(app=CHOSEN_APP))
    reader = enable(client, algorithm="fossil")
    for each in (client, witness.client):
        each.subscribe(name)
    keys: list[Any] = ["EURUSD", 'a"b\\c\nö', 7, True, None, ["x"], "", "x" * 257, "EURUSD"]
    count = 0
    for number in range(5):
        for key in keys:
            fields = {"at": {"pair": key}, "pair": "other"} if channel == "deep" else {"pair": key}
            server.publish(name, "quote", quote(number, **fields), app=CHOSEN_APP)
            count += 1
    assert reader.messages(count) == witness.messages(count)
    # EURUSD comes twice in each round; null, a list, no text and too much of it are no keys.
    assert reader.kinds[:9] == "FFFFPPPPF"
    assert reader.kinds[-9:] == "DDDDPPPPD"
    assert reader.algorithms == ({"xdelta3"} if channel == "deep" else {"fossil"})


def test_more_keys_than_are_kept(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    name = f"few-{unique}"
    client, witness = connect_v2(app=CHOSEN_APP), Witness(connect_v2(app=CHOSEN_APP))
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(name)
    for key in ("a", "a", "a", "b", "c", "a", "a", "a"):
        server.publish(name, "quote", quote(1, pair=key), app=CHOSEN_APP)
    assert reader.messages(8) == witness.messages(8)
    assert reader.kinds == "FFDFFFFD"


def test_a_publisher_may_name_the_key(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, witness = connect_v2(), Witness(connect_v2())
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(unique)
    for number in range(6):
        extras = {"delta": {"conflation_key": f"k{number % 2}"}}
        publish(server, unique, number, extras=extras)
    assert reader.messages(6) == witness.messages(6)
    assert reader.kinds == "FFFFDD"


# ---- losing the thread ----


def test_a_client_that_cannot_follow_is_told_whole(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, other, witness = connect_v2(), connect_v2(), Witness(connect_v2())
    reader, steady = enable(client), enable(other)
    for each in (client, other, witness.client):
        each.subscribe(unique)
    publish(server, unique, *range(4))
    due = witness.messages(4)
    assert reader.messages(4) == steady.messages(4) == due
    for data in ({"channel": unique}, json.dumps({"channel": unique})):
        client.say("sockudo:delta_sync_error", data)
        client.hears_nothing()
        reader.forget(unique)
        publish(server, unique, 5, 6, 7)
        due = witness.messages(3)
        assert reader.messages(3) == steady.messages(3) == due
    assert reader.kinds == "FFDD" + "FFD" * 2
    assert steady.kinds == "FFDD" + "DDD" * 2


@pytest.mark.parametrize("data", [None, {}, {"channel": 5}, {"channel": "unknown"}, "x", [], {"channel": "[meta]x"}])
def test_nonsense_is_ignored(connect_v2: Connect, data: object) -> None:
    client = connect_v2()
    enable(client)
    client.say("sockudo:delta_sync_error", data)
    client.hears_nothing()


@pytest.mark.parametrize("how", ["unsubscribe", "subscribe", "reconnect", "enable"])
def test_whoever_comes_anew_is_told_whole(connect_v2: Connect, server: ServerProcess, unique: str, how: str) -> None:
    client, other, witness = connect_v2(), connect_v2(), Witness(connect_v2())
    reader, steady = enable(client), enable(other)
    for each in (client, other, witness.client):
        each.subscribe(unique)
    publish(server, unique, *range(4))
    due = witness.messages(4)
    assert reader.messages(4) == steady.messages(4) == due
    reader.forget(unique)
    if how == "unsubscribe":
        client.say("sockudo:unsubscribe", {"channel": unique})
        client.subscribe(unique)
    elif how == "reconnect":
        client.close()
        reader = enable(client := connect_v2())
        client.subscribe(unique)
    elif how == "enable":
        client.say("sockudo:enable_delta_compression")
        assert client.event()["event"] == ENABLED
    else:
        client.subscribe(unique)
    publish(server, unique, *range(4, 8))
    due = witness.messages(4)
    assert reader.messages(4) == steady.messages(4) == due
    assert reader.kinds[-4:] == "FFDD"
    assert steady.kinds == "FFDDDDDD"


def test_whatever_happens_every_text_is_whole(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    """Many readers that come, go and lose the thread, on plain and keyed channels, against one that gets all whole."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    name = f"keyed-{unique}" if chance.random() < 0.5 else f"xd-{unique}"
    witness = Witness(connect_v2(app=CHOSEN_APP))
    witness.client.subscribe(name)
    readers: list[DeltaReader] = []
    last = b""
    for number in range(150):
        step = chance.random()
        if step < 0.1 and len(readers) < 6:
            reader = enable(connect_v2(app=CHOSEN_APP))
            reader.client.subscribe(name)
            readers.append(reader)
        elif step < 0.15 and readers:
            readers.pop(chance.randrange(len(readers))).client.close()
        elif step < 0.2 and readers:
            reader = chance.choice(readers)
            reader.client.say("sockudo:delta_sync_error", {"channel": name})
            reader.client.hears_nothing()
            reader.forget(name)
        elif step < 0.25 and readers:
            reader = chance.choice(readers)
            reader.client.subscribe(name)
            reader.forget(name)
        elif step < 0.3 and readers and last:
            reader = chance.choice(readers)
            reader.client.say("sockudo:resume", {"channel_positions": {name: place(json.loads(last))}})
            assert reader.client.event()["event"] == "sockudo:resume_success"
        pair = chance.choice(["EURUSD", "EURSEK", None])
        flags = {"delta": False} if chance.random() < 0.05 else {}
        data = quote(number, pair=pair) if chance.random() < 0.9 else "tiny"
        server.publish(name, chance.choice(["quote", "quote", "quote", "news"]), data, app=CHOSEN_APP, **flags)
        (last,) = witness.messages(1)
        for reader in readers:
            assert reader.messages(1) == [last]
