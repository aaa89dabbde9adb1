"""Findings about a recipient who got no notification, and about a publish that did not reach all
(spec: push § 6, 12). Plain decisions, no IO.

The dashboard, the HTTP API and the command line show the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from sockudo import errors
from sockudo.errors import ErrorSpec
from sockudo.push.diagnosis.advice import STATE_WORDS, row_of_class, row_of_status, state_sentence
from sockudo.push.directory import device_view
from sockudo.push.lifecycle import funnel
from sockudo.push.outcomes import delivery_view
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.records import TERMINAL, DeliveryEvent, Device, FailureSample, PublishStatus

__all__ = ["CANCELLED_REMEDY", "MOVING_REMEDY", "WAITING_REMEDY", "Explanation", "Finding", "Reach", "about_publish"]

CANCELLED_REMEDY: Final = (
    "If it is to be sent after all, publish it under another id: under this one it is answered that it is cancelled."
)
WAITING_REMEDY: Final = "Wait until then; or cancel it, and publish it under another id without notBeforeMs."
MOVING_REMEDY: Final = "Ask again in a moment; `sockudo push status ID` shows how far it is."

_MOST_NAMED: Final = 10


class Finding(NamedTuple):
    """One thing that was found: in words, its severity, and the row of the catalogue with the remedy.

    ``kind`` is ``bad`` for what keeps notifications away, ``warn`` for what may, ``info`` for the rest.
    """

    kind: Literal["bad", "warn", "info"]
    text: str
    row: ErrorSpec | None = None
    remedy: str | None = None
    publish_id: str | None = None

    @property
    def advice(self) -> str | None:
        return self.remedy or (None if self.row is None else self.row.remedy)


class Reach(NamedTuple):
    """A publish that was meant for the device or the client, or that was asked for itself, and what became of it there.

    ``why`` is the reason in words; ``events`` are the outcomes, the oldest first, and empty where nothing was sent.
    ``reached``: the provider took it for every device.
    """

    status: PublishStatus
    events: Sequence[DeliveryEvent]
    why: str
    row: ErrorSpec | None = None
    reached: bool = False
    remedy: str | None = None


class Explanation(NamedTuple):
    """``channels`` are those of each device. ``looked_at`` is how many publishes were gone through, and ``complete``
    whether these are as many as are ever gone through.
    """

    app_id: str
    who: str
    of: Literal["device", "client", "publish"] | None
    devices: Sequence[Device]
    channels: Mapping[str, Sequence[str]]
    reaches: Sequence[Reach]
    findings: Sequence[Finding]
    looked_at: int
    complete: bool

    @property
    def delivered(self) -> bool:
        """Whether providers took everything that was looked at, and nothing was found that keeps the next one away."""
        if any(finding.kind != "info" for finding in self.findings):
            return False
        return bool(self.reaches) and all(reach.reached for reach in self.reaches)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; without tokens and endpoints."""
        return {
            "appId": self.app_id,
            "who": self.who,
            "of": self.of,
            "delivered": self.delivered,
            "findings": [_finding_view(finding) for finding in self.findings],
            "devices": [{**device_view(each), "channels": self.channels[each.id]} for each in self.devices],
            "publishes": [_reach_view(reach) for reach in self.reaches],
            "lookedAt": self.looked_at,
            "complete": self.complete,
        }


