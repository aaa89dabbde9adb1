"""What becomes an event and when: pairs that undo themselves, every kind, and the end of the process."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo.config.webhooks import EVENT_TYPES, PUSH_EVENTS
from sockudo.testing import FakeClock
from sockudo.webhooks.endpoints import AppEndpoints
from sockudo.webhooks.recorder import GRACE, Recorder
from sockudo.webhooks.records import Event
from unit.webhooks.parts import endpoints_of


class Recording:
    """A recorder with a clock that stands still; ``said`` is what endpoints would hear."""

    def __init__(self, *event_types: str) -> None:
        self.clock = FakeClock(time=1_000_000.0)
        self.said: list[tuple[str, Event]] = []
        wanted = sorted(event_types or EVENT_TYPES)
        self.endpoints: AppEndpoints | None = endpoints_of({"event_types": wanted})
        self.recorder = Recorder(
            lambda app_id: self.endpoints if app_id in ("app", "other") else None,
            lambda app_id, event: self.said.append((app_id, event)),
            self.clock.monotonic,
            self.clock.time,
        )

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.recorder.tick()

    @property
    def names(self) -> list[str]:
        return [event.name for _, event in self.said]

    def bodies(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(event.body) for _, event in self.said]


def test_what_begins_is_told_at_once() -> None:
    recording = Recording()
    recording.recorder.occupied("app", "room")
    recording.recorder.member_added("app", "presence-room", "ana")
    recording.recorder.online("app", "ana")
    assert recording.bodies() == [
        {"name": "channel_occupied", "channel": "room"},
        {"name": "member_added", "channel": "presence-room", "user_id": "ana"},
        {"name": "user_online", "channel": "#server-to-user-ana", "user_id": "ana"},
    ]
    assert {event.time_ms for _, event in recording.said} == {1_000_000_000}


def test_what_ends_is_told_when_its_grace_is_over() -> None:
    recording = Recording()
    recording.recorder.vacated("app", "room")
    recording.recorder.member_removed("app", "presence-room", "ana")
    recording.recorder.offline("app", "ana")
    recording.later(GRACE - 0.01)
    assert recording.said == []
    recording.later(0.01)
    assert recording.bodies() == [
        {"name": "channel_vacated", "channel": "room"},
        {"name": "member_removed", "channel": "presence-room", "user_id": "ana"},
        {"name": "user_offline", "channel": "#server-to-user-ana", "user_id": "ana"},
    ]
    assert recording.said[0][1].time_ms == 1_000_000_000 + int(GRACE * 1000)
    recording.later(100)
    assert len(recording.said) == 3


def test_a_page_that_is_loaded_again_is_never_told_of() -> None:
    recording = Recording()
    for leave, come in (
        (recording.recorder.vacated, recording.recorder.occupied),
        (recording.recorder.offline, recording.recorder.online),
    ):
        leave("app", "x")
        recording.clock.advance(GRACE - 0.01)
        come("app", "x")
    recording.recorder.member_removed("app", "presence-room", "ana")
    recording.later(GRACE - 0.01)
    recording.recorder.member_added("app", "presence-room", "ana")
    recording.later(100)
    assert recording.said == []
    assert recording.recorder.next_due is None


def test_after_a_pair_that_undid_itself_everything_is_told_again() -> None:
    recording = Recording()
    recording.recorder.occupied("app", "room")
    for _ in range(3):
        recording.recorder.vacated("app", "room")
        recording.later(1)
        recording.recorder.occupied("app", "room")
    recording.recorder.vacated("app", "room")
    recording.later(GRACE)
    recording.recorder.occupied("app", "room")
    assert recording.names == ["channel_occupied", "channel_vacated", "channel_occupied"]


def test_the_grace_counts_from_the_last_departure() -> None:
    recording = Recording()
    recording.recorder.vacated("app", "room")
    recording.later(2)
    recording.recorder.occupied("app", "room")
    recording.recorder.vacated("app", "room")
    recording.later(2)
    assert recording.said == []
    recording.later(1)
    assert recording.names == ["channel_vacated"]


def test_a_return_takes_back_whatever_was_not_told_yet() -> None:
    """Whoever calls `tick` may be late."""
    recording = Recording()
    recording.recorder.vacated("app", "room")
    recording.clock.advance(GRACE + 1)
    recording.recorder.occupied("app", "room")
    recording.recorder.tick()
    assert recording.names == []


def test_many_that_are_due_together_are_told_a_few_at_a_time() -> None:
    recording = Recording()
    for number in range(5):
        recording.recorder.member_removed("app", "presence-room", str(number))
    assert recording.recorder.tick(2) is False
    recording.clock.advance(GRACE)
    assert [recording.recorder.tick(2) for _ in range(4)] == [True, True, False, False]
    assert [body["user_id"] for body in recording.bodies()] == ["0", "1", "2", "3", "4"]


def test_a_return_only_takes_back_its_own_departure() -> None:
    recording = Recording()
    recording.recorder.vacated("app", "room")
    recording.recorder.occupied("app", "hall")
    recording.recorder.occupied("other", "room")
    recording.recorder.member_removed("app", "presence-room", "ana")
    recording.recorder.member_added("app", "presence-room", "ben")
    recording.recorder.member_added("app", "presence-hall", "ana")
    recording.recorder.online("app", "ana")
    recording.later(GRACE)
    assert recording.names[-2:] == ["channel_vacated", "member_removed"]
    assert len(recording.said) == 7


def test_departures_are_told_in_their_order() -> None:
    recording = Recording()
    for number in range(5):
        recording.recorder.vacated("app", f"room-{number}")
        recording.clock.advance(0.5)
    recording.recorder.occupied("app", "room-2")
    recording.later(GRACE)
    assert [event.channel for _, event in recording.said] == ["room-0", "room-1", "room-3", "room-4"]


def test_the_end_of_the_process_is_the_end_of_every_grace() -> None:
    recording = Recording()
    recording.recorder.vacated("app", "room")
    recording.recorder.offline("other", "ana")
    recording.recorder.flush()
    assert [(app_id, event.name) for app_id, event in recording.said] == [
        ("app", "channel_vacated"),
        ("other", "user_offline"),
    ]
    recording.later(100)
    assert len(recording.said) == 2


def test_when_there_is_something_to_do() -> None:
    recording = Recording()
    assert recording.recorder.next_due is None
    recording.recorder.vacated("app", "room")
    recording.clock.advance(1)
    recording.recorder.vacated("app", "hall")
    assert recording.recorder.next_due == GRACE
    recording.recorder.occupied("app", "room")
    assert recording.recorder.next_due == GRACE + 1


def test_other_events_are_told_at_once_and_each_time() -> None:
    recording = Recording()
    recording.recorder.counted("app", "room", 2)
    recording.recorder.counted("app", "room", 2)
    recording.recorder.missed("app", "cache-room")
    recording.recorder.member_updated("app", "presence-room", "ana", b'{"status":"away"}')
    recording.recorder.client_event("app", "private-room", "client-typing", b'{"on":true}', "1.2", None)
    recording.recorder.client_event("app", "presence-room", "client-typing", b'"plain"', "1.2", "ana")
    assert recording.bodies() == [
        {"name": "subscription_count", "channel": "room", "subscription_count": 2},
        {"name": "subscription_count", "channel": "room", "subscription_count": 2},
        {"name": "cache_miss", "channel": "cache-room", "data": "{}"},
        {"name": "member_updated", "channel": "presence-room", "user_id": "ana", "user_info": {"status": "away"}},
        {
            "name": "client_event",
            "channel": "private-room",
            "event": "client-typing",
            "data": '{"on":true}',
            "socket_id": "1.2",
        },
        {
            "name": "client_event",
            "channel": "presence-room",
            "event": "client-typing",
            "data": "plain",
            "socket_id": "1.2",
            "user_id": "ana",
        },
    ]


def test_nothing_is_told_that_nobody_wants() -> None:
    for wanted in sorted(EVENT_TYPES - PUSH_EVENTS):
        recording = Recording(wanted)
        recorder = recording.recorder
        recorder.occupied("app", "room")
        recorder.vacated("app", "room")
        recorder.member_added("app", "presence-room", "ana")
        recorder.member_removed("app", "presence-room", "ana")
        recorder.member_updated("app", "presence-room", "ana", None)
        recorder.online("app", "ana")
        recorder.offline("app", "ana")
        recorder.counted("app", "room", 1)
        recorder.missed("app", "cache-room")
        recorder.client_event("app", "private-room", "client-x", b"{}", "1.2", None)
        recording.later(GRACE)
        assert recording.names == [wanted]


def test_whoever_only_wants_departures_is_not_told_of_a_reload() -> None:
    recording = Recording("channel_vacated")
    recording.recorder.occupied("app", "room")
    recording.recorder.vacated("app", "room")
    recording.recorder.occupied("app", "room")
    recording.later(GRACE)
    assert recording.said == []


def test_whoever_only_wants_arrivals_is_not_told_of_a_reload() -> None:
    recording = Recording("channel_occupied")
    recording.recorder.occupied("app", "room")
    recording.recorder.vacated("app", "room")
    recording.recorder.occupied("app", "room")
    assert recording.names == ["channel_occupied"]


def test_an_app_without_endpoints_holds_nothing() -> None:
    recording = Recording()
    for number in range(100):
        recording.recorder.vacated("nobody", f"room-{number}")
        recording.recorder.occupied("nobody", f"hall-{number}")
    assert recording.recorder.next_due is None
    recording.recorder.flush()
    assert recording.said == []


def test_endpoints_that_are_removed_hear_of_nothing_that_was_held() -> None:
    recording = Recording()
    recording.recorder.vacated("app", "room")
    recording.endpoints = None
    recording.later(GRACE)
    assert recording.said == []
    assert recording.recorder.next_due is None
