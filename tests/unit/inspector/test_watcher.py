"""What a watcher gathers, and what it leaves out; see `test_told` for where entries come from."""

from __future__ import annotations

from sockudo.inspector import Entry, Inspector, Selection


def refused(at: int, **fields: str) -> Entry:
    return Entry(at, "frame_refused", "app", error="client_event", **fields)


def said(at: int) -> Entry:
    return Entry(at, "message", "app", "news", event="tide")


def test_nobody_watches_until_somebody_does() -> None:
    inspector = Inspector(lambda: 12.5)
    assert not inspector.watching
    first = inspector.watch(Selection(), lambda: None)
    second = inspector.watch(Selection(), lambda: None)
    assert (inspector.watching, len(inspector)) == (True, 2)
    first.close()
    first.close()
    assert (inspector.watching, len(inspector)) == (True, 1)
    with second:
        assert inspector.watching
    assert (inspector.watching, len(inspector)) == (False, 0)


def test_a_closed_watcher_gathers_nothing_more() -> None:
    inspector = Inspector(lambda: 0)
    with inspector.watch(Selection(), lambda: None) as watcher:
        inspector.note(refused(1))
    inspector.note(refused(2))
    assert watcher.take(10) == ([refused(1)], 0)


def test_it_is_woken_once_until_all_is_taken() -> None:
    woken: list[int] = []
    inspector = Inspector(lambda: 0)
    watcher = inspector.watch(Selection(), lambda: woken.append(1))
    for at in range(3):
        inspector.note(refused(at))
    assert woken == [1]
    assert watcher.take(2) == ([refused(0), refused(1)], 0)
    inspector.note(refused(3))
    assert woken == [1]
    assert watcher.take(9) == ([refused(2), refused(3)], 0)
    inspector.note(refused(4))
    assert woken == [1, 1]


def test_what_does_not_fit_is_counted_behind_what_came_before() -> None:
    inspector = Inspector(lambda: 0)
    watcher = inspector.watch(Selection(), lambda: None, capacity=3)
    for at in range(10):
        inspector.note(said(at))
    assert watcher.take(2) == ([said(0), said(1)], 0)
    # There is room again, and the gap comes between what was there and what follows.
    assert watcher.take(2) == ([said(2)], 7)
    inspector.note(said(11))
    assert watcher.take(2) == ([said(11)], 0)


def test_a_selection_takes_what_fits_each_of_its_parts() -> None:
    entry = refused(1, channel="news", socket_id="1.2", user_id="ana")
    fitting = (
        Selection(),
        Selection("app"),
        Selection("app", "news", "ana", "1.2", frozenset({"frame_refused"})),
        Selection(user_id="ana"),
    )
    others = (
        Selection("other"),
        Selection("app", "news2"),
        Selection("app", user_id="bob"),
        Selection("app", socket_id="1.3"),
        Selection(kinds=frozenset({"closed"})),
    )
    assert all(selection.accepts(entry) for selection in fitting)
    assert not any(selection.accepts(entry) for selection in others)
