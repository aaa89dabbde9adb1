"""Apps of the running server on pages and in the API: what is shown of them, and changes, with effect at once."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from sockudo import errors
from sockudo.apps.admin import AppAdmin
from sockudo.apps.edits import LONGEST_KEPT, version_of
from sockudo.apps.live import LiveApp
from sockudo.apps.ports import AppStore
from sockudo.apps.webhooks import shown_webhook
from sockudo.config import Settings
from sockudo.config.app_reader import app_to_builtins
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError, nearest
from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Page, Paging
from sockudo.errors import SockudoError

__all__ = [
    "WHERE",
    "FieldProblem",
    "administer",
    "app_of",
    "app_page",
    "app_values",
    "body_of",
    "failure_text",
    "kept_until",
    "problems_of",
    "record_values",
    "remove",
    "row_values",
    "why_lost",
    "why_read_only",
]


WHERE = "request"
"""How problems with a record begin that the dashboard was given."""

_LABEL = re.compile(rf"{WHERE}(?: \(app .*?\))?: ", re.DOTALL)
_FIELD = re.compile(r"(policy(?:\.[\w-]+|\[[^\]]*\])*|id|key|secret|enabled) (?=\S)")
_OF_SPEC = {errors.APP_EXISTS: "id", errors.APP_KEY_TAKEN: "key"}


class FieldProblem(NamedTuple):
    """``field`` is the dotted path in the record, None for what is about no single one."""

    field: str | None
    text: str


def problems_of(error: ConfigError | SockudoError) -> list[FieldProblem]:
    """One for each thing that is wrong."""
    if isinstance(error, SockudoError):
        return [FieldProblem(_OF_SPEC.get(error.spec), error.text)]
    return [_problem(text) for text in error.problems]


def failure_text(refusal: SockudoError) -> str:
    """Why a form was not carried out, above that form as it was filled in."""
    return f"{refusal.text.rstrip('.')}. What you filled in is still here. {refusal.spec.remedy}"


def _problem(text: str) -> FieldProblem:
    label = _LABEL.match(text)
    problem = text[label.end() :] if label is not None else text
    field = _FIELD.match(problem)
    return FieldProblem(None, problem) if field is None else FieldProblem(field[1], problem[field.end() :])


def body_of(problems: Iterable[FieldProblem]) -> dict[str, object]:
    """The envelope of errors for a record that is not allowed, with ``problems`` field by field."""
    found = list(problems)
    text = "; ".join(f"{field} {text}" if field else text for field, text in found)
    return {**errors.INVALID_INPUT(text).body(), "problems": [problem._asdict() for problem in found]}


# ---- changes ----


_T = TypeVar("_T")


async def administer(board: Board, work: Callable[[AppAdmin], Awaitable[_T]]) -> _T:
    """Does the work on the store of the apps; when this returns, open connections and new requests go by it.

    Raises errors.APPS_READ_ONLY where they are not to be changed, and what the work raises.
    """
    reason = why_read_only(board.settings)
    if reason is not None:
        raise errors.APPS_READ_ONLY(reason)

    async def with_admin(store: AppStore) -> _T:
        return await work(AppAdmin(store))

    apps = board.apps
    try:
        return await apps.write(with_admin, board.apply_changes)
    except SockudoError as error:
        if error.spec in (errors.APP_CHANGED, errors.APP_NOT_FOUND, errors.APP_EXISTS, errors.APP_KEY_TAKEN):
            # Another operator was faster; the next look has to show it.
            await apps.write(_nothing, board.apply_changes)
        raise


async def remove(board: Board, app_id: str, version: str | None) -> App:
    """Removes an app for good, and has what it keeps in wings deleted in the background; an app that the configuration
    names comes back, and keeps it. Raises as `administer` does.
    """
    areas = () if app_id in board.apps.configured else board.areas
    removals = [removal for area in areas if (removal := await area.removing(app_id)) is not None]

    async def work(admin: AppAdmin) -> App:
        # What is refused leaves nothing noted.
        await admin.edit(app_id, lambda app: app, version=version)
        for begin in removals:
            # Before: when the process ends in between, nothing stays behind of an app that is gone.
            await begin()
        return await admin.remove(app_id, version=version)

    return await administer(board, work)


async def _nothing(_: AppStore) -> None:
    pass


def why_read_only(settings: Settings) -> str | None:
    """Why no app can be changed here, and what to change instead; None when they can be.

    Where other nodes would not learn of it they cannot. In memory they can be under ``--dev`` alone, where `why_lost`
    says what becomes of it.
    """
    if not settings.apps_are_shared:
        return (
            f"adapter.driver is {settings.adapter.driver!r} and app_manager.driver {settings.app_manager.driver!r}: "
            "each of the joined nodes has apps of its own, and the others would not know what is changed here. Let "
            'app_manager.driver name a database that they share, "postgres" or "mysql"; or change the configuration of '
            "all nodes, then send each SIGHUP."
        )
    if not _in_memory(settings) or settings.dev:
        return None
    where = settings.apps_from or "the configuration"
    return (
        f'app_manager.driver is "memory": the server keeps no app but those that {where} names. Change the apps in '
        f'{where}, then send the server SIGHUP; or set app_manager.driver to "sqlite" and restart it.'
    )


def why_lost(board: Board, app_id: str | None = None) -> str | None:
    """A warning when what is changed here does not last, for all apps or for one of them; else None."""
    settings = board.settings
    if why_read_only(settings) is not None:
        return None
    where = settings.apps_from or "The configuration"
    configured = app_id in board.apps.configured
    if not _in_memory(settings):
        again = (
            f"{where} names this app too and puts it back when the server starts or reloads: change it there as well."
        )
        return again if configured else None
    lost = "A server that was started with --dev keeps its apps in memory: what you change is lost when it ends"
    reloads = f", and when it reloads {where} puts this app back" if configured else ""
    return f'{lost}{reloads}. With app_manager.driver = "sqlite" it is kept.'


def _in_memory(settings: Settings) -> bool:
    return settings.app_manager.driver == "memory"


def app_of(board: Board, app_id: str) -> LiveApp:
    """The app of this id; raises errors.APP_NOT_FOUND with the id that was probably meant."""
    found = board.apps.by_id(app_id)
    if found is not None:
        return found
    guess = nearest(app_id, [app.id for app in board.apps.all()])
    raise errors.APP_NOT_FOUND(f"No app has the id '{app_id[:100]}'." + (f" Did you mean '{guess}'?" if guess else ""))


def kept_until(board: Board, seconds: int, *, key: bool) -> int | None:
    """When an old secret ends that is to be accepted for so long, in Unix seconds; None for one that ends at once.

    Raises errors.INVALID_INPUT for a time that is too long, and beside a new ``key``: what is signed names the key.
    """
    if seconds == 0:
        return None
    if key:
        raise errors.INVALID_INPUT("The old secret cannot be kept beside a new key: what is signed names the key")
    if not 0 < seconds <= LONGEST_KEPT:
        raise errors.INVALID_INPUT(f"The old secret can be kept for {LONGEST_KEPT} seconds at most, got {seconds}")
    return int(board.clock.time()) + seconds


# ---- what is shown of an app ----


def app_page(board: Board, paging: Paging) -> Page[LiveApp]:
    """The apps whose id or key holds what is searched for, sorted by id."""
    wanted = paging.q.lower()
    apps: Sequence[LiveApp] = board.apps.all()
    if wanted:
        apps = [app for app in apps if wanted in app.id.lower() or wanted in app.key.lower()]
    return paging.cut(apps)


def row_values(board: Board, app: LiveApp) -> dict[str, Any]:
    """An app in a list: counts are those of this node, now."""
    return {
        "id": app.id,
        "key": app.key,
        "enabled": app.enabled,
        "configured": app.id in board.apps.configured,
        "connections": board.view.connection_count(app.id),
        "channels": board.view.occupied_kinds(app.id).total(),
        "webhooks": len(app.record.policy.webhooks),
    }


def app_values(board: Board, app: LiveApp, *, reveal: bool = False) -> dict[str, Any]:
    """Everything about an app."""
    return {**row_values(board, app), **record_values(app.record, reveal=reveal)}


def record_values(record: App, *, reveal: bool = False) -> dict[str, Any]:
    """A record and its version, which a later change may send along."""
    values = app_to_builtins(record)
    if not reveal:
        del values["secret"]
        if record.previous_secret is not None:
            values["previous_secret"] = {"until": record.previous_secret.until}
        values["policy"]["webhooks"] = [shown_webhook(entry) for entry in values["policy"].get("webhooks", ())]
    return {**values, "version": version_of(record)}
