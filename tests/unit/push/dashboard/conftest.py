"""What every test of these pages would wait for again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.push_accounts import keys_examined_once


@pytest.fixture(scope="package", autouse=True)
def _keys_examined_once() -> Iterator[None]:
    with keys_examined_once():
        yield
