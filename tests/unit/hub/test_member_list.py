"""The list of an acknowledgement is the same text as if it were made whole, and made only where it has changed."""

from __future__ import annotations

import json
import random
from typing import Any

from sockudo.hub.member_list import PAGE, ListedMembers, MemberList
from sockudo.protocol import frames
from sockudo.protocol.formats import V1_JSON

INFO = b'{"name":"Ana \\"the\\" \xc3\x89","tags":[1,{"a":null}]}'


def read(listed: ListedMembers) -> dict[str, Any]:
    """Members by id, as a client reads them from the acknowledgement."""
    total, ids, infos = listed
    shown = V1_JSON.encode(frames.presence_succeeded("presence-room", ids, infos, total, as_json=True))
    presence = json.loads(json.loads(shown)["data"])["presence"]
    assert list(presence["hash"]) == presence["ids"]
    assert presence["count"] == total == len(presence["ids"])
    members: dict[str, Any] = presence["hash"]
    return members


def list_of(members: dict[str, bytes]) -> MemberList:
    return MemberList(members, members.get)


def test_an_empty_list() -> None:
    assert read(list_of({}).listed()) == {}


def test_quotes_and_letters_of_every_kind_stand_as_they_are() -> None:
    names = ['"', "\\", '\\"', "\n", "é", "日本", "\U0001f600", "</script>"]
    assert read(list_of(dict.fromkeys(names, INFO)).listed()) == dict.fromkeys(names, json.loads(INFO))


def test_random_changes_leave_the_list_that_there_is() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        members = {f"user-{number}": b"%d" % number for number in range(rng.choice([0, 10, PAGE, 3 * PAGE + 1]))}
        kept = list_of(members)
        for step in range(30):
            for _ in range(rng.choice([1, 5, 200])):
                user_id = f"user-{rng.randrange(4 * PAGE)}"
                if rng.random() < rng.choice([0.3, 0.7]):
                    members.pop(user_id, None)
                else:
                    members[user_id] = b"%d" % rng.randrange(9)
                kept.touch(user_id)
            expected = {user_id: int(info) for user_id, info in members.items()}
            assert read(kept.listed()) == expected, (seed, step)


def test_a_change_among_ten_thousand_makes_one_page() -> None:
    members = {f"user-{number}": INFO for number in range(10_000)}
    kept = list_of(members)
    kept.listed()
    assert kept.pages_made == 10_000 / PAGE
    for number in range(100):
        before = kept.pages_made
        members[f"new-{number}"] = INFO
        kept.touch(f"new-{number}")
        kept.listed()
        assert kept.pages_made == before + 1
    before = kept.pages_made
    kept.listed()
    kept.touch("user-7")
    kept.listed()
    assert kept.pages_made == before


def test_members_who_go_leave_no_crowd_of_pages() -> None:
    members = {f"user-{number}": b"1" for number in range(10_000)}
    kept = list_of(members)
    kept.listed()
    for number in range(10_000):
        if number % 50:
            del members[f"user-{number}"]
            kept.touch(f"user-{number}")
    kept.listed()
    before = kept.pages_made
    for user_id in tuple(members):
        members[user_id] = b"2"
        kept.touch(user_id)
    assert len(read(kept.listed())) == 200
    assert kept.pages_made == before + 1


def test_more_changes_than_members_make_the_list_outdated() -> None:
    kept = list_of({"ana": b"1"})
    for number in range(PAGE + 1):
        kept.touch(f"user-{number}")
    assert not kept.outdated
    kept.touch("one more")
    assert kept.outdated
