"""Which frames become deltas, under which numbers, and for whom (spec: filters-deltas § 2.4 to 2.9)."""

from __future__ import annotations

import base64
import json
import random
import uuid
from dataclasses import replace
from typing import Any

import pytest

from sockudo.protocol.delta import fossil, node
from sockudo.protocol.delta.channel import DeltaChannel
from sockudo.protocol.delta.node import DeltaNode
from sockudo.protocol.delta.settings import INHERITED, Algorithm, ChannelDelta, DeltaOptions, encode
from sockudo.protocol.delta.track import LAST_NUMBER, DeltaPayloads, DeltaTrack
from sockudo.protocol.formats import json_text
from sockudo.protocol.frames import Frame

OPTIONS = DeltaOptions(min_message_size=0)
KEYED = ChannelDelta(conflation_key="symbol")
PADDING = "x" * 120
FIRST = 2**16


class Desk:
    """A channel with one track, what is published on it, and a clock."""

    def __init__(
        self,
        options: DeltaOptions = OPTIONS,
        settings: ChannelDelta = INHERITED,
        algorithm: Algorithm = Algorithm.FOSSIL,
        *,
        one_base: bool = False,
        max_base_bytes: int = 10**9,
    ) -> None:
        self.node = DeltaNode(options, lambda: 0.0, max_base_bytes)
        self.channel = DeltaChannel(self.node, "app", "fx:desk", settings)
        self.track = DeltaTrack(self.channel, algorithm, one_base=one_base)
        self.now = 1000.0
        self.published = 0

    def message(self, event: str = "quote", **data: Any) -> tuple[Frame, bytes]:
        self.published += 1
        data = {"bid": self.published, "pad": PADDING, **data}
        frame = Frame(event, "fx:desk", json.dumps(data), message_id=f"m-{self.published}")
        return frame, json_text(frame)

    def say(self, event: str = "quote", *, compress: bool = True, **data: Any) -> DeltaPayloads:
        return self.track.say(*self.message(event, **data), self.now, compress=compress)

    def letters(self, count: int, **data: Any) -> str:
        """What the settled get for so many messages: F full, D delta, P plain."""
        return "".join(letter(self.say(**data).settled) for _ in range(count))


def letter(text: bytes) -> str:
    if b'"event":"sockudo:delta"' in text:
        return "D"
    return "F" if b"__delta_seq" in text else "P"


def number(text: bytes) -> int:
    frame = json.loads(text)
    return int(frame["data"]["seq"] if frame["event"] == "sockudo:delta" else frame["__delta_seq"])


def test_two_full_frames_then_ten_deltas_between_full_ones() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(35) == "FF" + "D" * 10 + "F" + "D" * 10 + "F" + "D" * 10 + "F"


@pytest.mark.parametrize(("interval", "pattern"), [(0, "FFFFFFFF"), (1, "FFDFDFDF"), (3, "FFDDDFDD")])
def test_the_interval_of_full_frames(interval: int, pattern: str) -> None:
    desk = Desk(replace(OPTIONS, full_message_interval=interval))
    desk.track.join()
    assert desk.letters(8) == pattern


def test_the_exact_bytes() -> None:
    desk = Desk()
    desk.track.join()
    texts, said = [], []
    for _ in range(4):
        frame, text = desk.message()
        texts.append(text)
        said.append(desk.track.say(frame, text, desk.now))
    for n in (0, 1):
        assert said[n].settled is said[n].newcomers is said[n].full
        assert said[n].full == texts[n][:-1] + b',"__delta_seq":%d}' % n
    for n in (2, 3):
        delta = base64.b64encode(fossil.encode(texts[n - 1], texts[n])).decode()
        assert said[n].settled is said[n].newcomers is not said[n].full
        assert said[n].settled.decode() == (
            '{"event":"sockudo:delta","channel":"fx:desk","data":{"event":"quote",'
            f'"delta":"{delta}","seq":{n},"algorithm":"fossil","base_index":{n - 1}}},"message_id":"m-{n + 1}"}}'
        )


def test_base_index_is_always_the_number_before() -> None:
    desk = Desk()
    desk.track.join()
    for n in range(30):
        text = desk.say().settled
        assert number(text) == n
        if letter(text) == "D":
            assert json.loads(text)["data"]["base_index"] == n - 1


