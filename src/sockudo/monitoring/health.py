"""Whether the server is in service: the checks of its parts, run on request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic, perf_counter
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.components import Component

__all__ = ["Checked", "Health", "HealthChecks", "Probe"]

Probe = Callable[[], Awaitable[bool]]
"""One check of ``/up``: False, an exception or no answer in time make it fail."""

T = TypeVar("T")

_NO_APPS = "no apps configured"

_log = structlog.get_logger("sockudo.health")


class Checked(msgspec.Struct):
    """How one check went. ``degrading``: its failure leaves the server in service, but not whole.

    ``public``: its reason is for everyone who asks ``/up``.
    """

    name: str
    passed: bool
    degrading: bool
    took_ms: float
    reason: str | None = None
    public: bool = False


class Health(msgspec.Struct):
    """The word of ``/up`` with its HTTP status, and why: ``reason`` where it is no check's, else the ``checks``."""

    word: str
    status: int
    reason: str | None = None
    checks: list[Checked] = []

    @property
    def text(self) -> str:
        """The word, and below it the reasons that are for everyone."""
        reasons = [check.reason for check in self.checks if check.public and not check.passed and check.reason]
        return "\n".join([self.word, *reasons])


class Apps(Protocol):
    """The part of the app registry that is used here."""

    def by_id(self, app_id: str) -> LiveApp | None: ...

    def all(self) -> Sequence[LiveApp]: ...


class _Check(NamedTuple):
    name: str
    probe: Probe
    degrading: bool
    active: Callable[[], bool]
    public: bool
    at_once: bool


class HealthChecks:
    """The checks of every part, and which of them failed when they were made last.

    ``draining``: the server is about to stop; ``seconds`` is how long one check may take. For ``grace`` seconds from
    its first failure on a check only degrades the server.
    """

    def __init__(
        self,
        apps: Apps,
        draining: Callable[[], bool],
        seconds: Callable[[], float],
        grace: Callable[[], float] = lambda: 0.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._grace = grace
        self._now = now
        # By name: since when a check fails.
        self._failing_since: dict[str, float] = {}
        self._apps = apps
        self._draining = draining
        self._seconds = seconds
        self._checks: list[_Check] = []
        # By name: the reason that was logged.
        self._failing: dict[str, str | None] = {}

    def add(
        self,
        name: str,
        probe: Probe,
        *,
        degrading: bool = False,
        active: Callable[[], bool] = lambda: True,
        public: bool = False,
        at_once: bool = False,
    ) -> None:
        """Has a part checked whenever it is ``active``; ``public``: everyone may read why it fails.

        ``at_once``: its failure has no grace, as the check has one of its own.
        """
        self._checks.append(_Check(name, probe, degrading, active, public, at_once))

    def add_component(
        self, name: str, component: Component[T], probe: Callable[[T], Awaitable[bool]], *, degrading: bool = True
    ) -> None:
        """Has a component checked while it is open; one that could not be opened degrades the server."""

        async def check() -> bool:
            if isinstance(component.problem, errors.SockudoError):
                raise component.problem
            return await probe(component.service)

        self.add(name, check, degrading=degrading, active=lambda: component.is_open)
        if degrading:
            self.add(name, check, degrading=True, active=lambda: component.state == "failed")

    async def run(self, app_id: str | None = None) -> Health:
        """Whether the server, or one app on it, is in service; all checks run at once."""
        if self._draining():
            return Health("DRAINING", 503, "the server is shutting down")
        if app_id is not None:
            app = self._apps.by_id(app_id)
            if app is None:
                return Health("NOT_FOUND", 404, "no app has this id")
            if not app.enabled:
                return Health("ERROR", 503, "the app is disabled")
        else:
            some = bool(self._apps.all())
            reason = None if some else _NO_APPS
            self._note(Checked("configured apps", some, degrading=False, took_ms=0, reason=reason))
            if not some:
                return Health("ERROR", 503, _NO_APPS)
        seconds = self._seconds()
        checks = [check for check in self._checks if check.active()]
        done = await asyncio.gather(*(_run(check, seconds) for check in checks))
        for check, each in zip(checks, done, strict=True):
            self._note(each)
            if each.passed:
                self._failing_since.pop(each.name, None)
            elif not check.at_once:
                since = self._failing_since.setdefault(each.name, self._now())
                each.degrading = each.degrading or self._now() - since < self._grace()
        if any(not check.passed and not check.degrading for check in done):
            return Health("ERROR", 503, checks=done)
        return Health("OK" if all(check.passed for check in done) else "DEGRADED", 200, checks=done)

    def _note(self, done: Checked) -> None:
        """A line for each change, however often it is asked."""
        if done.passed:
            if self._failing.pop(done.name, "never") != "never":
                _log.info("health check passes again", check=done.name)
        elif self._failing.get(done.name, "never") != done.reason:
            self._failing[done.name] = done.reason
            _log.warning("health check failed", check=done.name, reason=done.reason)


async def _run(check: _Check, seconds: float) -> Checked:
    began = perf_counter()
    reason = None
    try:
        async with asyncio.timeout(seconds):
            passed = await check.probe()
    except TimeoutError:
        passed, reason = False, f"no answer within {seconds:g} s"
    except errors.SockudoError as problem:
        passed, reason = False, problem.text
    except OSError as problem:
        passed, reason = False, type(problem).__name__
    took_ms = round((perf_counter() - began) * 1000, 2)
    return Checked(check.name, passed, check.degrading, took_ms, reason, check.public)
