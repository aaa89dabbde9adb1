"""The replay buffer: what it says about a position, and when it forgets."""

from __future__ import annotations

import random

from sockudo.base.stream_records import Position
from sockudo.hub.streams.replay import ReplayBuffers
from sockudo.protocol.frames import Frame


def numbered(buffers: ReplayBuffers, name: str, now: float = 0.0, channel: str = "news", size: int = 100) -> Frame:
    frame = Frame(name, channel, "{}")
    buffers.number(frame, size, now)
    return frame


def names(frames: tuple[Frame, ...]) -> list[str]:
    return [frame.event for frame in frames]


class TestNumbering:
    def test_serials_start_at_one_and_have_no_gaps(self) -> None:
        buffers = ReplayBuffers()
        frames = [numbered(buffers, str(number)) for number in range(5)]
        assert [frame.serial for frame in frames] == [1, 2, 3, 4, 5]
        assert len({frame.stream_id for frame in frames}) == 1

    def test_each_channel_has_a_stream_of_its_own(self) -> None:
        buffers = ReplayBuffers()
        one, other = numbered(buffers, "a"), numbered(buffers, "b", channel="sport")
        assert one.serial == other.serial == 1
        assert one.stream_id != other.stream_id

    def test_a_channel_that_nothing_was_said_on_is_at_zero(self) -> None:
        buffers = ReplayBuffers()
        before = buffers.position("news")
        assert before.serial == 0
        assert numbered(buffers, "a").stream_id == before.stream_id

    def test_asking_where_a_channel_is_keeps_nothing(self) -> None:
        buffers = ReplayBuffers()
        places = [buffers.position(f"c{number}") for number in range(100)]
        assert len(buffers) == 0
        assert places == [buffers.position(f"c{number}") for number in range(100)]
        assert len({place.stream_id for place in places}) == 100

    def test_another_app_or_process_numbers_other_streams(self) -> None:
        assert ReplayBuffers().position("news") != ReplayBuffers().position("news")


class TestLookup:
    def test_no_buffer(self) -> None:
        assert ReplayBuffers().lookup("news", "s", 3, 0.0) == ("expired", None, ())

    def test_what_came_after(self) -> None:
        buffers = ReplayBuffers()
        (stream,) = {numbered(buffers, name).stream_id for name in "abcd"}
        found = buffers.lookup("news", stream, 2, 0.0)
        assert (found.outcome, names(found.frames), found.head) == ("recovered", ["c", "d"], Position(stream or "", 4))

    def test_nothing_came_after(self) -> None:
        buffers = ReplayBuffers()
        stream = numbered(buffers, "a").stream_id
        assert buffers.lookup("news", stream, 1, 0.0)[0::2] == ("recovered", ())

    def test_another_stream(self) -> None:
        buffers = ReplayBuffers()
        numbered(buffers, "a")
        assert buffers.lookup("news", "another", 1, 0.0).outcome == "reset"

    def test_a_position_without_a_stream_is_taken_as_one_of_this_stream(self) -> None:
        buffers = ReplayBuffers()
        numbered(buffers, "a")
        assert names(buffers.lookup("news", None, 0, 0.0).frames) == ["a"]

    def test_a_position_ahead(self) -> None:
        buffers = ReplayBuffers()
        stream = numbered(buffers, "a").stream_id
        assert buffers.lookup("news", stream, 2, 0.0).outcome == "ahead"

    def test_too_long_ago(self) -> None:
        buffers = ReplayBuffers()
        (stream,) = {numbered(buffers, name, size=2).stream_id for name in "abcd"}
        assert buffers.lookup("news", stream, 1, 0.0).outcome == "expired"
        assert names(buffers.lookup("news", stream, 2, 0.0).frames) == ["c", "d"]

    def test_a_hole(self) -> None:
        buffers = ReplayBuffers()
        for serial in (1, 2, 4):
            buffers.store(Frame("e", "news", "{}", stream_id="s", serial=serial), 100, 0.0)
        assert buffers.lookup("news", "s", 1, 0.0).outcome == "gap"

    def test_messages_end_after_their_time(self) -> None:
        buffers = ReplayBuffers(ttl=10)
        stream = numbered(buffers, "a", now=0.0).stream_id
        numbered(buffers, "b", now=8.0)
        assert names(buffers.lookup("news", stream, 1, 15.0).frames) == ["b"]
        assert buffers.lookup("news", stream, 0, 15.0).outcome == "expired"
        assert buffers.lookup("news", stream, 2, 30.0)[0::2] == ("recovered", ())


