"""Writing to many sockets at once: the same bytes as one by one, and the truth about what was not taken."""

from __future__ import annotations

import contextlib
import os
import random

import pytest

from sockudo.edge import direct
from sockudo.edge.direct import DirectSends
from sockudo.edge.ring import SendRing
from sockudo.hub import BulkWriter
from support.io_uring import needs_io_uring
from unit.edge.socket_pairs import Pairs

FEW = 8
"""Sends that one call of the ring does here, so that it takes several."""


@pytest.fixture(params=[pytest.param("io_uring", marks=needs_io_uring), "alone", "beside threads"])
def bulk(request: pytest.FixtureRequest, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> BulkWriter:
    """Each way there is; the second is taken in a process with one thread."""
    if request.param == "io_uring":
        ring = SendRing(FEW)
        stack.callback(ring.close)
        return ring
    monkeypatch.setattr(direct.threading, "active_count", lambda: 1 if request.param == "alone" else 2)
    return DirectSends()


@pytest.mark.parametrize("count", [1, FEW - 1, FEW, FEW + 1, 100])
def test_everybody_gets_everything_in_order(stack: contextlib.ExitStack, bulk: BulkWriter, count: int) -> None:
    pairs = Pairs(stack, count)
    for number in range(50):
        assert bulk.write(pairs.descriptors, b"frame-%d;" % number) == []
    for number in range(count):
        assert pairs.read(number) == b"".join(b"frame-%d;" % each for each in range(50))


def test_what_cannot_be_written_to_is_named_and_the_others_get_theirs(
    stack: contextlib.ExitStack, bulk: BulkWriter
) -> None:
    pairs = Pairs(stack, 30)
    pairs.descriptors[0] = pairs.descriptors[17] = -1
    pairs.peers[5].close()
    pairs.ours[29].close()
    assert bulk.write(pairs.descriptors, b"news") == [(0, 0), (5, 0), (17, 0), (29, 0)]
    for number in set(range(30)) - {0, 5, 17, 29}:
        assert pairs.read(number) == b"news"


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOCKUDO_EXAMPLES", "3"))))
def test_bytes_taken_are_bytes_sent_however_slowly_they_are_read(
    stack: contextlib.ExitStack, bulk: BulkWriter, seed: int
) -> None:
    dice = random.Random(seed)
    pairs = Pairs(stack, 20, buffer=4096)
    sent, got = [bytearray() for _ in range(20)], [bytearray() for _ in range(20)]
    some = none = 0
    for _ in range(300):
        data = dice.randbytes(dice.choice((1, 100, 3000, 90_000)))
        refused = dict(bulk.write(pairs.descriptors, data))
        for number in range(20):
            taken = refused.get(number, len(data))
            assert number not in refused or taken < len(data)
            some += 0 < taken < len(data)
            none += taken == 0
            sent[number] += data[:taken]
            if dice.random() < 0.4:
                got[number] += pairs.read(number, dice.choice((10, 10_000, 400_000)))
    for number in range(20):
        while part := pairs.read(number):
            got[number] += part
        assert got[number] == sent[number]
    assert some > 20
    assert none > 20