def _finding_view(finding: Finding) -> dict[str, Any]:
    shown = {
        "kind": finding.kind,
        "text": finding.text,
        "code": None if finding.row is None else finding.row.slug,
        "remedy": finding.advice,
        "publishId": finding.publish_id,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _reach_view(reach: Reach) -> dict[str, Any]:
    return {
        "publishId": reach.status.publish_id,
        "state": reach.status.state,
        "createdAtMs": reach.status.created_at_ms,
        "reached": reach.reached,
        "why": reach.why,
        "code": None if reach.row is None else reach.row.slug,
        "deliveries": [delivery_view(event) for event in reach.events],
    }


# ---- a publish, from its status ----


def about_publish(
    status: PublishStatus, lacking: Sequence[Mapping[str, str]], events: Sequence[DeliveryEvent], now_ms: int
) -> Explanation:
    """``lacking`` are the providers that it waits for, ``events`` some of its outcomes."""
    reached = status.state == "succeeded"
    row = row_of_status(status.state, status.code, status.error_reason)
    reach = Reach(status, events, f"{state_sentence(status.state)}.", row, reached=reached)
    findings = list(_of_status(status, lacking, now_ms))
    return Explanation(status.app_id, status.publish_id, "publish", [], {}, [reach], findings, 1, complete=True)


def _of_status(status: PublishStatus, lacking: Sequence[Mapping[str, str]], now_ms: int) -> Iterator[Finding]:
    name = status.publish_id
    for each in lacking:
        text = f"{each['provider']} cannot send for this app, and its recipients wait: {each['missing']}."
        yield Finding("bad", text, errors.CREDENTIAL_MISSING, publish_id=name)
    for sample in status.failures:
        yield _of_failure(sample, name, reached=status.state == "succeeded")
    if status.missing:
        names = ", ".join(status.missing[:_MOST_NAMED])
        more = len(status.missing) - _MOST_NAMED
        names += f" and {more:,} more" if more > 0 else ""
        kind: Literal["bad", "warn"] = "bad" if status.state == "failed" else "warn"
        yield Finding(
            kind, f"No device was there to be notified behind {names}.", errors.NO_RECIPIENTS, publish_id=name
        )
    yield from _of_ends(status)
    if status.state == "cancelled":
        yield Finding("bad", "It was cancelled before it was sent.", remedy=CANCELLED_REMEDY, publish_id=name)
    elif status.state == "succeeded":
        yield Finding(
            "info",
            f"Providers took it for everybody: {status.counters.succeeded:,} of {status.counters.planned:,}.",
            remedy="Ask about the device or the client that shows nothing: `sockudo push why ID`.",
            publish_id=name,
        )
    elif status.state not in TERMINAL:
        yield _of_progress(status, now_ms)


def _of_failure(sample: FailureSample, publish_id: str, *, reached: bool) -> Finding:
    who = "a raw recipient" if sample.device_id is None else f"device {sample.device_id}"
    answer = "" if sample.reason is None else f" It said: {sample.reason}."
    times = "once" if sample.count == 1 else f"{sample.count:,} times"
    text = f"{ROUTE_NAMES[sample.provider]} answered {sample.code} {times}, for example for {who}.{answer}"
    # What was tried again with success keeps nothing away.
    row = row_of_class(sample.code, sample.provider)
    return Finding("info" if reached else "bad", text, row, publish_id=publish_id)


def _of_ends(status: PublishStatus) -> Iterator[Finding]:
    """What state and counters show by themselves, without a provider's answer."""
    counters, name = status.counters, status.publish_id
    if counters.expired or status.state == "expired":
        text = f"{counters.expired:,} of {counters.planned:,} expired before they could be sent."
        yield Finding("bad", text, errors.PUSH_EXPIRED, publish_id=name)
    if counters.dead_lettered or status.state == "dead_lettered":
        text = f"{counters.dead_lettered:,} of {counters.planned:,} were given up after the retries."
        yield Finding("bad", text, errors.PUSH_RETRIES_EXHAUSTED, publish_id=name)
    if status.state == "quota_exceeded":
        yield Finding("bad", f"Nothing was sent: {status.error_reason}.", errors.PUSH_QUOTA_EXCEEDED, publish_id=name)
    if status.state == "failed" and not (status.failures or status.missing):
        row = row_of_status(status.state, status.code, status.error_reason)
        text = f"It {STATE_WORDS[status.state]}: {status.error_reason or 'no reason was kept'}."
        yield Finding("bad", text, row, publish_id=name)


def _of_progress(status: PublishStatus, now_ms: int) -> Finding:
    name = status.publish_id
    if status.not_before_ms is not None and status.not_before_ms > now_ms:
        return Finding("info", "It waits for its time (notBeforeMs).", remedy=WAITING_REMEDY, publish_id=name)
    counts = funnel(status.counters)
    text = f"It is {STATE_WORDS[status.state]}: {counts.settled:,} of {counts.planned:,} are settled"
    text += f", {counts.retrying:,} are tried again." if counts.retrying else "."
    return Finding("info", text, remedy=MOVING_REMEDY, publish_id=name)
