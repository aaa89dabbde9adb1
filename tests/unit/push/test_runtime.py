"""The key of push credentials: configured, or under ``--dev`` one that each data folder has for itself."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo.config import Settings
from sockudo.config.schema import build
from sockudo.errors import SockudoError
from sockudo.push.runtime import push_envelopes
from sockudo.push.secrecy import Envelopes


def dev(folder: Path, **values: Any) -> Settings:
    named = {f"push.{name}": value for name, value in values.items()}
    return build({"data_dir": str(folder), "push.storage_driver": "sqlite", **named}, dev=True)


def test_a_folder_has_a_key_of_its_own_that_is_kept(tmp_path: Path) -> None:
    sealed = push_envelopes(dev(tmp_path / "one")).seal("planted")
    kept = tmp_path / "one" / "dev-push-key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert push_envelopes(dev(tmp_path / "one")).open(sealed) == "planted"
    assert Envelopes(kept.read_text()).open(sealed) == "planted"
    with pytest.raises(SockudoError):
        push_envelopes(dev(tmp_path / "another")).open(sealed)


def test_what_was_sealed_before_folders_had_keys_is_still_opened(tmp_path: Path) -> None:
    before = Envelopes("dashboard").seal("planted")
    envelopes = push_envelopes(dev(tmp_path))
    assert envelopes.open(before) == "planted"
    with pytest.raises(SockudoError):
        Envelopes("dashboard").open(envelopes.seal("planted"))


def test_a_configured_key_wins_and_no_file_is_made(tmp_path: Path) -> None:
    sealed = push_envelopes(dev(tmp_path, credential_encryption_key="configured")).seal("planted")
    assert Envelopes("configured").open(sealed) == "planted"
    assert list(tmp_path.iterdir()) == []


def test_in_memory_no_file_is_made(tmp_path: Path) -> None:
    settings = dev(tmp_path, storage_driver="memory")
    sealed = push_envelopes(settings).seal("planted")
    with pytest.raises(SockudoError):
        push_envelopes(settings).open(sealed)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_cannot_be_kept_is_said_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    with capture_logs() as logs:
        envelopes = push_envelopes(dev(tmp_path / "data"))
    assert envelopes.open(envelopes.seal("planted")) == "planted"
    [line] = logs
    assert "could not be kept" in line["event"]
    assert set(line) == {"event", "log_level", "path", "reason"}


def test_no_key_is_made_outside_of_development(tmp_path: Path) -> None:
    settings = build({"data_dir": str(tmp_path), "push.storage_driver": "sqlite"})
    assert not push_envelopes(settings).can_seal
    assert list(tmp_path.iterdir()) == []
