"""Health says it when durable publishes are refused, why, and when they are taken again, without a publisher's help."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.history.taking import PROBE_SECONDS
from support.durable import Durable, Step, lose, refuse


async def refused(durable: Durable, step: Step | None = None) -> None:
    durable.store.plan("commit", step or refuse())
    with pytest.raises(SockudoError):
        await durable.say("news")


async def why(durable: Durable) -> str:
    with pytest.raises(SockudoError) as caught:
        await durable.history.taking.check()
    return caught.value.text


async def test_publishes_are_taken_until_one_is_refused(durable: Durable) -> None:
    assert await durable.history.taking.check()
    await durable.say("news")
    with capture_logs() as logs:
        await refused(durable)
        await refused(durable)
    assert await why(durable) == "Durable publishes are refused: no"
    assert durable.history.taking.reason == "no"
    told = [line for line in logs if line["event"] == "durable publishes are refused"]
    assert [line["reason"] for line in told] == ["no"]


async def test_a_commit_that_goes_well_is_believed_after_a_while_without_refusals(durable: Durable) -> None:
    await refused(durable)
    await durable.say("news")
    assert await why(durable)
    with capture_logs() as logs:
        await durable.time.elapse(PROBE_SECONDS)
    assert await durable.history.taking.check()
    assert [line["event"] for line in logs] == ["durable publishes are taken again"]


async def test_the_store_is_tried_while_nobody_publishes(durable: Durable) -> None:
    await refused(durable)
    durable.store.plan("probe", refuse())
    await durable.time.elapse(PROBE_SECONDS)
    assert await why(durable) == "Durable publishes are refused: no"
    await durable.time.elapse(PROBE_SECONDS)
    assert await durable.history.taking.check()


async def test_a_message_that_cannot_be_stored_says_nothing_about_the_others(durable: Durable) -> None:
    await refused(durable, refuse(errors.INVALID_INPUT))
    assert await durable.history.taking.check()


async def test_degraded_streams_are_told(durable: Durable) -> None:
    durable.store.plan("info", *[refuse()] * 50)
    await refused(durable, lose(done=False))
    await durable.say("sport")
    await durable.time.elapse(PROBE_SECONDS)
    assert await why(durable) == "Publishes to 1 channels are refused: they are degraded"
