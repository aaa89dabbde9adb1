"""A watcher of more than it can take: what it keeps, and what it is told of the rest."""

from __future__ import annotations

from sockudo.inspector import Entry, Inspector, Selection


def _entry(at: int) -> Entry:
    return Entry(at, "subscribed", "a", "harbor")


def test_a_gap_is_told_behind_the_entries_before_it_while_the_flood_goes_on() -> None:
    """Or whoever takes more slowly than it comes would never hear of what is missing."""
    inspector = Inspector(lambda: 0.0)
    with inspector.watch(Selection(), lambda: None, capacity=10) as watcher:
        at, shown, skipped = 0, [], 0
        for _ in range(50):
            for _ in range(7):
                at += 1
                inspector.note(_entry(at))
            entries, more = watcher.take(4)
            for entry in entries:
                assert entry.at == len(shown) + skipped + 1, "a gap that was not told"
                shown.append(entry.at)
            skipped += more
            assert len(watcher._entries) <= 10
        assert skipped > 100
        rest, more = watcher.take(1000)
        assert len(shown) + len(rest) + skipped + more == at


def test_what_is_not_taken_is_only_counted() -> None:
    inspector = Inspector(lambda: 0.0)
    with inspector.watch(Selection(), lambda: None, capacity=10) as watcher:
        for at in range(100_000):
            inspector.note(_entry(at))
        assert len(watcher._entries) == 10
        entries, skipped = watcher.take(1000)
        assert ([entry.at for entry in entries], skipped) == (list(range(10)), 99_990)
        assert watcher.take(1000) == ([], 0)
    assert not inspector.watching


def test_a_flood_does_not_hide_what_goes_wrong() -> None:
    inspector = Inspector(lambda: 0.0)
    with inspector.watch(Selection(), lambda: None, capacity=10) as watcher:
        for at in range(1000):
            inspector.note(_entry(at))
        for at in range(1000, 3000):
            inspector.note(Entry(at, "subscribe_refused", "a", error="channel_auth_invalid"))
        entries, skipped = watcher.take(10_000)
        assert [entry.at for entry in entries] == [*range(10), *range(1000, 1200)]
        assert skipped == 3000 - len(entries)
