"""A loader with a folder of its own, so that a test says only what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sockudo.config import ConfigError, Loaded, load


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Loaded]:
    """Loads a TOML text, or no file at all, with an environment of its own."""

    def run(toml: str | None = None, *, env: Mapping[str, str] | None = None, **options: Any) -> Loaded:
        path = None
        if toml is not None:
            path = tmp_path / "sockudo.toml"
            path.write_text(toml, encoding="utf-8")
        return load(path=path, environ=env or {}, cwd=tmp_path, **options)

    return run


@pytest.fixture
def problems(loaded: Callable[..., Loaded]) -> Callable[..., tuple[str, ...]]:
    """The problems of a configuration that has to be refused."""

    def run(*arguments: Any, **options: Any) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            loaded(*arguments, **options)
        return caught.value.problems

    return run
