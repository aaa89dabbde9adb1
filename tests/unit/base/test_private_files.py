"""Files with a secret: whole, for their owner alone, and the same secret as long as the file is there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sockudo.base.private_files import kept_secret, write_private_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_for_this_user_alone_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    write_private_file(path, "one")
    write_private_file(path, "two")
    assert path.read_text() == "two\n"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    assert kept_secret(path, lambda: "made first") == ("made first", None)
    assert kept_secret(path, lambda: pytest.fail("made again")) == ("made first", None)
    path.write_text("")
    assert kept_secret(path, lambda: "made anew") == ("made anew", None)
    assert path.read_text() == "made anew\n"


def test_a_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("copied\n")
    path.chmod(0o644)
    assert kept_secret(path, lambda: pytest.fail("made again")).text == "copied"
    assert mode(path) == 0o600


def test_a_secret_that_cannot_be_kept_is_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = kept_secret(tmp_path / "file" / "secret", lambda: "for now")
    assert (kept.text, type(kept.problem)) == ("for now", NotADirectoryError)


def test_what_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.mkdir()
    kept = kept_secret(path, lambda: "for now")
    assert (kept.text, type(kept.problem)) == ("for now", IsADirectoryError)
    assert path.is_dir()
