from __future__ import annotations

from sockudo.inspector import Entry, Inspector, Kind, Problems


def problem(at: int, error: str = "over_quota", cause: str | None = None, app_id: str = "a") -> Entry:
    return Entry(at, "connect_refused", app_id, error=error, code=4004, cause=cause)


def test_the_same_problem_is_one_group_with_its_newest_examples() -> None:
    problems = Problems()
    for at in range(30):
        problems.add(problem(at))
    [group] = problems.groups()
    assert (group.count, group.first_at, group.last_at, group.code) == (30, 0, 29, 4004)
    assert [entry.at for entry in group.last] == list(range(10, 30))


def test_the_newest_group_comes_first_and_one_app_can_be_asked_for() -> None:
    problems = Problems()
    for entry in (problem(1), problem(2, "origin_not_allowed"), problem(3, app_id="b"), problem(4)):
        problems.add(entry)
    assert [(group.app_id, group.error) for group in problems.groups()] == [
        ("a", "over_quota"),
        ("b", "over_quota"),
        ("a", "origin_not_allowed"),
    ]
    assert [group.error for group in problems.groups("a")] == ["over_quota", "origin_not_allowed"]


def test_causes_that_differ_in_their_particulars_are_one() -> None:
    problems = Problems()
    problems.add(problem(1, cause="signed for another connection: socket_id 1.1 instead of 1.2"))
    problems.add(problem(2, cause="signed for another connection: socket_id 3.3 instead of 3.4"))
    problems.add(problem(3, cause="signed with the secret of the app b"))
    assert [(group.count, group.cause) for group in problems.groups()] == [
        (1, "signed with the secret of the app b"),
        (2, "signed for another connection: socket_id 3.3 instead of 3.4"),
    ]


def test_a_flood_of_different_problems_stays_bounded() -> None:
    problems = Problems()
    for at in range(5000):
        problems.add(problem(at, app_id=f"app-{at}"))
        problems.add(problem(at, app_id="steady"))
    assert len(problems) == 500
    assert problems.groups("steady")[0].count == 5000
    assert problems.groups("app-4999")
    assert not problems.groups("app-0")


def test_only_what_went_wrong_is_kept() -> None:
    inspector = Inspector(lambda: 0)
    usual: tuple[Kind, ...] = ("connected", "subscribed", "message", "webhook_delivered", "closed")
    for kind in usual:
        inspector.note(Entry(1, kind, "a"))
    assert inspector.problems.groups() == []
    inspector.note(Entry(2, "closed", "a", error="slow_consumer", by="server"))
    assert [group.error for group in inspector.problems.groups()] == ["slow_consumer"]
