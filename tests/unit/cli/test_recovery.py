"""What a listener remembers between connections."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from sockudo.cli.listen_options import Since
from sockudo.cli.recovery import Recovery
from sockudo.client.events import Event


def _ack(channel: str, serial: int | None, stream: str | None = "s-1") -> Event:
    name = "sockudo_internal:subscription_succeeded"
    return Event(name, channel, {}, None, "", None, None, None, stream, serial, None)


def _message(serial: int | None, channel: str = "harbor", stream: str = "s-1", event: str = "tide") -> Event:
    return Event(event, channel, None, None, "", None, None, f"m-{serial}", stream, serial, None)


def _resumed(recovered: list[Any] | None = None, failed: list[Any] | None = None) -> Event:
    data = {"recovered": recovered or [], "failed": failed or []}
    return Event("sockudo:resume_success", None, data, None, "")


def _recovered(channel: str = "harbor", replayed: int = 0, position: Any = None) -> dict[str, Any]:
    return {"channel": channel, "source": "hot", "replayed": replayed, "position": position}


def _failed(channel: str = "harbor", oldest: int | None = None, newest: int | None = None) -> dict[str, Any]:
    return {
        "channel": channel,
        "code": "position_expired",
        "reason": "recovery_window_exceeded",
        "oldest_available_serial": oldest,
        "newest_available_serial": newest,
    }


def _at(serial: int, stream: str = "s-1", message_id: str | None = None) -> dict[str, Any]:
    place = {"stream_id": stream, "serial": serial}
    return place if message_id is None else {**place, "last_message_id": message_id}


def _connected(recovery: Recovery, ack: Event) -> None:
    assert recovery.begin() == {}
    assert recovery.acknowledged(ack) == {}


def test_an_acknowledgement_is_a_place_to_go_on_from() -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", 4))
    assert recovery.begin() == {"harbor": _at(4)}


def test_events_move_it_on_and_are_shown_once() -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", 4))
    first, other = _message(5), _message(1, stream="s-2")
    assert recovery.take(first) == [first]
    assert recovery.take(first) == []
    # Another stream counts anew.
    assert recovery.take(other) == [other]
    assert recovery.take(_message(None)) == [_message(None)]
    assert recovery.begin() == {"harbor": _at(1, "s-2", "m-1")}


def test_a_channel_without_a_stream_is_not_resumed() -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", None, None))
    assert recovery.begin() == {}
    assert not recovery.is_awaited


def test_channels_that_a_pattern_has_brought_are_resumed_by_their_names() -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor-*", None, None))
    recovery.take(_message(3, "harbor-a"))
    assert recovery.begin() == {"harbor-a": _at(3, message_id="m-3")}


def test_only_the_latest_channels_fit_into_a_resume() -> None:
    recovery = Recovery()
    recovery.begin()
    for number in range(1200):
        recovery.take(_message(1, f"c-{number}"))
    positions = recovery.begin()
    assert len(positions) == 1000
    assert "c-1199" in positions


def test_live_events_wait_for_what_was_missed() -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", 4))
    recovery.begin()
    member = Event("sockudo_internal:member_added", "harbor", {}, None, "")
    assert recovery.take(_message(7)) == []
    assert recovery.take(member) == [member]
    assert recovery.take(_message(1, "pier")) == [_message(1, "pier")]
    for serial in (5, 6, 7):
        assert recovery.take(_message(serial)) == []
    assert recovery.resumed(_resumed([_recovered(replayed=3)])) == [_message(5), _message(6), _message(7)]
    assert not recovery.is_awaited
    assert recovery.take(_message(8)) == [_message(8)]


def test_a_position_behind_what_a_filter_held_back_is_kept() -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", 4))
    recovery.begin()
    assert recovery.resumed(_resumed([_recovered(position=_at(9, message_id="m-9"))])) == []
    assert recovery.begin() == {"harbor": _at(9, message_id="m-9")}
    recovery.resumed(_resumed([_recovered(position=_at(3))]))
    assert recovery.begin() == {"harbor": _at(9, message_id="m-9")}


def test_a_loss_is_told_and_the_new_stream_followed(capsys: pytest.CaptureFixture[str]) -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", 41))
    recovery.begin()
    recovery.acknowledged(_ack("harbor", 2, "s-2"))
    live = _message(3, stream="s-2")
    assert recovery.take(live) == []
    assert recovery.resumed(_resumed(failed=[_failed(oldest=1, newest=2)])) == [live]
    assert capsys.readouterr().err == (
        "harbor: not recovered: position_expired, recovery_window_exceeded. "
        "Events after serial 41 may be missing. Kept are serials 1 to 2.\n"
    )
    assert recovery.begin() == {"harbor": _at(3, "s-2", "m-3")}


def test_a_refused_resume_lets_everything_go(capsys: pytest.CaptureFixture[str]) -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", 4))
    recovery.begin()
    recovery.take(_message(6))
    assert recovery.refused("Connection recovery is not enabled (4301)") == [_message(6)]
    assert "harbor: not recovered: Connection recovery is not enabled (4301)." in capsys.readouterr().err
    assert not recovery.is_awaited


def test_what_waited_on_a_connection_that_ended_comes_again() -> None:
    recovery = Recovery()
    _connected(recovery, _ack("harbor", 4))
    recovery.begin()
    recovery.take(_message(6))
    assert recovery.begin() == {"harbor": _at(4)}
    assert recovery.take(_message(5)) == []
    assert recovery.resumed(_resumed([_recovered(replayed=1)])) == [_message(5)]


# ---- rewind ----


def _rewind_complete(count: int, *, retention: bool = False, limit: bool = False) -> Event:
    data = {"historical_count": count, "truncated_by_retention": retention, "truncated_by_limit": limit}
    return Event("sockudo:rewind_complete", "harbor", data, None, "")


def test_a_rewind_shows_the_past_and_is_asked_for_once() -> None:
    recovery = Recovery(rewind=2)
    assert recovery.subscription("harbor") == {"rewind": 2}
    _connected(recovery, _ack("harbor", 9))
    assert recovery.take(_message(8)) == [_message(8)]
    # The connection may break in the middle: then it goes on from there.
    assert recovery.subscription("harbor") == {}
    assert recovery.take(_message(9)) == [_message(9)]
    recovery.rewound(_rewind_complete(2))
    assert recovery.begin() == {"harbor": _at(9, message_id="m-9")}


def test_a_rewind_that_was_cut_off_before_its_first_event_begins_anew() -> None:
    recovery = Recovery(rewind=2)
    _connected(recovery, _ack("harbor", 9))
    assert recovery.begin() == {}
    assert recovery.subscription("harbor") == {"rewind": 2}


def test_a_rewind_that_found_nothing_ends_where_the_subscription_began() -> None:
    recovery = Recovery(rewind=2)
    _connected(recovery, _ack("harbor", 9))
    recovery.rewound(_rewind_complete(0))
    assert recovery.subscription("harbor") == {}
    assert recovery.begin() == {"harbor": _at(9)}


@pytest.mark.parametrize(
    ("rewind", "event", "said"),
    [
        (5, _rewind_complete(5, retention=True, limit=True), "Rewound 5 events of harbor."),
        (5, _rewind_complete(1, retention=True), "Rewound 1 event of harbor. What was before is gone."),
        ({"seconds": 5}, _rewind_complete(100, limit=True), "There are more than the server goes back."),
    ],
)
def test_what_a_rewind_could_not_reach(
    rewind: Any, event: Event, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recovery = Recovery(rewind=rewind)
    _connected(recovery, _ack("harbor", 9))
    recovery.rewound(event)
    assert capsys.readouterr().err.strip().endswith(said)


# ---- since ----


def test_since_with_a_stream_is_a_place_from_the_start() -> None:
    recovery = Recovery(channel="harbor", since=Since(6, "s-1"))
    assert recovery.begin() == {"harbor": _at(6)}
    assert recovery.acknowledged(_ack("harbor", 9)) == {}


def test_since_without_a_stream_waits_for_it() -> None:
    recovery = Recovery(channel="harbor", since=Since(6))
    assert recovery.begin() == {}
    assert recovery.is_awaited
    assert recovery.take(_message(10)) == []
    assert recovery.acknowledged(_ack("harbor", 9)) == {"harbor": _at(6)}
    assert recovery.resumed(_resumed([_recovered()])) == [_message(10)]


@pytest.mark.parametrize("stream", [None, "s-1"])
def test_since_ends_the_command_when_nothing_can_be_recovered(
    stream: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    recovery = Recovery(channel="harbor", since=Since(6, stream))
    recovery.begin()
    recovery.acknowledged(_ack("harbor", 9))
    with pytest.raises(typer.Exit) as caught:
        recovery.resumed(_resumed(failed=[_failed(oldest=8, newest=9)]))
    assert caught.value.exit_code == 1
    said = capsys.readouterr().err
    assert "position_expired, recovery_window_exceeded. Kept are serials 8 to 9." in said
    assert "sockudo history show harbor" in said


def test_since_ends_the_command_where_there_are_no_streams(capsys: pytest.CaptureFixture[str]) -> None:
    recovery = Recovery(channel="harbor", since=Since(6))
    recovery.begin()
    with pytest.raises(typer.Exit) as caught:
        recovery.acknowledged(_ack("harbor", None, None))
    assert caught.value.exit_code == 1
    assert "the server keeps no streams" in capsys.readouterr().err


def test_a_loss_after_since_has_worked_is_only_told() -> None:
    recovery = Recovery(channel="harbor", since=Since(6, "s-1"))
    recovery.begin()
    recovery.resumed(_resumed([_recovered()]))
    assert recovery.begin() == {"harbor": _at(6)}
    assert recovery.resumed(_resumed(failed=[_failed()])) == []
