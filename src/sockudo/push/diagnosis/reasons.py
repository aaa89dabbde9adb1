"""Why a recipient got no notification: all that is known of a device, client or publish, with the remedy. Ours alone.

The dashboard, the HTTP API and the command line ask here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.delivery import Readiness
from sockudo.push.diagnosis.advice import STATE_WORDS, row_of_class, row_of_status, state_sentence
from sockudo.push.diagnosis.findings import (
    CANCELLED_REMEDY,
    MOVING_REMEDY,
    WAITING_REMEDY,
    Explanation,
    Finding,
    Reach,
    about_publish,
)
from sockudo.push.paging import event_position
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import TERMINAL, DeliveryEvent, Device, PublishStatus, Target
from sockudo.push.service import Push
from sockudo.push.validation import check_id

__all__ = ["THOROUGH_SECONDS", "explained", "waits_for"]

_LOOKED_AT: Final = 20
"""Publishes that are gone through, the newest."""

_MOST_TARGETS: Final = 5
_MOST_DEVICES: Final = 50
_MOST_CHANNELS: Final = 200
_MOST_EVENTS: Final = 20

_SUBSCRIBE_REMEDY: Final = (
    "Subscribe the device: POST /apps/ID/push/channelSubscriptions with its deviceId and the channel."
)
_RULES_REMEDY: Final = (
    "Look at the targets of the publish: a channel reaches the devices that are subscribed to it. An event becomes a "
    "publish only where event_filter and channel_pattern of a [[push_rules]] match it, or by its extras.push."
)

_SECONDS: Final = 0.03
"""For so long publishes are gone through unless more is asked for: large ones take their time."""

THOROUGH_SECONDS: Final = 10.0
"""For who asks for more."""


async def explained(
    push: Push, app_id: str, who: str, publish_id: str | None = None, *, seconds: float = _SECONDS
) -> Explanation:
    """What is known of ``who``, the id of a device or of a client: of one publish, or of the newest ones, as many as
    can be gone through in so many seconds, one at least. An id that neither has may be that of a publish.

    A device that is gone is looked for, too, among the outcomes. Raises errors.PUBLISH_NOT_FOUND,
    errors.INVALID_INPUT for an id that nothing can have, and errors.SERVICE_UNAVAILABLE.
    """
    check_id(who, "who")
    devices = await _devices(push, app_id, who)
    if not devices and publish_id is None and (asked := await push.store.status(app_id, who)) is not None:
        events = await push.store.events(app_id, who, "", _MOST_EVENTS)
        return about_publish(asked, await waits_for(push, asked), events, push.now_ms())
    channels = {each.id: await _channels(push, app_id, each.id) for each in devices}
    ready = await push.ready(app_id)
    statuses = await _statuses(push, app_id, publish_id)
    reaches, looked_at, until = [], 0, push.clock.monotonic() + seconds
    for status in statuses:
        if looked_at and push.clock.monotonic() >= until:
            break
        looked_at += 1
        reach = await _reach(push, status, who, devices, channels, ready)
        if reach is not None:
            reaches.append(reach)
    findings = list(_of_devices(who, devices, channels, ready))
    if reaches:
        findings += _of_reaches(reaches, devices)
    else:
        findings += await _of_nothing(push, devices, statuses[:looked_at], asked=publish_id is not None)
    return Explanation(
        app_id=app_id,
        who=who,
        of=_kind_of(who, devices),
        devices=devices,
        channels=channels,
        reaches=reaches,
        findings=findings,
        looked_at=looked_at,
        complete=looked_at == len(statuses),
    )


def _kind_of(who: str, devices: Sequence[Device]) -> Literal["device", "client"] | None:
    if not devices:
        return None
    return "device" if devices[0].id == who else "client"


async def waits_for(push: Push, status: PublishStatus) -> list[dict[str, str]]:
    """Providers that cannot send for the app while something waits for them, with what is missing: what is left of the
    publish may be theirs. Empty once nothing is left of it.
    """
    if status.state != "dispatching" or status.counters.settled >= status.counters.planned:
        return []
    ready = await push.ready(status.app_id)
    try:
        depths = await push.readings.depths()
    except SockudoError:
        # How the queue is, is not what was asked for.
        return []
    waiting = {stage for stage, depth in depths.items() if depth.ready or depth.delayed or depth.inflight}
    return [
        {"provider": ROUTE_NAMES[provider], "missing": found.missing or "it has no credentials"}
        for provider, found in ready.items()
        if not found.ready and f"delivery_jobs_{ROUTE_NAMES[provider]}" in waiting
    ]


async def _devices(push: Push, app_id: str, who: str) -> list[Device]:
    own = await push.store.device(app_id, who)
    of_client = await push.store.devices_of(app_id, who, "", _MOST_DEVICES)
    return [*([own] if own is not None else []), *(each for each in of_client if own is None or each.id != own.id)]


async def _channels(push: Push, app_id: str, device_id: str) -> list[str]:
    rows = await push.store.subscriptions(app_id, device_id=device_id, after="", limit=_MOST_CHANNELS)
    return [row.channel for row in rows]


async def _statuses(push: Push, app_id: str, publish_id: str | None) -> list[PublishStatus]:
    if publish_id is None:
        return await push.store.statuses(app_id, states=None, after="", limit=_LOOKED_AT)
    status = await push.store.status(app_id, publish_id)
    if status is None:
        raise errors.PUBLISH_NOT_FOUND(f"This app has no push publish '{publish_id[:100]}'")
    return [status]


# ---- what became of one publish ----


async def _reach(
    push: Push,
    status: PublishStatus,
    who: str,
    devices: Sequence[Device],
    channels: Mapping[str, list[str]],
    ready: Mapping[Provider, Readiness],
) -> Reach | None:
    """None for a publish that was not meant for them."""
    intent = await push.store.intent(status.app_id, status.publish_id)
    meant = intent is not None and any(_names(target, who, devices, channels) for target in intent.targets)
    events: list[DeliveryEvent] = []
    # A device that is gone may have been on any channel.
    if meant or not devices:
        for device_id in [each.id for each in devices] or [who]:
            events += await push.store.events(status.app_id, status.publish_id, "", _MOST_EVENTS, device_id=device_id)
    named = any(name.partition(":")[2] == who for name in status.missing)
    if not (events or meant or named):
        return None
    if not events:
        return _untold(status, devices, ready, push.now_ms())
    last = list({event.result.device_id: event for event in sorted(events, key=event_position)}.values())
    failed = [event for event in last if event.result.outcome != "accepted"]
    why, row = _told(status, (failed or last)[0])
    if failed and len(last) > 1:
        why = f"{failed[0].result.device_id}: {why}"
    return Reach(status, sorted(events, key=event_position), why, row, reached=not failed)


def _names(target: Target, who: str, devices: Sequence[Device], channels: Mapping[str, list[str]]) -> bool:
    match target.type:
        case "device":
            return target.device_id == who or any(target.device_id == each.id for each in devices)
        case "client":
            return target.client_id == who or any(target.client_id == each.client_id for each in devices)
        case "channel":
            return any(target.channel in names for names in channels.values())
        case _:
            return False


def _told(status: PublishStatus, event: DeliveryEvent) -> tuple[str, ErrorSpec | None]:
    result = event.result
    name = ROUTE_NAMES[result.provider]
    error = result.error
    answer = "" if error is None or error.reason is None else f" It said: {error.reason}."
    row = None if error is None else row_of_class(error.kind, result.provider)
    match result.outcome:
        case "accepted":
            return f"{name} took it: what happens to it on the way to the screen is up to the device.", None
        case "expired":
            return f"It expired before it could be sent to {name}.", errors.PUSH_EXPIRED
        case "cancelled":
            return "It was cancelled before it was sent.", None
        case "retryable" if status.state in TERMINAL:
            # The end of a retry is counted, and is no outcome of a send.
            counters, last = status.counters, f"{name} did not take it at attempt {result.attempt}, which was the last"
            if counters.expired and not counters.dead_lettered:
                return f"{last}: it expired before another one.{answer}", errors.PUSH_EXPIRED
            end = "given up after the retries" if counters.dead_lettered else f"{STATE_WORDS[status.state]} then"
            return f"{last}: it was {end}.{answer}", row
        case "retryable":
            return f"{name} did not take it at attempt {result.attempt}: it is tried again.{answer}", row
        case _:
            gone = " The device was removed for that." if error is not None and error.kind == "invalid_token" else ""
            return f"{name} refused it.{answer}{gone}", row


def _untold(
    status: PublishStatus, devices: Sequence[Device], ready: Mapping[Provider, Readiness], now_ms: int
) -> Reach:
    """Why nothing has been sent of a publish."""
    row = row_of_status(status.state, status.code, status.error_reason)
    if status.state not in TERMINAL:
        if status.not_before_ms is not None and status.not_before_ms > now_ms:
            return Reach(status, [], "It waits for its time (notBeforeMs).", remedy=WAITING_REMEDY)
        lacking = [each for each in devices if not _is_ready(ready, each.recipient.provider)]
        if lacking:
            text = f"It waits: {ROUTE_NAMES[lacking[0].recipient.provider]} cannot send now."
            return Reach(status, [], text, errors.CREDENTIAL_MISSING)
        return Reach(status, [], f"{state_sentence(status.state)}.", row, remedy=None if row else MOVING_REMEDY)
    if status.state in ("quota_exceeded", "expired", "cancelled") or row is not None:
        reason = f": {status.error_reason}" if status.error_reason else ""
        remedy = CANCELLED_REMEDY if status.state == "cancelled" else None
        return Reach(status, [], f"{state_sentence(status.state)}{reason}.", row, remedy=remedy)
    text = "It was sent to others: this device was not among the recipients when it was planned."
    return Reach(status, [], text, errors.NO_RECIPIENTS)


# ---- what stands out ----


def _of_devices(
    who: str, devices: Sequence[Device], channels: Mapping[str, list[str]], ready: Mapping[Provider, Readiness]
) -> Iterator[Finding]:
    if not devices:
        yield Finding("bad", f"No device has the id {who}, and no client of that id has one.", errors.DEVICE_NOT_FOUND)
    for device in devices:
        if device.state == "FAILED":
            yield Finding(
                "warn",
                f"Device {device.id} is FAILED after {device.failure_count} failures in a row.",
                remedy="Register it again from the app: that takes a fresh token and makes it ACTIVE.",
            )
        elif device.state == "FAILING":
            yield Finding("warn", f"Device {device.id} is FAILING: {device.failure_count} failures in a row.")
        if not channels[device.id]:
            yield Finding(
                "info",
                f"Device {device.id} is on no channel: only what is sent to its id or its client's reaches it.",
                remedy=_SUBSCRIBE_REMEDY,
            )
    for provider in dict.fromkeys(each.recipient.provider for each in devices):
        if not _is_ready(ready, provider):
            name = ROUTE_NAMES[provider]
            found = ready.get(provider)
            missing = (None if found is None else found.missing) or f"push.{name}_enabled is off"
            yield Finding("bad", f"{name} cannot send for this app: {missing}.", errors.CREDENTIAL_MISSING)


async def _of_nothing(
    push: Push, devices: Sequence[Device], statuses: Sequence[PublishStatus], *, asked: bool
) -> list[Finding]:
    """That nothing was meant for them, and for whom the newest one was."""
    unknown = Finding("info", "No publish of the app has this id, either.", errors.PUBLISH_NOT_FOUND)
    neither = [unknown] if not (devices or asked) else []
    if not statuses:
        text = "The app has not published a notification yet, or none is kept any more."
        return [Finding("warn", text, remedy=_RULES_REMEDY), *neither]
    newest = statuses[0]
    name = newest.publish_id
    intent = await push.store.intent(newest.app_id, name)
    targets = "" if intent is None else _words(intent.targets)
    others = f" It went to {targets}." if asked and targets else f" The newest, {name}, went to {targets}."
    where = f"Publish {name} was not" if asked else f"None of the newest {len(statuses)} publishes was"
    remedy = _RULES_REMEDY
    if devices and intent is not None and any(target.type == "channel" for target in intent.targets):
        remedy = f"{_SUBSCRIBE_REMEDY} {_RULES_REMEDY}"
    text = f"{where} meant for them.{others if targets else ''}"
    return [Finding("warn", text, remedy=remedy, publish_id=name if asked else None), *neither]


def _words(targets: Sequence[Target]) -> str:
    """Targets for people; a raw recipient is not shown."""
    found = []
    for target in targets[:_MOST_TARGETS]:
        name = target.device_id or target.client_id or target.channel
        found.append(f"the {target.type} {name}" if name is not None else f"a {target.type}")
    more = len(targets) - _MOST_TARGETS
    return ", ".join(found) + (f" and {more:,} more" if more > 0 else "")


def _of_reaches(reaches: Sequence[Reach], devices: Sequence[Device]) -> Iterator[Finding]:
    """The newest failure of each kind; that the newest one was taken."""
    seen: set[tuple[ErrorSpec | None, str | None]] = set()
    for reach in reaches:
        kind_of_it = reach.row, reach.remedy
        if reach.reached or kind_of_it in seen:
            continue
        seen.add(kind_of_it)
        name = reach.status.publish_id
        yield Finding(
            "bad" if reach.row is not None else "info",
            f"Publish {name}: {reach.why}",
            reach.row,
            reach.remedy,
            publish_id=name,
        )
    if devices and reaches[0].reached:
        yield Finding(
            "info",
            f"The newest one, {reaches[0].status.publish_id}, was taken by the provider.",
            remedy="Look at the device: whether it is online, lets the app notify and is in no quiet mode, and whether "
            "the app shows what it gets.",
            publish_id=reaches[0].status.publish_id,
        )


def _is_ready(ready: Mapping[Provider, Readiness], provider: Provider) -> bool:
    found = ready.get(provider)
    return found is not None and found.ready
