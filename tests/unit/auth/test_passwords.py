"""The password of the dashboard: where it comes from, how it is kept, and that a change counts at once."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sockudo.auth import passwords
from sockudo.auth.passwords import (
    Credentials,
    development_file,
    hash_password,
    made_password,
    matches,
    password_file,
)
from sockudo.base.private_files import write_private_file
from sockudo.config import Settings
from sockudo.config.schema import build
from sockudo.testing import FakeClock


class Place:
    """Credentials over settings that a test may change, with a clock by hand."""

    def __init__(self, folder: Path, *, dev: bool = False) -> None:
        self.clock = FakeClock()
        self.settings = build({"data_dir": str(folder)}, dev=dev)
        self.credentials = Credentials(lambda: self.settings, self.clock.monotonic)

    @property
    def file(self) -> Path:
        return password_file(self.settings)

    def configure(self, password: str | None) -> None:
        self.settings = build(
            {"data_dir": self.settings.data_dir, "dashboard.password": password}, dev=self.settings.dev
        )


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that anybody could guess, for whoever asks something else of them."""
    monkeypatch.setattr(passwords, "_MADE", passwords.Cost(2, 8, 1))


@pytest.fixture
def place(tmp_path: Path, cheap: None) -> Place:
    return Place(tmp_path / "data")


def test_made_ones_are_random_and_can_be_read_aloud() -> None:
    made = {made_password() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"([a-hjkmnp-z2-9]{4}-){4}[a-hjkmnp-z2-9]{4}", each) for each in made)


def test_a_hash_knows_its_password_and_no_other() -> None:
    line = hash_password("correct horse é", made=True)
    assert matches("correct horse é", line)
    assert matches("correct horse é", line + "\n")
    assert not matches("correct horse e", line)
    assert not matches("", line)
    assert "correct" not in line


def test_a_chosen_one_costs_whoever_guesses_more() -> None:
    line = hash_password("correct horse é")
    assert line.startswith("scrypt:32768:8:3:")
    assert hash_password("correct horse é", made=True).startswith("scrypt:16384:8:1:")
    assert matches("correct horse é", line)


@pytest.mark.usefixtures("cheap")
def test_the_same_password_has_another_hash_each_time() -> None:
    assert hash_password("again", made=True) != hash_password("again", made=True)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "secret",
        "scrypt:16384:8:1:c2FsdA==:",
        "scrypt:16384:8:1:!!!:aGFzaA==",
        "scrypt:0:8:1:c2FsdA==:aGFzaA==",
        "scrypt:x:8:1:c2FsdA==:aGFzaA==",
        "scrypt:1073741824:8:1:c2FsdA==:aGFzaA==",
        "bcrypt:16384:8:1:c2FsdA==:aGFzaA==",
        "a:b:c:d:e:f:g",
    ],
)
def test_what_is_no_hash_fits_no_password(line: str) -> None:
    assert not matches("secret", line)
    assert not matches("", line)


async def test_made_once_at_the_first_start(place: Place) -> None:
    made = await place.credentials.prepare()
    assert made is not None
    assert made not in place.file.read_text()
    assert await place.credentials.right(made) == place.credentials.version()
    assert await place.credentials.prepare() is None
    again = Place(place.file.parent)
    assert await again.credentials.prepare() is None
    assert await again.credentials.right(made) is not None
    assert await again.credentials.right("something else") is None


async def test_a_configured_one_makes_no_file(place: Place) -> None:
    place.configure("configured one")
    assert await place.credentials.prepare() is None
    assert not place.file.exists()
    assert await place.credentials.right("configured one") is not None
    assert await place.credentials.right("configured on") is None
    assert await place.credentials.right("") is None


async def test_a_configured_one_wins_and_a_reload_changes_it(place: Place) -> None:
    made = await place.credentials.prepare()
    first = place.credentials.version()
    place.configure("configured one")
    assert await place.credentials.right(str(made)) is None
    second = place.credentials.version()
    place.configure("another one")
    assert await place.credentials.right("configured one") is None
    assert len({first, second, place.credentials.version()}) == 3


async def test_a_new_file_counts_at_once(place: Place) -> None:
    made = await place.credentials.prepare()
    before = place.credentials.version()
    write_private_file(place.file, hash_password("the new one", made=True))
    assert await place.credentials.right("the new one") is not None
    assert await place.credentials.right(str(made)) is None
    assert place.credentials.version() != before


