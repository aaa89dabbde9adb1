"""Events of the HTTP API that become notifications: by a rule, or because they say so (spec: push § 9)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.spans import TraceHeaders
from sockudo.base.tasks import end_tasks
from sockudo.base.windows import KeyedWindows
from sockudo.config.push_rules import PushRule
from sockudo.errors import SockudoError
from sockudo.push.bodies import PublishRequest, payload_from
from sockudo.push.records import Payload, Target
from sockudo.push.service import Push

__all__ = ["Background", "EventRules", "Refused", "Waiting", "mapped"]

Refused = Callable[[str, PublishRequest, SockudoError], None]
"""Hears of an app's publish that was refused, and why."""

_CAPACITY: Final = 10_000
_WORKERS: Final = 8

_log = structlog.get_logger("sockudo.push")

_SECONDS: Final = 1

_decode: Final = msgspec.json.Decoder().decode


class Waiting(NamedTuple):
    """A publish of an app, and the trace that it is a part of."""

    app_id: str
    request: PublishRequest
    trace: TraceHeaders = ()


class Background:
    """Accepts publishes a few at a time; what does not fit is dropped, counted and logged.

    They are in this process alone until they are accepted. ``refused`` hears of each that is not.
    """

    def __init__(self, push: Callable[[], Push | None], refused: Refused, *, capacity: int = _CAPACITY) -> None:
        self._push = push
        self._refused = refused
        self._capacity = capacity
        self._waiting: deque[Waiting] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def add(self, waiting: Waiting) -> None:
        """Never waits."""
        if len(self._waiting) >= self._capacity:
            self._drop(waiting)
            return
        self._waiting.append(waiting)
        if len(self._workers) < _WORKERS:
            # In a context of its own: it goes on with what others add.
            task = asyncio.get_running_loop().create_task(self._work(), context=Context())
            self._workers.add(task)
            task.add_done_callback(self._end)

    async def idle(self) -> None:
        """Returns when nothing waits."""
        while self._workers:
            await asyncio.wait(self._workers)

    async def close(self, seconds: float = 5.0) -> None:
        """Gives what waits so long to be accepted."""
        workers = set(self._workers)
        if workers:
            await asyncio.wait(workers, timeout=seconds)
        await end_tasks(workers)
        if self._waiting:
            _log.error("notifications of rules are lost with the process", lost=len(self._waiting))
            self._waiting.clear()

    async def _work(self) -> None:
        while self._waiting:
            app_id, request, trace = self._waiting.popleft()
            try:
                push = self._push()
                if push is None:
                    raise errors.PUSH_DISABLED("push is off: no provider is switched on")
                await push.publish(app_id, request, limited=False, trace=trace)
            except SockudoError as problem:
                self._refused(app_id, request, problem)
                _log.warning(
                    "a notification of a rule is not sent", app_id=app_id, error=problem.spec.slug, reason=problem.text
                )

    def _drop(self, waiting: Waiting) -> None:
        app_id = waiting.app_id
        self.dropped += 1
        self._refused(app_id, waiting.request, errors.PUSH_BACKPRESSURE("too many notifications of rules wait"))
        push = self._push()
        if push is not None:
            push.counters.count("rate_dropped_total", app_id)
        if self.dropped & (self.dropped - 1) == 0:
            _log.error("notifications of rules are dropped: too many wait", app_id=app_id, dropped=self.dropped)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("notifications of rules have stopped", exc_info=problem)
            # The others are not lost for that.
            if self._waiting:
                self.add(self._waiting.popleft())