def test_vcdiff_frames_name_their_format_and_it_can_be_left_out() -> None:
    desk = Desk(algorithm=Algorithm.XDELTA3)
    desk.track.join()
    assert desk.letters(2) == "FF"
    assert json.loads(desk.say().settled)["data"]["algorithm"] == "xdelta3"
    silent = Desk(replace(OPTIONS, omit_delta_algorithm=True))
    silent.track.join()
    assert silent.letters(2) == "FF"
    assert "algorithm" not in json.loads(silent.say().settled)["data"]


def test_a_late_subscriber_is_told_whole_twice_under_the_numbers_of_the_others() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(5) == "FFDDD"
    assert desk.track.settle(desk.now) == 3
    assert desk.track.join() == 5
    for n in (5, 6):
        said = desk.say()
        assert (letter(said.settled), letter(said.newcomers)) == ("D", "F")
        assert number(said.settled) == number(said.newcomers) == n
        assert desk.track.settle(desk.now) == n - 1
    said = desk.say()
    assert said.newcomers is said.settled is not said.full
    assert desk.track.settle(desk.now) == 6


def test_newcomers_wait_for_the_latest_of_them() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(3) == "FFD"
    places = []
    crowd = ""
    for n in range(6):
        if n in (0, 1, 3):
            places.append(desk.track.join())
        crowd += letter(desk.say().newcomers)
    assert places == [3, 4, 6]
    assert crowd == "FFFFFD"


def test_settling_never_gives_anybody_a_delta_too_early() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    assert desk.letters(3, symbol="A") + desk.letters(3, symbol="B") == "FFDFFD"
    place = desk.track.join()
    assert place == 6
    desk.say(symbol="A")
    desk.say(symbol="A")
    assert desk.track.settle(desk.now) < place
    desk.say(symbol="B")
    assert desk.track.settle(desk.now) < place
    desk.say(symbol="B")
    assert desk.track.settle(desk.now) >= place


def test_a_newcomer_gets_deltas_of_keys_it_knows_while_it_waits_for_others() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    desk.letters(3, symbol="rare")
    desk.letters(3, symbol="A")
    desk.track.join()
    assert [letter(desk.say(symbol="A").newcomers) for _ in range(4)] == ["F", "F", "D", "D"]
    assert letter(desk.say(symbol="rare").newcomers) == "F"


def test_a_key_that_is_too_old_keeps_nobody_waiting() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    desk.letters(3, symbol="rare")
    place = desk.track.join()
    desk.letters(3, symbol="A")
    assert desk.track.settle(desk.now) < place
    desk.now += 300
    desk.letters(1, symbol="A")
    assert desk.track.settle(desk.now) < place
    desk.now += 1
    desk.letters(2, symbol="A")
    assert desk.track.settle(desk.now) >= place
    assert desk.letters(3, symbol="rare") == "FDD"


def test_newcomers_are_not_looked_for_at_every_frame_when_there_are_many_keys() -> None:
    desk = Desk(settings=KEYED)
    for key in range(10):
        desk.letters(2, symbol=f"key-{key}")
    assert desk.track.settle(desk.now) == 0
    for _ in range(9):
        desk.say(symbol="key-0")
        assert desk.track.settle(desk.now) == -1
    desk.say(symbol="key-0")
    assert desk.track.settle(desk.now) == 2


def test_everybody_is_settled_when_there_is_nothing_to_know() -> None:
    desk = Desk()
    assert desk.track.settle(desk.now) == desk.track.join() == 0


def test_interleaved_events_are_never_deltas_of_each_other() -> None:
    desk = Desk()
    desk.track.join()
    assert "".join(letter(desk.say(event).settled) for event in ["a", "b"] * 5) == "F" * 10
    assert "".join(letter(desk.say(event).settled) for event in "bbaaa") == "DDFDD"


def test_a_base_that_is_too_old_is_none() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(3) == "FFD"
    desk.now += 300
    assert desk.letters(1) == "D"
    desk.now += 300.5
    assert desk.letters(2) == "FD"


