"""Apps as the dashboard shows them; the secret and what a webhook hides only where it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sockudo.apps.edits import version_of
from sockudo.apps.live import LiveApp
from sockudo.apps.webhooks import shown_webhook
from sockudo.config.app_reader import app_to_builtins
from sockudo.config.apps import App
from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Page, Paging

__all__ = ["app_page", "app_values", "record_values", "row_values"]


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
