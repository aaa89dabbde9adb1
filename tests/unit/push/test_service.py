"""Publishing: what is kept, in which order it is refused, and what a repetition gets (spec: push § 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from contract.places import PushPlace, QueuePlace
from sockudo import errors
from sockudo.config.sections.push import PushBackpressure, PushQuotas
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Depth, Job
from sockudo.push.admission import QueueReadings
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness
from sockudo.push.messages import PUSH_QUEUE, PublishLog, read_body
from sockudo.push.recipients import FcmRecipient
from sockudo.push.records import Localized, Override, PublishIntent, PublishStatus, Target, Template
from sockudo.push.service import Push
from sockudo.push.stores.sql import MemoryPushStore
from support.push_stores import DAY, NOW, a_device, a_subscription
from unit.push.nodes import Desk, a_publish, channel, device, waiting

RAW = Target(type="recipient", recipient=FcmRecipient("planted-token"))


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def refusal(desk: Desk, request: PublishRequest, **options: Any) -> SockudoError:
    with pytest.raises(SockudoError) as caught:
        await desk.push.publish("app", request, **options)
    assert await desk.log() == []
    assert await desk.queued() == []
    return caught.value


# ---- what is kept ----


async def test_a_publish_is_kept_and_waits_to_be_planned(desk: Desk) -> None:
    for number in range(3):
        await desk.store.put_subscription(a_subscription("news", f"d{number}"))
    accepted = await desk.push.publish("app", a_publish(expires_at_ms=NOW + 5000))
    publish_id = accepted.status.publish_id
    assert (accepted.word, accepted.expected, accepted.regime) == ("accepted", 3, "fastPath")
    assert len(accepted.renderings) == 6
    status = await desk.store.status("app", publish_id)
    assert status is not None
    assert (status.state, status.counters.planned, status.created_at_ms) == ("queued", 3, NOW)
    assert (status.expires_at_ms, status.missing) == (NOW + 5000, [])
    intent = await desk.store.intent("app", publish_id)
    assert intent is not None
    assert (intent.targets, intent.expires_at_ms, intent.accepted_at_ms) == ([channel()], NOW + 5000, NOW)
    [lease] = await waiting(desk.queue)
    assert read_body(lease.job.body) == PublishLog(app_id="app", publish_id=publish_id)
    assert desk.woken == ["publish_log"]
    assert desk.push.counters.counts["publish_accepted_total", ("app", "accepted")] == 1
    assert desk.push.counters.counts["channel_publish_total", ()] == 1


async def test_ids_that_are_made_up_are_new_ones(desk: Desk) -> None:
    made = {(await desk.push.publish("app", a_publish())).status.publish_id for _ in range(3)}
    assert len(made) == 3
    assert sorted(await desk.log()) == sorted(made)


async def test_a_template_is_merged_and_stays_as_it_was(desk: Desk) -> None:
    template = Template(
        app_id="app",
        template_id="shipped",
        default_locale="en",
        locales={"en": Localized(title="Shipped {{ data.no }}", body="b"), "de": Localized(title="Versandt", body="b")},
    )
    await desk.store.put_template(template)
    request = a_publish(publish_id="ship", title=None, template_id="shipped", template_data={"locale": "de-AT"})
    accepted = await desk.push.publish("app", request)
    assert b"Versandt" in accepted.renderings[0].body
    texts = {**template.locales, "de": Localized(title="Anders", body="b")}
    await desk.store.put_template(Template(app_id="app", template_id="shipped", default_locale="en", locales=texts))
    intent = await desk.store.intent("app", "ship")
    assert intent is not None
    assert intent.payload.title == "Versandt"


async def test_placeholders_are_kept_as_they_are(desk: Desk) -> None:
    await desk.push.publish("app", a_publish(publish_id="ship", title="{{ data.a }}", template_data={"a": "x"}))
    intent = await desk.store.intent("app", "ship")
    assert intent is not None
    assert intent.payload.title == "{{ data.a }}"


async def test_a_device_that_is_missing_among_others_is_told_in_the_status(desk: Desk) -> None:
    await desk.store.put_device(a_device("here"))
    accepted = await desk.push.publish("app", a_publish(device("ghost"), device("here"), publish_id="ship"))
    assert accepted.expected == 1
    status = await desk.store.status("app", "ship")
    assert status is not None
    assert status.missing == ["device:ghost"]


async def test_the_trace_of_the_request_is_kept(desk: Desk) -> None:
    class Tracer:
        def headers(self) -> tuple[tuple[str, str], ...]:
            return (("traceparent", "active"),)

    desk.push.tracer = Tracer()  # type: ignore[assignment]
    await desk.push.publish("app", a_publish(publish_id="own"))
    await desk.push.publish("app", a_publish(publish_id="given"), trace=(("traceparent", "given"),))
    for publish_id, trace in (("own", "active"), ("given", "given")):
        intent = await desk.store.intent("app", publish_id)
        assert intent is not None
        assert intent.trace == (("traceparent", trace),)


# ---- refusals ----


@pytest.mark.parametrize(
    ("request_", "options", "spec", "text"),
    [
        (a_publish(RAW), {"admin": False}, errors.PUSH_CAPABILITY, "push-admin capability is required"),
        (a_publish(title="t" * 257), {}, errors.INVALID_INPUT, "title exceeds 256 bytes"),
        (a_publish(template_id="nope"), {}, errors.INVALID_INPUT, "push template nope not found"),
        (a_publish(title="{{ data.x }}"), {}, errors.INVALID_INPUT, "invalid template substitution: "),
        (
            a_publish(template_data={"x": "y" * 4200}),
            {},
            errors.PUSH_PAYLOAD_TOO_LARGE,
            "fcm payload exceeds 4096 bytes: it has ",
        ),
        (a_publish(expires_at_ms=NOW - 1), {}, errors.SCHEDULED_PUSH_INVALID, "expiresAtMs is in the past"),
        (a_publish(), {"scheduled": True}, errors.SCHEDULED_PUSH_INVALID, "a scheduled push requires notBeforeMs"),
        (
            a_publish(not_before_ms=NOW),
            {"scheduled": True},
            errors.SCHEDULED_PUSH_INVALID,
            f"notBeforeMs must be in the future: it is {NOW}, and now is {NOW}",
        ),
        (a_publish(device("ghost")), {}, errors.DEVICE_NOT_FOUND, "device 'ghost' is not registered"),
        (
            a_publish(device("ghost"), device("gone")),
            {},
            errors.DEVICE_NOT_FOUND,
            "device 'ghost' is not registered, and neither are the 1 others that the publish names",
        ),
    ],
)
async def test_refused(
    desk: Desk, request_: PublishRequest, options: dict[str, Any], spec: ErrorSpec, text: str
) -> None:
    problem = await refusal(desk, request_, **options)
    assert problem.spec is spec
    assert problem.text.startswith(text)
    assert desk.push.counters.counts == {}


async def test_a_template_that_makes_the_payload_too_long_is_refused_like_one(desk: Desk) -> None:
    locales = {"en": Localized(title="t" * 257, body="b")}
    await desk.store.put_template(Template(app_id="app", template_id="x", default_locale="en", locales=locales))
    problem = await refusal(desk, a_publish(title=None, template_id="x"))
    assert (problem.spec, problem.text) == (errors.INVALID_INPUT, "title exceeds 256 bytes")


async def test_providers_that_are_off_or_without_credentials(desk: Desk) -> None:
    desk.ready = {"fcm": Readiness(False, None, "set FCM_SERVICE_ACCOUNT_JSON"), "apns": Readiness(True)}
    problem = await refusal(desk, a_publish(RAW))
    assert problem.spec is errors.CREDENTIAL_MISSING
    assert problem.text == (
        "push admission unavailable: provider credentials are not ready (fcm: set FCM_SERVICE_ACCOUNT_JSON)"
    )
    off = Desk(providers=frozenset())
    problem = await refusal(off, a_publish())
    assert problem.spec is errors.PUSH_DISABLED
    assert problem.text == "push admission unavailable: push providers are disabled"


async def test_so_many_a_second_and_not_those_of_rules() -> None:
    desk = Desk(acceptance_rps=1)
    await desk.push.publish("app", a_publish())
    with pytest.raises(SockudoError) as caught:
        await desk.push.publish("app", a_publish())
    assert caught.value.spec is errors.PUSH_RATE_LIMITED
    assert desk.push.counters.counts["quota_acceptance_rejections_total", ("app",)] == 1
    await desk.push.publish("app", a_publish(), limited=False)
    desk.clock.advance(1)
    await desk.push.publish("app", a_publish())


async def test_too_much_waits_already() -> None:
    desk = Desk(backpressure=PushBackpressure(publish_log_max_lag=2))
    for _ in range(2):
        await desk.push.publish("app", a_publish())
    desk.clock.advance(0.3)
    with pytest.raises(SockudoError) as caught:
        await desk.push.publish("app", a_publish())
    assert caught.value.spec is errors.PUSH_BACKPRESSURE
    assert caught.value.retry_after == 5


async def test_a_queue_that_does_not_answer(desk: Desk) -> None:
    class Gone(MemoryJobQueue):
        async def depths(self, now_ms: int) -> dict[str, Depth]:
            raise errors.SERVICE_UNAVAILABLE("connection to queue.internal refused")

    desk.push.readings = QueueReadings(Gone(PUSH_QUEUE), desk.clock)
    problem = await refusal(desk, a_publish())
    assert problem.spec is errors.SERVICE_UNAVAILABLE
    assert problem.text == "push admission unavailable: the push queue does not answer"


async def test_refusals_come_in_the_order_of_the_steps() -> None:
    """Each step is repaired in turn, and shows the next."""
    desk = Desk(providers=frozenset(), acceptance_rps=1, backpressure=PushBackpressure(always=True))
    request = a_publish(RAW, title="{{ data.x }}", body="b" * 5000)

    async def next_refusal(**options: Any) -> str:
        return (await refusal(desk, request, **options)).spec.slug

    assert await next_refusal(admin=False) == "push_capability"
    assert await next_refusal() == "push_payload_too_large"
    request = request._replace(payload=a_publish(title="{{ data.x }}").payload)
    desk.ready = {}
    assert await next_refusal() == "credential_missing"
    desk.ready = {"fcm": Readiness(True)}
    assert await next_refusal() == "push_backpressure"
    assert await next_refusal() == "push_rate_limited"
    desk.clock.advance(1)
    desk.push.options = Desk(acceptance_rps=0).options
    assert await next_refusal() == "invalid_input"
    request = request._replace(payload=a_publish().payload)
    assert (await desk.push.publish("app", request)).word == "accepted"


# ---- quotas ----


async def test_a_quota_that_is_exceeded_is_an_end_and_not_an_error() -> None:
    desk = Desk(quotas=PushQuotas(fanout_max=0))
    await desk.store.put_subscription(a_subscription("news", "d"))
    with structlog.testing.capture_logs() as lines:
        first = await desk.push.publish("app", a_publish(publish_id="ship"))
        again = await desk.push.publish("app", a_publish(publish_id="ship"))
    assert (first.word, again.word) == ("quota_exceeded", "quota_exceeded")
    status = await desk.store.status("app", "ship")
    assert status is not None
    assert (status.state, status.code) == ("quota_exceeded", "quota_exceeded")
    assert status.error_reason == "fanout_max exceeded: 1 recipients, at most 0"
    assert await desk.log() == []
    assert await desk.queued() == []
    assert desk.push.counters.counts["publish_accepted_total", ("app", "quota_exceeded")] == 1
    assert [(line["event"], line["detail"]) for line in lines] == [("quota-event", {"reason": "fanout_max"})]


async def test_whoever_may_goes_over_the_quota_and_leaves_a_line() -> None:
    desk = Desk(quotas=PushQuotas(fanout_max=0))
    await desk.store.put_subscription(a_subscription("news", "d"))
    with structlog.testing.capture_logs() as lines:
        accepted = await desk.push.publish("app", a_publish(publish_id="ship"), over_quota=True)
    assert accepted.word == "accepted"
    [line] = [line for line in lines if line["event"] == "push audit"]
    assert (line["action"], line["app_id"], line["publish_id"]) == ("quotaOverride", "app", "ship")


# ---- repetitions ----


async def test_the_same_id_is_the_same_publish_whatever_it_says(desk: Desk) -> None:
    answers = [
        await desk.push.publish("app", a_publish(publish_id="ship")),
        await desk.push.publish("app", a_publish(publish_id="ship")),
        await desk.push.publish("app", a_publish(channel("other"), publish_id="ship", title="Other")),
    ]
    assert [answer.word for answer in answers] == ["accepted"] * 3
    # The previews are of what was sent now.
    assert b"Other" in answers[2].renderings[0].body
    assert await desk.log() == ["ship"]
    assert await desk.queued() == ["app:ship"]
    await desk.push.publish("other", a_publish(publish_id="ship"))
    assert [key for key in await desk.queued() if key.startswith("other")] == ["other:ship"]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("planning", "planning"),
        ("dispatching", "dispatching"),
        ("partiallySucceeded", "partially_succeeded"),
        ("dead_lettered", "dead_lettered"),
        ("quota_exceeded", "quota_exceeded"),
        ("cancelled", "cancelled"),
    ],
)
async def test_a_repetition_learns_what_became_of_the_first(desk: Desk, state: Any, word: str) -> None:
    await desk.push.publish("app", a_publish(publish_id="ship"))
    before = await desk.store.status("app", "ship")
    assert before is not None
    await desk.store.swap_status(before, _with_state(before, state))
    await desk.queued()
    desk.woken.clear()
    assert (await desk.push.publish("app", a_publish(publish_id="ship"))).word == word
    # Also when its keys have ended.
    desk.clock.advance(2 * DAY / 1000)
    assert (await desk.push.publish("app", a_publish(publish_id="ship"))).word == word
    assert await desk.log() == ["ship"]
    assert desk.woken == []


def _with_state(status: PublishStatus, state: Any) -> PublishStatus:
    return replace(status, state=state, updated_at_ms=NOW + 1)


async def test_a_repetition_is_not_refused_because_its_device_has_gone_since(desk: Desk) -> None:
    await desk.store.put_device(a_device("phone"))
    request = a_publish(device("phone"), publish_id="ship", not_before_ms=NOW + 1000)
    await desk.push.publish("app", request, scheduled=True)
    await desk.store.delete_device("app", "phone")
    desk.clock.advance(5)
    assert (await desk.push.publish("app", request, scheduled=True)).word == "accepted"


async def test_of_many_at_once_one_is_kept(desk: Desk) -> None:
    answers = await asyncio.gather(
        *(desk.push.publish("app", a_publish(publish_id="ship", title=f"n{number}")) for number in range(20))
    )
    assert {(answer.word, answer.status.publish_id) for answer in answers} == {("accepted", "ship")}
    assert await desk.log() == ["ship"]
    assert await desk.queued() == ["app:ship"]
    assert desk.push.counters.counts["publish_accepted_total", ("app", "accepted")] == 1


async def test_an_attempt_that_went_no_further_is_taken_up(desk: Desk) -> None:
    class CrashError(Exception):
        """The process ends between the store and the queue."""

    async def crash(messages: Sequence[Job], now_ms: int, *, lasting: bool) -> None:
        raise CrashError

    produce = desk.queue.put
    desk.queue.put = crash  # type: ignore[method-assign]
    with pytest.raises(CrashError):
        await desk.push.publish("app", a_publish(publish_id="ship"))
    desk.queue.put = produce  # type: ignore[method-assign]
    assert await desk.log() == ["ship"]
    assert (await desk.push.publish("app", a_publish(publish_id="ship"))).word == "accepted"
    assert await desk.queued() == ["app:ship"]


async def test_what_is_kept_is_accepted_though_the_queue_has_gone() -> None:
    """Whoever repairs finds it in the log; a second publish would notify everybody twice."""
    for repairs in (True, False):
        desk = Desk(repair_interval_secs=30 if repairs else 0)

        # The disk is waited for only where nobody repairs what the loss of power takes.
        async def gone(messages: Sequence[Job], now_ms: int, *, lasting: bool, repairs: bool = repairs) -> None:
            assert lasting is not repairs
            raise errors.SERVICE_UNAVAILABLE("gone")

        desk.queue.put = gone  # type: ignore[method-assign]
        if repairs:
            assert (await desk.push.publish("app", a_publish(publish_id="ship"))).word == "accepted"
            assert desk.woken == []
        else:
            with pytest.raises(SockudoError):
                await desk.push.publish("app", a_publish(publish_id="ship"))
        assert await desk.log() == ["ship"]


async def test_nothing_is_promised_that_the_store_does_not_keep() -> None:
    class Full(MemoryPushStore):
        async def accept(
            self, status: PublishStatus, intent: PublishIntent | None, keys: Sequence[str], keys_until_ms: int
        ) -> PublishStatus | None:
            raise errors.SERVICE_UNAVAILABLE("the disk is full")

    desk = Desk(Full())
    assert (await refusal(desk, a_publish())).spec is errors.SERVICE_UNAVAILABLE


# ---- secrets ----


async def test_nothing_of_what_is_said_or_to_whom_is_ever_logged(capfd: pytest.CaptureFixture[str]) -> None:
    desk = Desk(quotas=PushQuotas(fanout_max=0))
    planted = a_publish(
        RAW,
        title="planted-title",
        body="planted-body",
        template_data={"planted-key": "planted-value"},
        overrides=[Override(provider="fcm", payload={"planted-override": 1})],
    )
    with structlog.testing.capture_logs() as lines:
        await desk.push.publish("app", planted)
        await desk.push.publish("app", planted, over_quota=True)
        with pytest.raises(SockudoError) as caught:
            await desk.push.publish("app", planted._replace(payload=a_publish(title="{{ planted").payload))
    assert len(lines) == 3
    told = [*map(repr, lines), caught.value.text, repr(planted), *capfd.readouterr()]
    assert "planted" not in " ".join(told)


# ---- over every store ----


async def test_over_the_embedded_store_and_queue(tmp_path: Any) -> None:
    """The same over SQLite: kept, and one of many at once."""
    async with (
        PushPlace("sqlite", tmp_path, None).open() as store,
        QueuePlace("sqlite", tmp_path, None, "p").open() as queue,
    ):
        desk = Desk(store)
        push = Push(store, queue, desk.clock, desk._ready, desk.push.rules, desk.options)
        answers = await asyncio.gather(*(push.publish("app", a_publish(publish_id=f"p{n % 5}")) for n in range(50)))
        assert {answer.word for answer in answers} == {"accepted"}
        assert sorted(intent.publish_id for intent in await store.intents("app", "", 100)) == [
            f"p{n}" for n in range(5)
        ]
        leases = await queue.lease("publish_log", 100, NOW, NOW + 30_000)
        assert sorted(lease.job.key for lease in leases) == [f"app:p{n}" for n in range(5)]