def test_each_key_has_its_own_bases_and_numbers() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    texts = [desk.say(symbol=symbol).settled for symbol in ["A", "B"] * 4]
    assert "".join(map(letter, texts)) == "FFFFDDDD"
    assert [number(text) - FIRST for text in texts] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert texts[0].endswith(b',"__delta_seq":65536,"__conflation_key":"A"}')
    assert json.loads(texts[5])["data"]["conflation_key"] == "B"
    assert json.loads(texts[5])["data"]["base_index"] == FIRST + 1


def test_a_message_without_a_key_is_plain_on_a_keyed_channel_and_leaves_the_others_alone() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    assert desk.letters(1) == "P"
    assert desk.letters(3, symbol="A") == "FFD"
    assert desk.letters(1) + desk.letters(1, symbol="") + desk.letters(1, symbol="x" * 300) == "PPP"
    said = desk.say(symbol="A")
    assert (letter(said.settled), number(said.settled)) == ("D", FIRST + 3)


def test_the_first_key_ends_the_unkeyed_group() -> None:
    desk = Desk(replace(OPTIONS, conflation_key_path="symbol"))
    desk.track.join()
    assert desk.letters(3) == "FFD"
    said = desk.say(symbol="A")
    assert (letter(said.settled), number(said.settled)) == ("F", FIRST)
    assert desk.letters(2) == "PP"
    assert desk.letters(2, symbol="A") == "FD"
    assert desk.letters(1) == "P"


def test_one_track_of_a_channel_makes_all_of_them_keyed() -> None:
    desk = Desk(replace(OPTIONS, conflation_key_path="symbol"))
    other = DeltaTrack(desk.channel, Algorithm.FOSSIL)
    desk.track.join()
    other.join()
    assert desk.letters(3) == "FFD"
    desk.say(symbol="A")
    assert letter(other.say(*desk.message(), desk.now).settled) == "P"
    said = other.say(*desk.message(symbol="A"), desk.now)
    assert (letter(said.settled), number(said.settled)) == ("F", FIRST + 1)


def test_the_least_recently_used_key_is_evicted_and_no_number_is_used_again() -> None:
    desk = Desk(settings=ChannelDelta(conflation_key="symbol", max_conflation_keys=2))
    desk.track.join()
    assert desk.letters(4, symbol="A") + desk.letters(3, symbol="B") == "FFDDFFD"
    assert desk.letters(1, symbol="A") == "D"
    assert desk.letters(1, symbol="C") == "F"
    assert desk.letters(1, symbol="A") == "D"
    said = desk.say(symbol="B")
    assert (letter(said.settled), number(said.settled)) == ("F", FIRST + 4)
    assert desk.letters(2, symbol="B") == "FD"
    desk.say(symbol="C")
    said = desk.say(symbol="A")
    assert (letter(said.settled), number(said.settled)) == ("F", FIRST + 7)


def test_the_101st_key_evicts_by_default_and_none_when_unlimited() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    for key in range(101):
        desk.letters(2, symbol=f"key-{key}")
    assert desk.letters(1, symbol="key-1") == "D"
    assert desk.letters(1, symbol="key-0") == "F"
    unlimited = Desk(replace(OPTIONS, max_conflation_states_per_channel=None, conflation_key_path="symbol"))
    unlimited.track.join()
    for key in range(300):
        unlimited.letters(2, symbol=f"key-{key}")
    assert unlimited.letters(1, symbol="key-0") == "D"


def test_plain_frames_leave_the_chain_alone() -> None:
    desk = Desk(replace(OPTIONS, min_message_size=100))
    desk.track.join()
    assert desk.letters(3) == "FFD"
    frame, text = desk.message()
    said = desk.track.say(frame, text, desk.now, compress=False)
    assert said.settled is said.newcomers is said.full is text
    tiny = Frame("quote", "fx:desk", "1")
    assert desk.track.say(tiny, json_text(tiny), desk.now).settled == json_text(tiny)
    assert letter(desk.say("client-typing").settled) == "P"
    assert letter(desk.say("sockudo:message.update").settled) == "P"
    said = desk.say()
    assert (letter(said.settled), number(said.settled)) == ("D", 3)


def test_frames_over_a_mebibyte_are_plain() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(2) == "FF"
    assert desk.letters(1, pad="x" * 1024 * 1024) == "P"
    assert desk.letters(1) == "D"
    assert desk.letters(2, pad="x" * 1_000_000) == "FD"


