"""The metrics of all workers of a server at once, since a scrape reaches one of them.

Every series has the number of its worker as a label. They are not added up here: of what all workers read from one
store a sum would be wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar

import msgspec

from sockudo.cluster.items import Request
from sockudo.cluster.ports import DEADLINE, Bus
from sockudo.cluster.router import Router

__all__ = ["Exposition", "TakeMetrics", "join_metrics", "merged"]


class Exposition(msgspec.Struct, frozen=True):
    """The metrics of one worker, as a scrape of it alone would have got them."""

    worker: str
    text: bytes


class TakeMetrics(Request, frozen=True, tag="metrics"):
    """The metrics of each worker of a server; other nodes have none for it."""

    reply: ClassVar = Exposition

    server: str


def join_metrics(
    router: Router, bus: Bus, label: str, scrape: Callable[[], Awaitable[bytes]]
) -> Callable[[], Awaitable[bytes]]:
    """A scrape of all workers, on each of them; ``label`` is that of this one, the server's with its number.

    A worker that does not answer in time is missing.
    """
    server, _, number = label.rpartition("/")

    async def answer(asked: TakeMetrics) -> Exposition | None:
        return Exposition(number, await scrape()) if asked.server == server else None

    async def scrape_all() -> bytes:
        answers = await bus.ask(TakeMetrics(server), deadline=DEADLINE)
        found = [each for each in answers.values.values() if each is not None]
        return merged(sorted(found, key=lambda each: int(each.worker)))

    router.on_request(TakeMetrics, answer)
    return scrape_all


def merged(expositions: Iterable[Exposition]) -> bytes:
    """One exposition of several: each family once, with the series of all, which have a label for the worker."""
    heads: dict[str, list[str]] = {}
    series: dict[str, list[str]] = {}
    for each in expositions:
        label = f'worker="{each.worker}"'
        family = ""
        for line in each.text.decode().splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                series.setdefault(family, [])
                head = heads.setdefault(family, [])
                if not head:
                    head.append(line)
            elif line.startswith("#"):
                if line not in heads[family]:
                    heads[family].append(line)
            elif line:
                series[family].append(_labelled(line, label))
    lines = [line for family, head in heads.items() for line in (*head, *series[family])]
    return "".join(f"{line}\n" for line in lines).encode()


def _labelled(line: str, label: str) -> str:
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f"{name}{{{label}}}{rest[1:]}" if rest.startswith("}") else f"{name}{{{label},{rest}"
    name, _, value = line.partition(" ")
    return f"{name}{{{label}}} {value}"
