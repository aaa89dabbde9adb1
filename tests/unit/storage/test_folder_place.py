"""The lock on the data folder: one at a time, gone with its process, and honest about what is wrong."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sockudo import errors
from sockudo.storage.folder_place import FILE_NAME, FolderPlace, occupant_of
from sockudo.storage.occupants import Held, Occupant

FIRST, SECOND = Occupant("first", 1, 0.0), Occupant("second", 2, 0.0)


async def test_one_server_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first, second = FolderPlace(folder, FIRST), FolderPlace(folder, SECOND)
    assert occupant_of(folder) is None
    assert await first.claim() is None
    assert await first.claim() is None
    assert await second.claim() == Held(FIRST, certain=True)
    assert occupant_of(folder) == FIRST
    await second.release()
    assert await second.claim() == Held(FIRST, certain=True)
    await first.release()
    await first.release()
    assert await second.claim() is None
    assert occupant_of(folder) == SECOND
    await second.release()


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "data", FIRST)
    await place.claim()
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600
    await place.release()


async def test_nonsense_in_the_file_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("nonsense " * 1000)
    first, second = FolderPlace(tmp_path, FIRST), FolderPlace(tmp_path, SECOND)
    assert occupant_of(tmp_path) is None
    assert await first.claim() is None
    assert await second.claim() == Held(FIRST, certain=True)
    await first.release()


async def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.SockudoError) as caught:
        await FolderPlace(tmp_path / "file", FIRST).claim()
    assert caught.value.text == "server.lock in data_dir cannot be used: file exists"
