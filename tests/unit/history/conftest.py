from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.durable import Durable


@pytest.fixture
async def durable() -> AsyncIterator[Durable]:
    async with Durable(write_timeout=5.0, max_page_size=3) as running:
        yield running