def test_a_plain_frame_that_a_client_would_take_for_a_base_ends_the_chain() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(3) == "FFD"
    assert letter(desk.say(compress=False, __delta_seq=5).settled) == "F"
    said = desk.say()
    assert (letter(said.settled), number(said.settled)) == ("F", 3)
    assert desk.letters(2) == "FD"


def test_what_cannot_be_compressed_is_full_and_no_longer_than_plain_plus_metadata() -> None:
    desk = Desk()
    desk.track.join()
    generator = random.Random(3)
    for n in range(20):
        frame, text = desk.message(pad=generator.randbytes(400).hex())
        said = desk.track.say(frame, text, desk.now)
        assert said.settled == text[:-1] + b',"__delta_seq":%d}' % n
        assert said.settled is said.newcomers is said.full
    assert desk.letters(13) == "F" + "D" * 10 + "FD"


def test_a_full_frame_in_between_starts_the_count_of_deltas_again() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(6) == "FFDDDD"
    assert desk.letters(1, pad=random.Random(4).randbytes(400).hex()) == "F"
    assert desk.letters(1) == "F"
    assert desk.letters(11) == "D" * 10 + "F"


def test_a_connection_alone_that_lost_its_bases_starts_again_under_higher_numbers() -> None:
    desk = Desk()
    desk.track.join()
    assert desk.letters(5) == "FFDDD"
    assert desk.track.rejoin() == 5
    texts = [desk.say().newcomers for _ in range(14)]
    assert "".join(map(letter, texts)) == "FF" + "D" * 10 + "FD"
    assert [number(text) for text in texts] == list(range(5, 19))


def test_a_connection_among_others_that_lost_its_bases_is_a_newcomer() -> None:
    desk = Desk()
    desk.track.join()
    desk.track.join()
    assert desk.letters(5) == "FFDDD"
    assert desk.track.rejoin() == 5
    assert desk.track.members == 2
    said = [desk.say() for _ in range(3)]
    assert [(letter(each.settled), letter(each.newcomers)) for each in said] == [("D", "F"), ("D", "F"), ("D", "D")]


def test_when_all_have_left_nothing_is_kept_but_the_numbers() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    desk.letters(40, symbol="A")
    desk.letters(3, symbol="B")
    assert desk.node.base_bytes > 0
    assert desk.track.leave() == FIRST + 40
    assert desk.node.base_bytes == 0
    again = DeltaChannel(desk.node, "app", "fx:desk", KEYED)
    track = DeltaTrack(again, Algorithm.FOSSIL)
    track.join()
    assert number(track.say(*desk.message(symbol="A"), desk.now).settled) == FIRST + 40


def test_a_change_to_another_track_never_brings_a_number_again() -> None:
    desk = Desk()
    other = DeltaTrack(desk.channel, Algorithm.FOSSIL)
    desk.track.join()
    desk.track.join()
    desk.letters(20)
    other.join(desk.track.leave())
    texts = [other.say(*desk.message(), desk.now).newcomers for _ in range(4)]
    assert "".join(map(letter, texts)) == "FFDD"
    assert [number(text) for text in texts] == [20, 21, 22, 23]
    assert number(desk.say().settled) == 20


def test_numbers_of_keys_rise_for_everybody_who_joins() -> None:
    time = 0.0
    shared = DeltaNode(OPTIONS, lambda: time)
    desk = Desk()
    channel = DeltaChannel(shared, "app", "fx:desk", KEYED)
    track = DeltaTrack(channel, Algorithm.FOSSIL)
    track.join()

    def say() -> bytes:
        return track.say(*desk.message(symbol="A"), desk.now).settled

    assert [number(say()) - FIRST for _ in range(3)] == [0, 1, 2]
    time = 10.0
    assert number(say()) - FIRST == 3
    track.join()
    text = say()
    assert number(text) - FIRST == 1280
    assert json.loads(text)["data"]["base_index"] - FIRST == 3
    assert number(say()) - FIRST == 1281


