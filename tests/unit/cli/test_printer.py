"""What `sockudo listen` prints."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sockudo.cli.printer import Printer
from sockudo.client.events import Event

PEOPLE = Printer(as_json=False, everything=False)
FULL = Event("tide", "harbor", {"n": 1}, None, "", None, {"venue": "ldn"}, "m-1", "s-1", 7, {"headers": {"a": 1}})


def _event(event: str, channel: str | None = "harbor", data: Any = None, user_id: str | None = None) -> Event:
    return Event(event, channel, data, user_id, "")


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (_event("tide"), True),
        (_event("sockudo:message.update"), True),
        (_event("pusher_internal:member_added"), True),
        (_event("sockudo_internal:presence_update"), True),
        (_event("sockudo_internal:subscription_count", "[meta]harbor"), True),
        (_event("sockudo_internal:subscription_succeeded", "[meta]harbor"), False),
        (_event("pusher_internal:subscription_succeeded"), False),
        (_event("sockudo:resume_success", None), False),
        (_event("pusher:ping", None), False),
    ],
)
def test_what_is_for_the_reader(event: Event, wanted: bool) -> None:
    assert PEOPLE.wants(event) is wanted
    assert Printer(as_json=True, everything=True).wants(event)


def test_people_get_columns_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    PEOPLE.write(_event("tide", "harbor", "a\x1b[2Jb\nc", "crew-8"))
    line = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    time, channel, event, data = line.rstrip("\n").split("  ")
    assert len(time) == len("12:00:00.000")
    assert (channel, event, data) == ("harbor", "tide (crew-8)", "a\\x1b[2Jb\\nc")


def test_what_only_v2_has_comes_last(capsys: pytest.CaptureFixture[str]) -> None:
    PEOPLE.write(FULL)
    line = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).rstrip("\n")
    assert line.split("  ")[1:] == ["harbor", "tide", '{"n": 1}', "venue=ldn #7 m-1"]


def test_programs_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(as_json=True, everything=False).write(FULL)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found.pop("time"), float)
    assert found == {
        "event": "tide",
        "channel": "harbor",
        "data": {"n": 1},
        "tags": {"venue": "ldn"},
        "message_id": "m-1",
        "stream_id": "s-1",
        "serial": 7,
        "extras": {"headers": {"a": 1}},
    }
