"""Makes the configuration's apps those that it names now, and leaves the apps of operators alone.

A store outlives the configuration that its apps came from. So each row holds its origin, and an app that the
configuration no longer names goes: its secret may have been withdrawn by taking it out of a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from sockudo import errors
from sockudo.apps.ports import AppStore, Origin
from sockudo.config.apps import App

__all__ = ["configure"]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def configure(store: AppStore, apps: Sequence[App]) -> None:
    """Puts ``apps`` into the store, over rows of the same id, and removes what an earlier configuration put there.

    A row that does not say where it came from stays, as an operator's from now on, and is named in the log: to remove
    one that a command made would shut out its clients. Raises ``errors.APP_KEY_TAKEN`` when a configured app has the
    key of an app that stays, and then changes nothing; ``errors.SERVICE_UNAVAILABLE`` as every call of a store.
    """
    stored = await store.all()
    origins = await store.origins()
    wanted = {app.id for app in apps}
    gone = {app_id for app_id, origin in origins.items() if origin is Origin.CONFIGURATION} - wanted
    _check_keys(apps, (app for app in stored if app.id not in gone and app.id not in wanted))
    keys = {app.key: app.id for app in apps}
    for app in stored:
        if app.id in gone:
            await store.remove(app.id)
            _log.warning("app removed: the configuration does not name it any more", app_id=app.id)
        elif app.id in wanted:
            if keys.get(app.key, app.id) != app.id:
                # A key that moves from one configured app to another has to be free before it is given again.
                await store.remove(app.id)
        elif origins.get(app.id) is None:
            await store.save(app, Origin.OPERATOR)
            _log.warning(
                "app kept: the configuration does not name it, and its record does not say whether it ever did",
                app_id=app.id,
                remedy=f"if a configuration of before named it, remove it: sockudo apps remove {app.id}",
            )
    for app in apps:
        await store.save(app, Origin.CONFIGURATION)


def _check_keys(apps: Sequence[App], others: Iterable[App]) -> None:
    holder = {app.key: app.id for app in others}
    for app in apps:
        if holder.setdefault(app.key, app.id) != app.id:
            raise errors.APP_KEY_TAKEN(f"App '{app.id}' cannot have key '{app.key}': app '{holder[app.key]}' has it")
