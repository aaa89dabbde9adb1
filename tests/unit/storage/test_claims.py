"""A server that is not alone does not start, waits where it cannot be known, and says what changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.sections.drivers import AppManager
from sockudo.config.sections.push import Push
from sockudo.config.sections.server import Instance
from sockudo.config.sections.streams import History
from sockudo.storage.claims import BEAT_SECONDS, Claims, places
from sockudo.storage.occupants import LEASE_SECONDS, Held, Occupant

OTHER = Occupant("h", 7, 0.0)
ALIVE = Held(OTHER, certain=True)


class Scripted:
    """A place that answers what it is given, the last of it again and again."""

    name = "the folder"

    def __init__(self, *answers: Held | errors.SockudoError | None) -> None:
        self.answers = list(answers)
        self.released = 0

    async def claim(self) -> Held | None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, errors.SockudoError):
            raise answer
        return answer

    async def release(self) -> None:
        self.released += 1


class Sleeps:
    """Counts instead of sleeping; ends the task after so many."""

    def __init__(self, most: int = 1000) -> None:
        self.slept: list[float] = []
        self._most = most

    async def __call__(self, seconds: float) -> None:
        if len(self.slept) == self._most:
            raise asyncio.CancelledError
        self.slept.append(seconds)


async def refused(place: Scripted, sleeps: Sleeps) -> str:
    with pytest.raises(errors.SockudoError) as caught:
        await Claims([place], shared=False, sleep=sleeps).start()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    return caught.value.text


async def watched(place: Scripted, beats: int) -> Sequence[str]:
    sleeps = Sleeps(beats)
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await Claims([place], shared=False, sleep=sleeps).watch()
    assert set(sleeps.slept) == {BEAT_SECONDS}
    return [line["reason"] for line in logs]


async def test_a_place_of_a_server_that_lives_ends_the_start_at_once_and_names_it() -> None:
    sleeps = Sleeps()
    text = await refused(Scripted(ALIVE), sleeps)
    assert text.startswith("Another server uses the folder: pid 7 on h, since 1970-01-01 00:00:00 UTC.")
    assert "--shared-stores (instance.shared_stores = true)" in text
    assert sleeps.slept == []


async def test_one_elsewhere_that_renews_its_claim_ends_the_start() -> None:
    sleeps = Sleeps()
    beating = Scripted(*(Held(OTHER, certain=False, beats=count) for count in (4, 4, 4, 5)))
    assert "pid 7 on h" in await refused(beating, sleeps)
    assert sleeps.slept == [1, 1, 1]


async def test_one_elsewhere_that_is_silent_is_waited_for_until_its_claim_has_ended() -> None:
    sleeps = Sleeps()
    silent = Held(OTHER, certain=False, beats=4)
    place = Scripted(*[silent] * LEASE_SECONDS, None)
    await Claims([place], shared=False, sleep=sleeps).start()
    assert len(sleeps.slept) == LEASE_SECONDS


async def test_a_shared_place_is_a_warning() -> None:
    with capture_logs() as logs:
        await Claims([Scripted(Held(OTHER, certain=False))], shared=True, sleep=Sleeps()).start()
    assert [(line["log_level"], line["place"]) for line in logs] == [("warning", "the folder")]


async def test_a_place_that_does_not_answer_is_no_reason_not_to_start() -> None:
    with capture_logs() as logs:
        await Claims([Scripted(errors.SERVICE_UNAVAILABLE("It is away"))], shared=False, sleep=Sleeps()).start()
    assert "It is away" in logs[0]["reason"]


async def test_what_changes_is_told_once() -> None:
    away = errors.SERVICE_UNAVAILABLE("It is away")
    told = await watched(Scripted(None, away, away, ALIVE, ALIVE, None, ALIVE), 7)
    assert [text.partition(":")[0] for text in told] == [
        "whether another server uses it is not known",
        "another server (pid 7 on h, since 1970-01-01 00",
        "another server (pid 7 on h, since 1970-01-01 00",
    ]


async def test_every_place_is_given_back() -> None:
    wanted = [Scripted(None), Scripted(None)]
    claims = Claims(wanted, shared=False)
    await claims.start()
    await claims.close()
    assert [place.released for place in wanted] == [1, 1]


def test_the_databases_in_use_are_places() -> None:
    alone = places(Settings(data_dir="/x"), OTHER)
    assert [place.name for place in alone] == ["the folder /x (data_dir)"]
    settings = Settings(
        app_manager=AppManager(driver="pgsql"),
        history=History(backend="mysql"),
        push=Push(queue_driver="postgres"),
        instance=Instance(process_id="a"),
    )
    assert [place.name for place in places(settings, OTHER)][1:] == [
        "the database 'sockudo' at localhost:5432 (database.postgres: apps applications, push queue)",
        "the database 'sockudo' at localhost:3306 (database.mysql: history sockudo_history)",
    ]
