"""A process that stores ten messages at a time and says so after each commit, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec import convert, json

sys.path.insert(0, str(Path(__file__).parent.parent))

from sockudo.config.sections import Mysql, Postgres
from support.databases import DatabaseServer
from support.history import Place, an_append


async def main() -> None:
    kind, folder, prefix, synchronous, database = json.decode(sys.argv[1])
    server = None
    if database is not None:
        server = DatabaseServer(convert(database, Postgres if kind == "postgres" else Mysql), pid=0)
    place = Place(kind, Path(folder), server)
    place.prefix = prefix
    async with place.open(synchronous=synchronous) as store:
        for first in range(1, 1_000_000, 10):
            outcomes = await store.commit([an_append(str(number)) for number in range(first, first + 10)])
            print(outcomes[-1].position.serial, flush=True)


asyncio.run(main())
