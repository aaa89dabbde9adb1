"""The table of a resume: docs/design.md draws this one, no way is endless, and what the aggregate waits for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockudo.base.stream_records import Position
from sockudo.sessions.resume_state import TRANSITIONS, Event, PendingResume, Place, RequestedPosition, State

DESIGN = Path(__file__).parents[3] / "docs" / "design.md"


def drawn() -> dict[State, dict[Event, State]]:
    """The table on the page, whose header names every event."""
    lines = DESIGN.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| | {Event.LISTENING.value} |"))
    events = [Event(cell) for cell in cells(lines[start])[1:]]
    table: dict[State, dict[Event, State]] = {State.DONE: {}}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        state, *after = cells(line)
        places = zip(events, after, strict=True)
        table[State(state.strip("*"))] = {event: State(cell) for event, cell in places if cell}
    return table


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_draws_this_table() -> None:
    assert drawn() == TRANSITIONS


@pytest.mark.parametrize("state", [state for state in State if state is not State.DONE])
def test_every_state_ends_with_another_resume(state: State) -> None:
    assert TRANSITIONS[state][Event.REPLACED] is State.DONE
    assert Event.TIMED_OUT in TRANSITIONS[state]


def test_every_state_is_reached() -> None:
    reached, found = {State.ASKED}, {State.ASKED}
    while found:
        found = {after for state in found for after in TRANSITIONS[state].values()} - reached
        reached |= found
    assert reached == set(State)


def pending(*channels: str) -> PendingResume:
    return PendingResume({name: RequestedPosition(7, "s") for name in channels}, 10)


def entry(name: str) -> dict[str, object]:
    return {"channel": name}


def test_the_aggregate_waits_for_the_last_channel_and_keeps_their_order() -> None:
    resuming = pending("a", "b", "private-c")
    resuming.advance("private-c", Event.PROTECTED)
    resuming.advance("b", Event.LISTENING)
    resuming.advance("b", Event.FAILED, entry("b"))
    resuming.advance("a", Event.LISTENING)
    resuming.advance("a", Event.RECOVERED, entry("a"))
    assert not resuming.settled
    assert resuming.advance("private-c", Event.SUBSCRIBED) is State.LOOKING
    resuming.advance("private-c", Event.RECOVERED, entry("private-c"))
    assert resuming.settled
    assert (resuming.recovered, resuming.failed) == ([entry("a"), entry("private-c")], [entry("b")])
    assert resuming.places == {}


def test_what_was_replayed_ahead_goes_on_from_there_and_is_not_counted_twice() -> None:
    resuming = pending("a")
    resuming.advance("a", Event.OPEN)
    assert resuming.advance("a", Event.RECOVERED, entry("a"), head=Position("s", 9)) is State.KEPT
    assert resuming.settled
    assert resuming.waits("a")
    assert resuming.advance("a", Event.TIMED_OUT) is State.KEPT
    resuming.advance("a", Event.SUBSCRIBED)
    assert resuming.places["a"] == Place(State.CATCHING_UP, RequestedPosition(9, "s"))
    assert not resuming.waits("a")
    resuming.advance("a", Event.FAILED, entry("a"))
    assert (resuming.recovered, resuming.failed, resuming.settled) == ([entry("a")], [], True)


def test_a_step_leaves_the_place_before_it_as_it_was() -> None:
    resuming = pending("private-a")
    before = resuming.places["private-a"]
    resuming.advance("private-a", Event.PROTECTED)
    assert (before.state, resuming.places["private-a"].state) == (State.ASKED, State.AWAITED)


def test_what_cannot_happen_is_a_defect() -> None:
    with pytest.raises(KeyError):
        pending("a").advance("a", Event.SUBSCRIBED)
    assert not pending("a").waits("b")
