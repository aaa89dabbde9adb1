"""What the area asks of push, also while it is off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from starlette.requests import Request

from sockudo import errors
from sockudo.dashboard.asked import known_app
from sockudo.dashboard.board import Board
from sockudo.push.diagnosis.advice import refused_lately, row_of_class, row_of_status
from sockudo.push.diagnosis.findings import Explanation
from sockudo.push.diagnosis.reasons import THOROUGH_SECONDS, explained, waits_for
from sockudo.push.directory import Directory, device_view
from sockudo.push.lifecycle import funnel
from sockudo.push.outcomes import dead_letter_view, delivery_view, publish_status, state_named, status_view
from sockudo.push.paging import dead_letter_position, event_position, status_position
from sockudo.push.recipients import ROUTE_NAMES, Provider, provider_named
from sockudo.push.records import Device, PublishStatus, State
from sockudo.push.service import Push
from sockudo.push.services import PushServices
from sockudo.push.trial import TRIED

__all__ = [
    "PushArea",
    "Slice",
    "asked_provider",
    "chosen_app",
    "dead_letters",
    "deliveries",
    "devices",
    "directory",
    "opened",
    "publish_shown",
    "publishes",
    "readiness",
    "refused",
    "why",
    "why_off",
]

PER_PAGE: Final = 50
_LONGEST_POSITION: Final = 600
_CONSIDERED: Final = 20

Row = TypeVar("Row")


class PushArea(NamedTuple):
    """What the pages look at and act on."""

    board: Board
    push: PushServices


def why_off(area: PushArea) -> str | None:
    """Why there is no push at all; None when there is."""
    if area.push.serving() is not None:
        return None
    settings = area.board.settings.push
    if any(getattr(settings, f"{ROUTE_NAMES[name]}_enabled") for name in TRIED):
        return "Push does not work now: its store or queue cannot be reached. The server's log says why."
    return "Push is off on this server: no provider is switched on in [push], such as push.webpush_enabled."


def opened(area: PushArea) -> Push:
    """Push itself. Raises errors.PUSH_DISABLED."""
    push = area.push.serving()
    if push is None:
        raise errors.PUSH_DISABLED(why_off(area))
    return push


async def directory(area: PushArea) -> Directory:
    """What is kept besides publishes, opened if need be. Raises errors.SERVICE_UNAVAILABLE."""
    return await area.push.open_directory()


async def chosen_app(area: PushArea, request: Request) -> str | None:
    """The app in the query, else the one of the first that published last; None where there is no app.

    Raises errors.APP_NOT_FOUND.
    """
    given = request.query_params.get("app_id")
    if given:
        return known_app(area.board, given).id
    apps = [app.id for app in area.board.apps.all()]
    push = area.push.serving()
    if len(apps) < 2 or push is None:
        return next(iter(apps), None)
    store = push.store
    newest = [await store.statuses(app_id, states=None, after="", limit=1) for app_id in apps[:_CONSIDERED]]
    latest = max(range(len(newest)), key=lambda place: newest[place][0].created_at_ms if newest[place] else -place)
    return apps[latest]


def asked_provider(text: str) -> Provider:
    """Raises errors.INVALID_INPUT."""
    found = provider_named(text)
    if found is None or found not in TRIED:
        raise errors.INVALID_INPUT(f"provider must be one of {', '.join(ROUTE_NAMES[name] for name in TRIED)}")
    return found


# ---- lists ----


class Slice(NamedTuple):
    """Part of a list that is walked through from its beginning: ``after`` is where the next part begins."""

    rows: list[dict[str, Any]]
    after: str | None

    def body(self) -> dict[str, Any]:
        """As the API gives it."""
        return {"items": self.rows, "after": self.after, "has_more": self.after is not None}


NOTHING: Final = Slice([], None)


def _slice(rows: Sequence[Row], position: Callable[[Row], str], view: Callable[[Row], dict[str, Any]]) -> Slice:
    shown = rows[:PER_PAGE]
    return Slice([view(row) for row in shown], position(shown[-1]) if len(rows) > PER_PAGE else None)


def _after(request: Request) -> str:
    text = request.query_params.get("after", "")
    if len(text) > _LONGEST_POSITION:
        raise errors.INVALID_INPUT("after is not one of this list")
    return text


async def publishes(area: PushArea, request: Request, app_id: str) -> Slice:
    """The newest first; ``?state=`` and ``?after=``. Raises errors.INVALID_INPUT for a state that there is not."""
    wanted = request.query_params.get("state")
    states: list[State] | None = [state_named(wanted)] if wanted else None
    push = area.push.serving()
    if push is None:
        return NOTHING
    rows = await push.store.statuses(app_id, states=states, after=_after(request), limit=PER_PAGE + 1)
    return _slice(rows, status_position, _publish_view)


def _publish_view(status: PublishStatus) -> dict[str, Any]:
    return {**status_view(status), "funnel": funnel(status.counters)._asdict()}


async def publish_shown(area: PushArea, app_id: str, publish_id: str) -> dict[str, Any]:
    """One publish: its funnel, and what each failure means. Raises errors.PUBLISH_NOT_FOUND."""
    push = opened(area)
    status = await publish_status(push.store, app_id, publish_id)
    row = row_of_status(status.state, status.code, status.error_reason)
    failures = []
    for sample in status.failures:
        about = row_of_class(sample.code, sample.provider)
        failures.append(
            {
                "provider": ROUTE_NAMES[sample.provider],
                "class": sample.code,
                "failureClass": sample.failure_class,
                "count": sample.count,
                "deviceId": sample.device_id,
                "reason": sample.reason,
                "code": None if about is None else about.slug,
                "meaning": None if about is None else about.meaning,
                "remedy": None if about is None else about.remedy,
            }
        )
    explanation = None if row is None else {"code": row.slug, "meaning": row.meaning, "remedy": row.remedy}
    cancellable = (status.not_before_ms or 0) > push.now_ms() and status.state in _ACTIVE
    shown = {
        "waitsFor": await waits_for(push, status),
        "failures": failures,
        "explanation": explanation,
        "active": status.state in _ACTIVE,
        "cancellable": cancellable,
    }
    return {**_publish_view(status), **shown}


_ACTIVE: Final[frozenset[State]] = frozenset({"queued", "planning", "throttled", "dispatching"})


async def deliveries(area: PushArea, request: Request, app_id: str, publish_id: str) -> Slice:
    """What became of single recipients, the oldest first; ``?device_id=`` and ``?after=``."""
    device_id = request.query_params.get("device_id") or None
    rows = await opened(area).store.events(app_id, publish_id, _after(request), PER_PAGE + 1, device_id=device_id)
    return _slice(rows, event_position, delivery_view)


async def dead_letters(area: PushArea, request: Request, app_id: str) -> Slice:
    """The oldest first; ``?provider=`` and ``?after=``."""
    given = request.query_params.get("provider")
    provider = asked_provider(given) if given else None
    push = area.push.serving()
    if push is None:
        return NOTHING
    rows = await push.store.dead_letters(
        app_id, provider=provider, since_ms=None, until_ms=None, after=_after(request), limit=PER_PAGE + 1
    )
    return _slice(rows, dead_letter_position, dead_letter_view)


async def devices(area: PushArea, request: Request, app_id: str) -> Slice:
    """By id; ``?q=`` is the id of a device or of a client, ``?after=``."""
    push = area.push.serving()
    if push is None:
        return NOTHING
    store, wanted, after = push.store, request.query_params.get("q", "").strip(), _after(request)
    if not wanted:
        rows = await store.devices(app_id, after, PER_PAGE + 1)
        return _slice(rows, lambda device: device.id, device_view)
    rows = await store.devices_of(app_id, wanted, after, PER_PAGE + 1)
    own: Device | None = None if after else await store.device(app_id, wanted)
    if own is not None and all(row.id != own.id for row in rows):
        rows = [own, *rows]
    return _slice(rows, lambda device: device.id, device_view)


# ---- providers ----


async def readiness(area: PushArea, app_id: str) -> list[dict[str, Any]]:
    """Each provider: whether it can send for the app, with which credentials, or what is missing."""
    settings = area.board.settings.push
    push = area.push.serving()
    ready = {} if push is None else await push.ready(app_id)
    stored = await _stored(area, app_id)
    shown = []
    for provider in TRIED:
        name = ROUTE_NAMES[provider]
        enabled = bool(getattr(settings, f"{name}_enabled"))
        found = ready.get(provider)
        missing = None if found is None or found.ready else found.missing
        shown.append(
            {
                "provider": name,
                "enabled": enabled,
                "ready": enabled and found is not None and found.ready,
                "source": None if found is None else found.source,
                "missing": missing if enabled else f"push.{name}_enabled is off (PUSH_{name.upper()}_ENABLED)",
                "stored": [each for each in stored if ROUTE_NAMES[each["provider"]] == name],
            }
        )
    return shown


async def _stored(area: PushArea, app_id: str) -> list[dict[str, Any]]:
    push = area.push.serving()
    if push is None:
        return []
    rows = await push.store.credentials(app_id, "", 200)
    return [
        {
            "credentialId": row.credential_id,
            "provider": row.provider,
            "version": row.version,
            "updatedAtMs": row.updated_at_ms,
        }
        for row in rows
    ]


# ---- why ----


async def why(area: PushArea, request: Request, app_id: str, who: str, publish_id: str | None) -> Explanation:
    """See `sockudo.push.diagnosis.reasons.explained`; ``?thorough=yes`` goes through more than can be at once."""
    push = opened(area)
    if request.query_params.get("thorough") == "yes":
        return await explained(push, app_id, who, publish_id, seconds=THOROUGH_SECONDS)
    return await explained(push, app_id, who, publish_id)


# ---- what never became a publish ----


def refused(area: PushArea, app_id: str) -> list[dict[str, Any]]:
    """See `sockudo.push.diagnosis.advice.refused_lately`."""
    return refused_lately(area.board.gateway.inspector.problems, app_id)
