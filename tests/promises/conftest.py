from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promises.restarts import Restart, database_of


@pytest.fixture(params=["sqlite", "sqlite-normal", "postgres", "mariadb"])
def stored(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where the history is kept, as a configuration."""
    kind: str = request.param
    if kind == "postgres":
        return database_of(request.getfixturevalue("postgres"), "kill", "postgres")
    if kind == "mariadb":
        return database_of(request.getfixturevalue("mariadb"), "kill", "mysql")
    synchronous = "normal" if kind == "sqlite-normal" else "full"
    return {"history": {"enabled": True, "backend": "sqlite", "sqlite": {"synchronous": synchronous}}}


@pytest.fixture
def restart(stored: dict[str, Any], tmp_path: Path) -> Iterator[Restart]:
    made = Restart(stored, tmp_path / "data")
    yield made
    if made.server is not None:
        made.server.close()