class TestBeforeTheFirstMessage:
    def test_who_came_before_it_is_told_it(self) -> None:
        buffers = ReplayBuffers()
        place = buffers.position("news")
        assert buffers.lookup("news", *place, 0.0) == ("recovered", place, ())
        numbered(buffers, "a")
        assert names(buffers.lookup("news", *place, 0.0).frames) == ["a"]

    def test_a_place_in_a_stream_that_was_never_begun_is_unknown(self) -> None:
        buffers = ReplayBuffers()
        stream, _ = buffers.position("news")
        assert buffers.lookup("news", stream, 1, 0.0).outcome == "ahead"
        assert buffers.lookup("news", "another", 0, 0.0).outcome == "expired"
        assert buffers.lookup("news", None, 0, 0.0).outcome == "expired"

    def test_a_stream_that_ended_is_not_begun_again(self) -> None:
        buffers = ReplayBuffers(ttl=8)
        streams = []
        for now in (0.0, 20.0, 40.0):
            streams.append(numbered(buffers, "a", now=now).stream_id)
            for later in (9.0, 18.0):
                buffers.sweep(now + later, ())
            assert buffers.get("news") is None
            assert buffers.lookup("news", streams[-1], 0, now + 18.0).outcome == "expired"
        assert len(set(streams)) == 3
        numbered(buffers, "b", now=60.0)
        assert {buffers.lookup("news", stream, 1, 60.0).outcome for stream in streams} == {"reset"}

    def test_what_ended_is_told_apart_also_when_it_is_not_counted_any_more(self) -> None:
        buffers = ReplayBuffers()
        first = numbered(buffers, "a").stream_id
        buffers.drop("news")
        place = buffers.position("quiet")
        for number in range(10_001):
            numbered(buffers, "a", channel=f"c{number}")
            buffers.drop(f"c{number}")
        assert numbered(buffers, "b").stream_id != first
        assert buffers.lookup("quiet", *place, 0.0).outcome == "expired"


class TestDurableStreams:
    def test_a_stream_that_was_not_written_to_has_no_buffer(self) -> None:
        buffers = ReplayBuffers()
        buffers.align("news", Position("s", 0), 0.0)
        assert buffers.get("news") is None

    def test_another_stream_replaces_everything(self) -> None:
        buffers = ReplayBuffers()
        buffers.store(Frame("a", "news", stream_id="old", serial=7), 100, 0.0)
        buffers.store(Frame("b", "news", stream_id="new", serial=1), 100, 0.0)
        assert buffers.lookup("news", "old", 7, 0.0).outcome == "reset"
        assert names(buffers.lookup("news", "new", 0, 0.0).frames) == ["b"]

    def test_align_makes_a_buffer_at_the_head_of_the_store(self) -> None:
        buffers = ReplayBuffers()
        buffers.align("news", Position("s", 41), 0.0)
        assert buffers.lookup("news", "s", 41, 0.0)[0::2] == ("recovered", ())
        assert buffers.lookup("news", "s", 40, 0.0).outcome == "expired"

    def test_align_leaves_a_buffer_that_is_there_already(self) -> None:
        buffers = ReplayBuffers()
        buffers.store(Frame("a", "news", stream_id="s", serial=1), 100, 0.0)
        buffers.align("news", Position("s", 1), 0.0)
        assert names(buffers.lookup("news", "s", 0, 0.0).frames) == ["a"]

    def test_align_drops_what_the_store_has_left_behind(self) -> None:
        buffers = ReplayBuffers()
        buffers.store(Frame("a", "news", stream_id="s", serial=1), 100, 0.0)
        buffers.align("news", Position("s", 5), 0.0)
        assert buffers.lookup("news", "s", 1, 0.0).outcome == "expired"
        buffers.align("news", Position("t", 0), 0.0)
        assert buffers.lookup("news", "s", 5, 0.0).outcome == "reset"