class EventRules:
    """A `sockudo.publishing.pushes.EventPushes`. ``push`` gives None while push is off. ``refused`` hears of what rules
    made and push did not take.
    """

    def __init__(
        self, push: Callable[[], Push | None], rules: Sequence[PushRule], clock: Clock, refused: Refused
    ) -> None:
        self._push = push
        self._clock = clock
        self._windows = KeyedWindows(_SECONDS)
        self.background = Background(push, refused)
        self.events: frozenset[str] = frozenset()
        self._rules: dict[str, list[tuple[int, PushRule]]] = {}
        self._configured: tuple[PushRule, ...] = ()
        self.configure(rules)

    def configure(self, rules: Sequence[PushRule]) -> None:
        """Replaces the rules, for the next event; an event that was mapped already is pushed as it was."""
        if tuple(rules) == self._configured:
            return
        self._configured = tuple(rules)
        # Rules are counted by their number, which may be another one's now.
        self._windows = KeyedWindows(_SECONDS)
        by_event: dict[str, list[tuple[int, PushRule]]] = {}
        for number, rule in enumerate(rules):
            for event in rule.event_filter if rule.enabled else ():
                by_event.setdefault(event, []).append((number, rule))
        self._rules = by_event
        self.events = frozenset(by_event)

    async def before(self, app_id: str, name: str, data: Any, channels: Sequence[str], wanted: object) -> object:
        """Maps the event by each rule that matches, and has ``extras.push`` accepted for each channel.

        Raises errors.WRONG_SHAPE and errors.INVALID_INPUT for data or a payload that do not fit,
        errors.PUSH_RATE_LIMITED for a rule that is over its rate, and what `Push.publish` does.
        """
        made = self._made(app_id, name, data, channels)
        if wanted is not None:
            payload = payload_from(wanted)
            push = self._push()
            if push is None:
                raise errors.PUSH_DISABLED("push admission unavailable: push providers are disabled")
            for channel in channels:
                await push.publish(app_id, _to(channel, payload), limited=False)
        return made or None

    def after(self, accepted: object) -> None:
        """Has what rules made of the event accepted, in the background."""
        for waiting in accepted if isinstance(accepted, list) else ():
            self.background.add(waiting)

    async def close(self) -> None:
        """Gives what is on its way a few seconds."""
        await self.background.close()

    def _made(self, app_id: str, name: str, data: Any, channels: Sequence[str]) -> list[Waiting]:
        made: list[Waiting] = []
        push = self._push()
        trace = () if push is None or push.tracer is None else push.tracer.headers()
        for number, rule in self._rules.get(name, ()):
            matching = [channel for channel in channels if rule.matches(channel, name)]
            if not matching:
                continue
            payload = mapped(rule, data)
            self._check_rate(app_id, number, rule, len(matching), push)
            made.extend(Waiting(app_id, _to(channel, payload), trace) for channel in matching)
        return made

    def _check_rate(self, app_id: str, number: int, rule: PushRule, count: int, push: Push | None) -> None:
        window = self._windows.window(f"{number}\0{app_id}", self._clock.monotonic())
        if window.count + count > rule.rate_limit_per_second:
            if push is not None:
                push.counters.count("rate_dropped_total", app_id, by=count)
            raise errors.PUSH_RATE_LIMITED(
                f"push rule for '{rule.channel_pattern}' exceeded: more than {rule.rate_limit_per_second} "
                "notifications in one second (rate_limit_per_second)",
                retry_after=_SECONDS,
            )
        window.count += count


def mapped(rule: PushRule, data: Any) -> Payload:
    """The notification that a rule makes of an event's data. Raises errors.INVALID_INPUT."""
    mapping, where = rule.payload_mapping, f"push rule for '{rule.channel_pattern}'"
    given = _object(data)
    if given is None:
        raise errors.INVALID_INPUT(f"{where}: the event's data must be a JSON object")
    texts = []
    for field in (mapping.title_field, mapping.body_field):
        text = given.get(field)
        if not isinstance(text, str):
            raise errors.INVALID_INPUT(f"{where}: the event's data must have a string '{field}'")
        texts.append(text)
    title, body = texts
    rest = {name: value for name, value in given.items() if name not in (mapping.title_field, mapping.body_field)}
    kept = mapping.include_remaining_fields and bool(rest)
    return Payload(title=title, body=body, template_data={mapping.template_data_field: rest} if kept else {})


def _object(data: Any) -> Mapping[str, Any] | None:
    """An object, or the text of one."""
    if isinstance(data, str):
        try:
            data = _decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return None
    return data if isinstance(data, dict) else None


def _to(channel: str, payload: Payload) -> PublishRequest:
    return PublishRequest(None, [Target(type="channel", channel=channel)], payload, [])
