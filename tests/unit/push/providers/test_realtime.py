"""Channels of this server as a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sockudo import errors
from sockudo.errors import ErrorSpec
from sockudo.push.providers.realtime import RealtimeProvider
from sockudo.push.recipients import RealtimeRecipient


async def test_a_payload_is_published_on_the_channel() -> None:
    published: list[tuple[str, str, Mapping[str, Any]]] = []

    async def publish(app_id: str, channel: str, payload: Mapping[str, Any]) -> str | None:
        published.append((app_id, channel, payload))
        return "m-1"

    provider = RealtimeProvider(publish)
    sent = await provider.send("app", {"data": 1}, RealtimeRecipient("news"), expires_at_ms=None)
    assert (sent.outcome, sent.message_id) == ("accepted", "m-1")
    assert published == [("app", "news", {"data": 1})]
    assert (await provider.readiness("app")).ready
    await provider.close()


@pytest.mark.parametrize(
    ("spec", "kind", "outcome"),
    [
        (errors.SERVICE_UNAVAILABLE, "unavailable", "retryable"),
        (errors.INVALID_INPUT, "invalid_payload", "rejected"),
    ],
)
async def test_refusals(spec: ErrorSpec, kind: str, outcome: str) -> None:
    async def publish(*_: Any) -> str | None:
        raise spec("no, secret-channel")

    sent = await RealtimeProvider(publish).send("app", {}, RealtimeRecipient("secret-channel"), expires_at_ms=None)
    assert sent.error is not None
    assert (sent.error.kind, sent.outcome) == (kind, outcome)
    assert "secret-channel" not in str(sent)