def test_groups_that_are_idle_for_long_are_swept_away() -> None:
    desk = Desk(settings=KEYED)
    desk.track.join()
    desk.letters(3, symbol="A")
    desk.now += 300
    desk.letters(3, symbol="B")
    held = desk.node.base_bytes
    desk.now += 299
    desk.track.sweep(desk.now)
    assert desk.node.base_bytes == held
    desk.now += 1
    desk.track.sweep(desk.now)
    assert 0 < desk.node.base_bytes < held
    assert desk.letters(1, symbol="B") == "D"
    said = desk.say(symbol="A")
    assert (letter(said.settled), number(said.settled)) == ("F", FIRST + 3)


def test_a_base_that_the_node_had_to_drop_means_one_full_frame() -> None:
    desk = Desk(settings=KEYED, max_base_bytes=600)
    desk.track.join()
    assert desk.letters(3, symbol="A") == "FFD"
    assert desk.letters(3, symbol="B") + desk.letters(3, symbol="C") == "FFDFFD"
    said = desk.say(symbol="A")
    assert (letter(said.settled), number(said.settled)) == ("F", FIRST + 3)
    assert desk.letters(2, symbol="A") == "DD"


def test_with_one_base_a_delta_follows_only_the_very_last_frame() -> None:
    desk = Desk(settings=KEYED, algorithm=Algorithm.XDELTA3, one_base=True)
    desk.track.join()
    assert "".join(letter(desk.say(symbol=symbol).settled) for symbol in "AABBABAABBB") == "FFFFFFFDFDD"
    assert desk.letters(1) == "P"
    assert desk.letters(1, symbol="B") == "D"


def test_numbers_end_before_clients_misread_them() -> None:
    desk = Desk()
    desk.track.join(LAST_NUMBER - 3)
    assert desk.letters(6) == "FFDDPP"


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every encoding that really takes place."""
    calls: list[tuple[bytes, bytes]] = []

    def counted(algorithm: Algorithm, base: bytes, target: bytes) -> bytes:
        calls.append((base, target))
        return encode(algorithm, base, target)

    monkeypatch.setattr(node, "encode", counted)
    return calls


def test_a_thousand_connections_with_one_base_cost_one_encoding(encodings: list[object]) -> None:
    desk = Desk()
    for _ in range(1000):
        desk.track.join()
    assert desk.letters(12) == "FF" + "D" * 10
    assert len(encodings) == 10


def test_tracks_with_other_filters_share_the_encoding(encodings: list[object]) -> None:
    desk = Desk()
    tracks = [DeltaTrack(desk.channel, Algorithm.FOSSIL) for _ in range(5)]
    for place, track in enumerate(tracks):
        track.join(place * 10)
    for _ in range(12):
        frame, text = desk.message()
        said = [track.say(frame, text, desk.now).settled for track in tracks]
    assert len(encodings) == 10
    assert [number(text) for text in said] == [11, 21, 31, 41, 51]


def test_a_frame_that_only_one_track_hears_parts_their_bases(encodings: list[object]) -> None:
    desk = Desk()
    first, second = desk.track, DeltaTrack(desk.channel, Algorithm.FOSSIL)
    first.join()
    second.join()
    for n in range(8):
        frame, text = desk.message()
        tracks = (first,) if n == 4 else (first, second)
        for track in tracks:
            track.say(frame, text, desk.now)
    assert len(encodings) == 7


def document(bid: float, rows: int = 44) -> str:
    quotes: list[dict[str, Any]] = [
        {"id": row, "symbol": f"SYM{row:04}", "bid": 1.5 + row / 64, "ask": 1.75 + row / 64, "venue": "ldn"}
        for row in range(rows)
    ]
    quotes[rows // 3]["bid"] = bid
    return json.dumps({"quotes": quotes, "total": rows})


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_one_changed_field_of_a_4_kb_document_saves_90_percent_of_the_frame(algorithm: Algorithm) -> None:
    desk = Desk(algorithm=algorithm)
    desk.track.join()
    generator = random.Random(5)
    stream = str(uuid.UUID(int=generator.getrandbits(128)))
    for n in range(3):
        frame = Frame(
            "quote",
            "fx:desk",
            document(1.0812 + n / 10_000),
            message_id=str(uuid.UUID(int=generator.getrandbits(128))),
            stream_id=stream,
            serial=1041 + n,
        )
        text = json_text(frame)
        said = desk.track.say(frame, text, desk.now)
    assert 4_000 < len(text) < 4_800
    assert letter(said.settled) == "D"
    assert len(said.settled) < len(text) / 10
