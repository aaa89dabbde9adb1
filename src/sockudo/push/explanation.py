"""What is found out about somebody who got no notification, and about a publish that did not reach everybody.

Ours alone: the dashboard, the HTTP API and the command line show the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sockudo.errors import ErrorSpec
from sockudo.push.outcomes import delivery_view
from sockudo.push.records import DeliveryEvent, Device, PublishStatus
from sockudo.push.registrations import device_view

__all__ = ["Explanation", "Finding", "Reach"]


class Finding(NamedTuple):
    """One thing that was found: in words, how bad it is, and the row of the catalogue that says what to do.

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

    ``why`` says it in words; ``events`` are the outcomes, the oldest first, and empty where nothing was sent.
    ``reached`` says that the provider took it for every device.
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
