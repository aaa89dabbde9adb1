"""An example that is sent to try an endpoint out."""

from __future__ import annotations

import json

import pytest

from sockudo import errors
from sockudo.apps.signer import Signer
from sockudo.webhooks.records import Answer, Target
from sockudo.webhooks.trial import try_out
from unit.webhooks.parts import endpoints_of


class OneAnswer:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: list[tuple[Target, bytes]] = []

    async def send(self, target: Target, body: bytes) -> Answer:
        self.sent.append((target, body))
        return self.answer

    async def close(self) -> None:
        raise AssertionError("whoever opened the sender closes it")


[ENDPOINT] = endpoints_of({"url": "https://hooks.test/in?t=secret", "event_types": ["cache_miss"]}).endpoints


async def test_the_example_is_signed_as_a_delivery_is() -> None:
    sender, signer = OneAnswer(Answer(204, took_ms=3)), Signer("s3cr3t")
    trial = await try_out(sender, ENDPOINT, "k-shop", signer, "member_added", 1_767_225_600_000)
    [(target, body)] = sender.sent
    headers = dict(target.headers)
    assert headers["X-Pusher-Key"] == "k-shop"
    assert headers["X-Pusher-Signature"] == signer.hexdigest(body)
    assert headers["X-Sockudo-Delivery"].startswith("test-")
    assert json.loads(body)["events"][0]["name"] == "member_added"
    said = trial.as_dict()
    assert (said["delivered"], said["status"], said["advice"], said["event"]) == (True, 204, None, "member_added")
    assert said["url"] == "https://hooks.test/in?t=…"


@pytest.mark.parametrize(
    ("answer", "slow"), [(Answer(500, took_ms=2001), True), (Answer(None, "timeout", 9000), False)]
)
async def test_what_came_back_is_explained(answer: Answer, slow: bool) -> None:
    trial = await try_out(OneAnswer(answer), ENDPOINT, "k", Signer("s"), "cache_miss", 0)
    assert trial.as_dict()["advice"]
    assert not trial.as_dict()["delivered"]
    assert trial.slow is slow


async def test_an_event_that_is_never_sent() -> None:
    sender = OneAnswer(Answer(200))
    with pytest.raises(errors.SockudoError, match="did you mean cache_miss") as caught:
        await try_out(sender, ENDPOINT, "k", Signer("s"), "cache_mis", 0)
    assert caught.value.spec is errors.INVALID_INPUT
    assert sender.sent == []