def test_sessions_hear_of_a_new_file_within_a_second(place: Place) -> None:
    write_private_file(place.file, hash_password("the old one", made=True))
    before = place.credentials.version()
    write_private_file(place.file, hash_password("the new one", made=True))
    assert place.credentials.version() == before
    place.clock.advance(1)
    after = place.credentials.version()
    assert after not in (None, before)
    write_private_file(place.file, hash_password("the newest", made=True))
    assert place.credentials.version(fresh=True) not in (before, after)


async def test_without_its_file_nothing_fits(place: Place) -> None:
    made = await place.credentials.prepare()
    place.file.unlink()
    assert await place.credentials.right(str(made)) is None
    assert place.credentials.version() is None


@pytest.mark.parametrize("content", ["", "\n", "garbage", "scrypt:16384:8:1:c2FsdA==:"])
async def test_a_file_that_holds_no_hash_lets_nobody_in(place: Place, content: str) -> None:
    place.file.parent.mkdir()
    place.file.write_text(content)
    assert await place.credentials.right("garbage") is None
    assert await place.credentials.right("") is None


@pytest.mark.usefixtures("cheap")
async def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    place = Place(tmp_path / "data")
    made = await place.credentials.prepare()
    assert made is not None
    assert await place.credentials.right(made) is not None
    assert await place.credentials.right("something else") is None


async def test_work_is_done_for_the_first_of_equal_calls_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worked = 0

    def counted(password: str, kept: str) -> bool:
        nonlocal worked
        worked += 1
        return matches(password, kept)

    made = str(await place.credentials.prepare())
    monkeypatch.setattr(passwords, "matches", counted)
    for _ in range(5):
        assert await place.credentials.right(made) is not None
    assert worked == 1
    assert await place.credentials.right("wrong one") is None
    assert await place.credentials.right(made) is not None
    assert worked == 2


async def test_few_hashes_are_made_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.credentials.prepare()
    running = most = 0

    async def to_thread(work: object, *arguments: object) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return False

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    await asyncio.gather(*(place.credentials.right(f"guess {i}") for i in range(20)))
    assert most == 2


async def test_a_password_without_end_is_not_hashed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.credentials.prepare()
    monkeypatch.setattr(passwords, "matches", lambda *_: pytest.fail("hashed"))
    assert await place.credentials.right("x" * 1025) is None


async def test_a_development_server_shows_the_same_one_at_each_start(tmp_path: Path, cheap: None) -> None:
    first = Place(tmp_path / "data", dev=True)
    made = await first.credentials.prepare()
    assert made is not None
    assert first.credentials.recognized(made) is not None
    assert await first.credentials.right(made) == first.credentials.version()
    assert await first.credentials.right("dashboard") is None
    assert await Place(tmp_path / "data", dev=True).credentials.prepare() == made
    assert await Place(tmp_path / "elsewhere", dev=True).credentials.prepare() != made
    kept = development_file(first.settings)
    assert kept.read_text() == f"{made}\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not first.file.exists()


async def test_a_server_that_is_no_development_one_takes_no_password_of_one(tmp_path: Path, cheap: None) -> None:
    shown = await Place(tmp_path, dev=True).credentials.prepare()
    place = Place(tmp_path)
    made = await place.credentials.prepare()
    assert made not in (None, shown)
    assert await place.credentials.right(str(shown)) is None


async def test_what_is_set_by_hand_replaces_the_one_that_a_development_server_shows(
    tmp_path: Path, cheap: None
) -> None:
    place = Place(tmp_path, dev=True)
    shown = str(await place.credentials.prepare())
    version = place.credentials.version()
    write_private_file(place.file, hash_password("set by hand", made=True))
    assert await place.credentials.right(shown) is None
    assert await place.credentials.right("set by hand") == place.credentials.version() != version
    again = Place(tmp_path, dev=True)
    assert await again.credentials.prepare() is None
    place.configure("configured one")
    assert await place.credentials.prepare() is None
    assert await place.credentials.right("configured one") is not None


async def test_a_development_server_without_a_folder_has_another_one_at_each_start(tmp_path: Path, cheap: None) -> None:
    (tmp_path / "data").write_text("no folder")
    first, second = (Place(tmp_path / "data", dev=True) for _ in range(2))
    with capture_logs() as logs:
        made = str(await first.credentials.prepare())
        assert await first.credentials.right(made) is not None
        assert await second.credentials.prepare() != made
    assert ["could not be kept" in line["event"] for line in logs] == [True, True]
    assert made not in str(logs)


def test_settings_do_not_show_it() -> None:
    settings = build({"dashboard.password": "kept to oneself"})
    assert "kept to oneself" not in repr(settings)
    assert isinstance(settings, Settings)