class TestSweep:
    def test_an_unused_buffer_goes_after_its_time(self) -> None:
        buffers = ReplayBuffers(ttl=8)
        numbered(buffers, "a", now=0.0)
        buffers.sweep(9.0, ())
        assert buffers.get("news") is None

    def test_one_with_subscribers_stays(self) -> None:
        buffers = ReplayBuffers(ttl=8)
        stream = numbered(buffers, "a", now=0.0).stream_id
        for now in range(0, 100, 2):
            buffers.sweep(float(now), {"news"})
        assert buffers.position("news") == Position(stream or "", 1)

    def test_each_buffer_is_looked_at_in_time_however_many_there_are(self) -> None:
        buffers = ReplayBuffers(ttl=8)
        for number in range(5000):
            numbered(buffers, "a", now=0.0, channel=f"c{number}")
        for now in range(9, 16):
            buffers.sweep(float(now), ())
        assert len(buffers) == 0


def test_random_histories_against_a_list() -> None:
    """Every lookup agrees with a plain list of what was said."""
    dice = random.Random(7)
    for _ in range(200):
        buffers, said, size, now = ReplayBuffers(ttl=20), list[Frame](), dice.randint(1, 6), 0.0
        times: list[float] = []
        stream = buffers.position("news").stream_id
        for number in range(dice.randint(1, 40)):
            now += dice.choice([0, 0, 1, 5])
            if dice.random() < 0.6:
                said.append(numbered(buffers, str(number), now=now, size=size))
                times.append(now)
            serial = dice.randint(0, len(said) + 1)
            found = buffers.lookup("news", stream, serial, now)
            kept = [f for f, at in list(zip(said, times, strict=True))[-size:] if at >= now - 20]
            wanted = said[serial:]
            if serial > len(said):
                assert found.outcome == "ahead"
            elif len(wanted) <= len(kept):
                assert found.outcome == "recovered"
                assert list(found.frames) == wanted
            else:
                assert found.outcome == "expired"


class TestAmongNodes:
    def test_a_stream_that_was_given_is_not_numbered_again_under_its_id(self) -> None:
        buffers = ReplayBuffers()
        first = numbered(buffers, "a")
        buffers.give("news")
        assert buffers.channels(held=False) == ["news"]
        assert names(buffers.lookup("news", first.stream_id, 0, 0.0).frames) == ["a"]
        buffers.begin("news", 0.0)
        second = numbered(buffers, "b")
        assert (second.serial, buffers.channels(held=True)) == (1, ["news"])
        assert second.stream_id != first.stream_id

    def test_giving_what_is_not_held_changes_nothing(self) -> None:
        buffers = ReplayBuffers()
        before = buffers.position("news")
        buffers.give("news")
        buffers.follow("news", Position("s", 3), 0.0)
        buffers.give("news")
        buffers.drop("news")
        assert before.serial == buffers.position("news").serial == 0

    def test_a_stream_that_is_taken_goes_on_with_its_messages(self) -> None:
        buffers = ReplayBuffers()
        kept = [(Frame(name, "news", stream_id="s", serial=serial), None) for serial, name in ((4, "a"), (5, "b"))]
        buffers.take("news", "s", 6, kept, 0.0)
        assert numbered(buffers, "c").serial == 6
        assert names(buffers.lookup("news", "s", 3, 0.0).frames) == ["a", "b", "c"]
        assert buffers.lookup("news", "s", 2, 0.0).outcome == "expired"

    def test_one_that_comes_without_messages_keeps_those_that_are_here(self) -> None:
        buffers = ReplayBuffers()
        buffers.store(Frame("a", "news", stream_id="s", serial=5), 100, 0.0)
        buffers.take("news", "s", 6, (), 0.0)
        assert names(buffers.lookup("news", "s", 4, 0.0).frames) == ["a"]
        buffers.give("news")
        buffers.take("news", "s", 8, (), 0.0)
        assert buffers.lookup("news", "s", 5, 0.0).outcome == "expired"
        assert buffers.position("news") == Position("s", 7)

    def test_a_followed_stream_has_a_place_before_its_first_message(self) -> None:
        buffers = ReplayBuffers()
        numbered(buffers, "a")
        buffers.follow("news", Position("s", 0), 0.0)
        assert (buffers.position("news"), buffers.channels(held=True)) == (Position("s", 0), [])
        assert buffers.lookup("news", "s", 0, 0.0).outcome == "recovered"
