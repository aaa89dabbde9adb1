"""Who uses a data folder or a database, as the check tells it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.schema import build
from sockudo.config.sections.databases import SqlDatabase
from sockudo.doctor.storage import judge_folder, judge_occupants, occupied
from sockudo.storage import places
from sockudo.storage.folder_place import FILE_NAME
from sockudo.storage.occupants import Occupant

FIRST = Occupant("host-a", 41, 1_767_225_600.0)
SECOND = Occupant("host-b", 7, 1_767_225_700.0)


def test_one_server_is_alone_there() -> None:
    found = judge_occupants("database.mysql", [FIRST], shared=False)
    assert found.state == "ok"
    assert found.seen == f"database.mysql is used by one server: {FIRST}"
    assert "41" in found.seen
    assert "host-a" in found.seen


def test_several_servers_are_named_with_what_that_costs() -> None:
    for shared in (False, True):
        found = judge_occupants("database.postgres", [FIRST, SECOND], shared=shared)
        assert found.state == "warning"
        assert found.seen == f"2 servers use database.postgres: {FIRST}; {SECOND}"
        assert "do not get what is published at the other" in found.advice[0]


def test_joined_nodes_may_share_a_database_and_those_of_two_clusters_may_not() -> None:
    first = replace(FIRST, node="a", joined_by="redis at db-1")
    second = replace(SECOND, node="b", joined_by="redis at db-1")
    found = judge_occupants("database.postgres", [first, second], shared=False)
    assert found.state == "ok"
    assert found.seen == f"2 joined nodes use database.postgres: {first}; {second}"
    assert "joined with others by redis at db-1" in found.seen
    for other in (replace(second, joined_by="redis at db-2"), SECOND):
        assert judge_occupants("database.postgres", [first, other], shared=False).state == "warning"


def test_with_shared_stores_there_may_be_more_than_claimed_it() -> None:
    found = judge_occupants("database.postgres", [FIRST], shared=True)
    assert found.state == "warning"
    assert found.seen.endswith("instance.shared_stores")


def test_a_folder_that_no_server_has_claimed_is_no_finding(tmp_path: Path) -> None:
    assert judge_folder(tmp_path, shared=False) == ()
    (tmp_path / FILE_NAME).write_text("nothing that a server has written")
    assert judge_folder(tmp_path, shared=True) == ()


def test_the_server_of_a_folder_is_named(tmp_path: Path) -> None:
    here = Occupant.current(FIRST.since)
    (tmp_path / FILE_NAME).write_text(here.text)
    [alone] = judge_folder(tmp_path, shared=False)
    assert (alone.state, alone.seen) == ("ok", f"{tmp_path} is used by one server: {here}")
    [among] = judge_folder(tmp_path, shared=True)
    assert among.state == "warning"
    assert "instance.shared_stores" in among.seen
    (tmp_path / FILE_NAME).write_text(replace(here, started="another process with this number").text)
    assert judge_folder(tmp_path, shared=False) == (), "a server that has ended uses nothing"


def test_a_folder_of_another_user_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert judge_folder(tmp_path, shared=False) == ()


def using(*, shared: bool = False) -> Settings:
    return build(
        {
            "app_manager.driver": "mysql",
            "history.backend": "postgres",
            "instance.shared_stores": shared,
        }
    )


async def test_each_database_in_use_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SqlDatabase] = []

    def occupants_in(server: SqlDatabase) -> list[Occupant]:
        asked.append(server)
        return [FIRST] if len(asked) == 1 else []

    monkeypatch.setattr(places, "occupants_in", occupants_in)
    settings = using()
    [found] = await occupied(settings)
    assert asked == [settings.database.postgres, settings.database.mysql]
    assert found == judge_occupants("database.postgres", [FIRST], shared=False)


async def test_without_a_database_none_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "occupants_in", lambda _: [FIRST])
    assert await occupied(Settings()) == []
    [found] = await occupied(build({"app_manager.driver": "mysql", "instance.shared_stores": True}))
    assert found.state == "warning"


async def test_a_database_that_does_not_answer_has_its_finding_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: SqlDatabase) -> list[Occupant]:
        raise errors.SERVICE_UNAVAILABLE("no answer")

    monkeypatch.setattr(places, "occupants_in", silent)
    assert await occupied(using()) == []
