"""Messages as differences through subscriptions with a ``*`` (spec: filters-deltas § 2.14)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from blackbox.deltas import CHOSEN_APP, DeltaReader, Witness, confirmed, delta_server, enable, publish, quote
from blackbox.timed import TimedServer
from support.server import ServerProcess
from support.websocket import Connect, WebSocket
from support.wire import JSON, WIRES, Wire

every_wire = pytest.mark.parametrize("wire", WIRES, ids=str)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with delta_server() as running:
        yield running


@pytest.fixture
def name() -> str:
    """The beginning of names that no other test uses."""
    return f"p{random.randrange(2**40):x}"


def both(connect_v2: Connect, pattern: str, wire: Wire = JSON, **fields: object) -> tuple[DeltaReader, Witness]:
    """A reader of a pattern, and what it has to read."""
    client, witness = connect_v2(wire=wire, **fields), Witness(connect_v2(wire=wire, **fields))
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(pattern)
    return reader, witness


def letters(reader: DeltaReader, witness: Witness, count: int) -> str:
    """The kinds of the next messages, once each of them is right."""
    assert reader.messages(count) == witness.messages(count)
    return reader.kinds[-count:]


def leave(client: WebSocket, channel: str) -> None:
    client.say("sockudo:unsubscribe", {"channel": channel})
    client.hears_nothing()


@every_wire
def test_each_channel_has_its_chain(connect_v2: Connect, server: ServerProcess, name: str, wire: Wire) -> None:
    reader, witness = both(connect_v2, f"{name}-*", wire)
    for number in range(5):
        for channel in ("1", "2"):
            publish(server, f"{name}-{channel}", number, tags={"10": "a", "9": "b"})
    assert letters(reader, witness, 10) == "FFFF" + "DD" * 3
    publish(server, f"{name}-1", *range(12))
    assert letters(reader, witness, 12) == "D" * 7 + "F" + "D" * 4


@every_wire
def test_each_key_of_each_channel_has_its_chain(
    connect_v2: Connect, server: ServerProcess, name: str, wire: Wire
) -> None:
    reader, witness = both(connect_v2, f"keyed-{name}-*", wire, app=CHOSEN_APP)
    for number in range(4):
        for channel in ("1", "2"):
            for key in ("EURUSD", 'a"b\\', None):
                server.publish(f"keyed-{name}-{channel}", "quote", quote(number, pair=key), app=CHOSEN_APP)
    assert letters(reader, witness, 24) == "FFP" * 4 + "DDP" * 4


def test_the_frames(connect_v2: Connect, server: ServerProcess, name: str) -> None:
    client, witness = connect_v2(), connect_v2()
    client.subscribe(f"{name}*", delta="xdelta3")
    confirmed(client, f"{name}*", "xdelta3")
    witness.subscribe(f"{name}*")
    publish(server, name, 1, 2, 3)
    for number in range(2):
        assert client.text() == f'{witness.text()[:-1]},"__delta_seq":{number}}}'
    found, plain = client.event(), witness.event()
    assert [found[part] for part in ("event", "channel", "serial")] == ["sockudo:delta", name, plain["serial"]]
    assert (found["data"]["base_index"], found["data"]["algorithm"]) == (1, "xdelta3")


def test_settings_are_those_of_the_channel(connect_v2: Connect, server: ServerProcess, name: str) -> None:
    reader, witness = both(connect_v2, f"*-{name}", app=CHOSEN_APP)
    for channel in ("none", "xd", "deep", "plain"):
        for number in range(3):
            server.publish(f"{channel}-{name}", "quote", quote(number, at={"pair": "x"}), app=CHOSEN_APP)
        assert letters(reader, witness, 3) == ("PPP" if channel == "none" else "FFD")
        if channel == "xd":
            assert reader.algorithms == {"xdelta3"}
    assert reader.algorithms == {"xdelta3", "fossil"}
    publish(server, f"bare-{name}", 1, 2, 3, app=CHOSEN_APP, tags={"a": "b"})
    assert not any(b'"tags"' in text for text in reader.messages(3))


def test_what_the_pattern_asks_for_comes_before_the_settings_of_the_channel(
    connect_v2: Connect, server: ServerProcess, name: str
) -> None:
    client = connect_v2(app=CHOSEN_APP)
    client.subscribe(f"xd-{name}*", delta="fossil")
    confirmed(client, f"xd-{name}*", "fossil")
    reader = DeltaReader(client)
    publish(server, f"xd-{name}", 1, 2, 3, app=CHOSEN_APP)
    reader.messages(3)
    assert (reader.kinds, reader.algorithms) == ("FFD", {"fossil"})


@pytest.mark.parametrize("off", [False, "none", {"enabled": False}])
def test_a_pattern_may_be_switched_off(connect_v2: Connect, server: ServerProcess, name: str, off: object) -> None:
    client = connect_v2()
    reader = enable(client)
    client.subscribe(f"{name}*", delta=off)
    client.hears_nothing()
    publish(server, name, 1, 2, 3)
    reader.messages(3)
    assert reader.kinds == "PPP"


def test_enabling_after_the_subscribe(connect_v2: Connect, server: ServerProcess, name: str) -> None:
    client, witness = connect_v2(), Witness(connect_v2())
    for each in (client, witness.client):
        each.subscribe(f"{name}*")
    publish(server, name, 0)
    assert [client.text().encode()] == witness.messages(1)
    reader = enable(client)
    publish(server, name, 1, 2, 3)
    assert letters(reader, witness, 3) == "FFD"
    reader.forget(name)
    enable(client)
    publish(server, name, 1, 2, 3)
    assert letters(reader, witness, 3) == "FFD"


def test_publishes_that_want_no_difference(connect_v2: Connect, server: ServerProcess, name: str) -> None:
    reader, witness = both(connect_v2, f"{name}*")
    publish(server, name, 1, 2, 3)
    publish(server, name, 4, delta=False)
    publish(server, name, 5)
    assert letters(reader, witness, 5) == "FFDPD"


# ---- several subscriptions ----


@every_wire
def test_the_exact_subscription_comes_first_while_it_lasts(
    connect_v2: Connect, server: ServerProcess, name: str, wire: Wire
) -> None:
    reader, witness = both(connect_v2, f"{name}-*", wire)
    for channel in ("1", "2"):
        publish(server, f"{name}-{channel}", 1, 2, 3)
    assert letters(reader, witness, 6) == "FFD" * 2
    for _ in range(2):
        reader.client.subscribe(f"{name}-1")
        publish(server, f"{name}-1", 1, 2, 3)
        assert letters(reader, witness, 3) == "FFD"
        leave(reader.client, f"{name}-1")
        reader.unsubscribed(f"{name}-1")
        publish(server, f"{name}-1", 1, 2, 3)
        assert letters(reader, witness, 3) == "FFD"
    reader.client.subscribe(f"{name}-1")
    leave(reader.client, f"{name}-1")
    reader.forget(f"{name}-1")
    publish(server, f"{name}-1", 4, 5, 6)
    publish(server, f"{name}-2", 4)
    assert letters(reader, witness, 4) == "FFDD"


def test_an_exact_subscription_without_differences_comes_first_too(
    connect_v2: Connect, server: ServerProcess, name: str
) -> None:
    reader, witness = both(connect_v2, f"{name}*")
    reader.client.subscribe(name, delta=False)
    publish(server, name, 1, 2, 3)
    assert letters(reader, witness, 3) == "PPP"


@every_wire
def test_the_oldest_pattern_comes_first(connect_v2: Connect, server: ServerProcess, name: str, wire: Wire) -> None:
    other = connect_v2()
    # To the server this pattern is the older one.
    other.subscribe(f"*{name}")
    reader, witness = both(connect_v2, f"{name}*", wire)
    reader.client.subscribe(f"*{name}", delta=False)
    publish(server, name, 1, 2, 3)
    assert letters(reader, witness, 3) == "FFD"
    leave(reader.client, f"{name}*")
    publish(server, name, 1, 2)
    assert letters(reader, witness, 2) == "PP"
    reader.client.subscribe(f"{name}*")
    publish(server, name, 1, 2)
    assert letters(reader, witness, 2) == "PP"
    leave(reader.client, f"*{name}")
    publish(server, name, 1, 2, 3)
    assert letters(reader, witness, 3) == "FFD"


@pytest.mark.parametrize("first", ["exact", "pattern"])
def test_what_only_a_later_subscription_lets_through_is_plain(
    connect_v2: Connect, server: ServerProcess, name: str, first: str
) -> None:
    client, witness = connect_v2(), Witness(connect_v2())
    reader = enable(client)
    witness.client.subscribe(f"{name}*")
    # The order in which they are first, not that in which they came, where one is exact.
    client.subscribe(f"{name}*" if first == "pattern" else f"*{name}", filter={"events": ["quote"]})
    client.subscribe(name if first == "exact" else f"*{name}", filter={"events": ["news"]})
    for number, event in enumerate(["quote", "quote", "news", "news", "quote", "news", "quote", "news"]):
        publish(server, name, number, event=event)
    kinds = letters(reader, witness, 8)
    assert kinds == ("FFPPDPDP" if first == "pattern" else "PPFFPDPD")


# ---- losing the thread ----


@every_wire
def test_a_client_that_cannot_follow_one_channel(
    connect_v2: Connect, server: ServerProcess, name: str, wire: Wire
) -> None:
    reader, witness = both(connect_v2, f"{name}-*", wire)
    for channel in ("1", "2"):
        publish(server, f"{name}-{channel}", 1, 2, 3)
    assert letters(reader, witness, 6) == "FFD" * 2
    reader.client.say("sockudo:delta_sync_error", {"channel": f"{name}-1"})
    reader.client.hears_nothing()
    reader.forget(f"{name}-1")
    for channel in ("1", "2"):
        publish(server, f"{name}-{channel}", 1, 2, 3)
    assert letters(reader, witness, 6) == "FFDDDD"
    reader.client.say("sockudo:delta_sync_error", {"channel": f"{name}-*"})
    reader.client.hears_nothing()
    for channel in ("1", "2"):
        reader.forget(f"{name}-{channel}")
        publish(server, f"{name}-{channel}", 1, 2, 3)
    assert letters(reader, witness, 6) == "FFDFFD"


@every_wire
def test_an_unsubscribe_and_a_return_with_bases_that_stay(
    connect_v2: Connect, server: ServerProcess, name: str, wire: Wire
) -> None:
    """SDKs keep what they have of concrete channels: no number comes again, and a keyed channel stays keyed."""
    with TimedServer({"delta_compression": {"conflation_key_path": "pair"}}) as keyed:
        client, witness = keyed.connect(wire=wire), Witness(keyed.connect(wire=wire))
        reader = enable(client)
        for each in (client, witness.client):
            each.subscribe("fx-*")
        publish(keyed, "fx-1", 1, 2, 3)
        keyed.publish("fx-1", "quote", quote(4, pair=None))
        assert letters(reader, witness, 4) == "FFDP"
        for how in ("unsubscribe", "subscribe"):
            if how == "unsubscribe":
                leave(client, "fx-*")
            client.subscribe("fx-*")
            keyed.publish("fx-1", "quote", quote(4, pair=None))
            assert letters(reader, witness, 1) == "P"
            publish(keyed, "fx-1", 1, 2, 3)
            assert letters(reader, witness, 3) == "FFD"


def test_one_channel_more_than_there_is_room_for() -> None:
    with TimedServer({"delta_compression": {"max_channel_states_per_socket": 2}}) as server:
        client, witness = server.connect(), Witness(server.connect())
        reader = enable(client)
        for each in (client, witness.client):
            each.subscribe("fx-*")
        for channel in ("1", "2"):
            publish(server, f"fx-{channel}", 1, 2, 3)
        publish(server, "fx-1", 4)
        publish(server, "fx-3", 1, 2, 3)
        assert letters(reader, witness, 10) == "FFD" * 2 + "D" + "FFD"
        # The second was used longest ago.
        publish(server, "fx-1", 5)
        publish(server, "fx-2", 4, 5, 6)
        publish(server, "fx-3", 4)
        assert letters(reader, witness, 5) == "DFFDF"
        client.subscribe("exact")
        client.subscribe("exact-2")
        publish(server, "exact", 1, 2, 3)
        reader.messages(3)
        assert reader.kinds[-3:] == "FFD"
        publish(server, "fx-3", 5, 6)
        assert letters(reader, witness, 2) == "PP"


def test_the_author_of_a_message_that_it_does_not_get(connect_v2: Connect, server: ServerProcess, name: str) -> None:
    reader, witness = both(connect_v2, f"{name}*")
    other, other_witness = both(connect_v2, f"{name}*")
    publish(server, name, 1, 2, 3)
    publish(server, name, 4, socket_id=reader.client.socket_id)
    publish(server, name, 5, 6, 7)
    assert letters(other, other_witness, 7) == "FFDDDDD"
    assert reader.messages(3) == witness.messages(3)
    witness.messages(1)
    assert letters(reader, witness, 3) == "FFD"


# ---- libraries ----


@pytest.mark.parametrize(
    ("client", "by_pattern", "by_name"),
    [
        ("js&version=8.6.0", "PPP", "FFD"),
        ("csharp&version=2.0", "PPP", "FFD"),
        ("python&version=2.2.0", "PPP", "PPP"),
        ("kotlin&version=1.0", "FFD", "FFD"),
        ("swift&version=1.0", "FFD", "FFD"),
        ("flutter&version=1.0", "FFD", "FFD"),
    ],
)
def test_libraries_get_what_they_can_follow(
    connect_v2: Connect, server: ServerProcess, name: str, client: str, by_pattern: str, by_name: str
) -> None:
    socket = connect_v2(params=f"client={client}")
    socket.say("sockudo:enable_delta_compression")
    socket.event()
    socket.subscribe(f"{name}-*", delta=True)
    assert len(socket.until_pong()) == (by_pattern != "PPP")
    reader = DeltaReader(socket)
    publish(server, f"{name}-1", 1, 2, 3)
    reader.messages(3)
    socket.subscribe(f"{name}-2")
    publish(server, f"{name}-2", 1, 2, 3)
    reader.messages(3)
    assert reader.kinds == by_pattern + by_name


# ---- everything at once ----


def test_whatever_happens_every_client_reads_what_was_published(
    connect_v2: Connect, server: ServerProcess, name: str
) -> None:
    """Clients of every format that subscribe to names and patterns at random, leave, and lose the thread."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    print(f"seed {seed}")
    start = dice.choice(["keyed", "xd", "few"])
    channels = [f"{start}-{name}-{end}" for end in "ab"]
    subscriptions = [*channels, f"{start}-{name}-*", f"{start}*-a", f"{start}-{name}*b"]
    pairs = []
    joined: set[tuple[DeltaReader, str]] = set()
    for wire in WIRES:
        for _ in range(2):
            client = connect_v2(wire=wire, app=CHOSEN_APP)
            witness = Witness(connect_v2(wire=wire, app=CHOSEN_APP))
            algorithms = dice.choice([["fossil"], ["xdelta3"]])
            reader = enable(client, {"algorithms": algorithms}, algorithms[0])
            pairs.append((reader, witness))
    for number in range(80):
        reader, witness = dice.choice(pairs)
        step, target = dice.random(), dice.choice(subscriptions)
        if step < 0.35:
            filtered = {"filter": {"events": ["quote"]}} if dice.random() < 0.3 else {}
            for client in (reader.client, witness.client):
                client.subscribe(target, **filtered)
            joined.add((reader, target))
        elif step < 0.5:
            for client in (reader.client, witness.client):
                leave(client, target)
            if "*" not in target and (reader, target) in joined:
                reader.unsubscribed(target)
            joined.discard((reader, target))
        elif step < 0.6:
            reader.client.say("sockudo:delta_sync_error", {"channel": target})
            reader.client.hears_nothing()
            if "*" not in target:
                reader.forget(target)
        pair = dice.choice(["EURUSD", "EURSEK", "USDSEK", None])
        flags = {"delta": False} if dice.random() < 0.05 else {}
        server.publish(
            dice.choice(channels),
            dice.choice(["quote", "quote", "quote", "news"]),
            quote(number, pair=pair),
            app=CHOSEN_APP,
            tags={"n": str(number % 3)},
            **flags,
        )
        for each, other in pairs:
            assert each.events(each.client.until_pong()) == other.events(other.client.until_pong())
    assert "D" in "".join(reader.kinds for reader, _ in pairs)
