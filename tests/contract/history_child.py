"""A process that stores ten messages at a time and says so after each commit, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from contract.history import an_append
from contract.places import Place
from sockudo.storage.turns import share_files


async def main() -> None:
    text, synchronous = sys.argv[1:]
    share_files()
    async with Place.unpacked(text).open(synchronous=synchronous) as store:
        for first in range(1, 1_000_000, 10):
            outcomes = await store.commit([an_append(str(number)) for number in range(first, first + 10)])
            print(outcomes[-1].position.serial, flush=True)


asyncio.run(main())
