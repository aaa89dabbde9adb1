"""Apps to sign for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sockudo.apps.live import LiveApp
from sockudo.apps.resolve import Defaults, resolve
from sockudo.config.apps import App


@pytest.fixture(scope="session")
def make_app() -> Callable[..., LiveApp]:
    """The app of the specification's test vectors, or a variation of it."""

    def make(
        app_id: str = "4471", key: str = "pier-key-20c1", secret: str = "tide-secret-9f4e", *, enabled: bool = True
    ) -> LiveApp:
        return resolve(App(id=app_id, key=key, secret=secret, enabled=enabled), Defaults())

    return make


@pytest.fixture(scope="session")
def app(make_app: Callable[..., LiveApp]) -> LiveApp:
    return make_app()
