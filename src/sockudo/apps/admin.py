"""What operators do to apps, over any store: the command line and the dashboard both come through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import structs

from sockudo import errors
from sockudo.apps.edits import FLAT_NAMES, new_app, rotated, version_of, with_values
from sockudo.apps.ports import AppStore
from sockudo.config.apps import App
from sockudo.config.problems import nearest

__all__ = ["AppAdmin"]

# Made-up ids have six digits: two that meet are rare, and a third is another one.
_TRIES: Final = 20


class AppAdmin:
    """Changes to the apps of one store, each whole or not at all.

    Where a ``version`` may be given (`sockudo.apps.edits.version_of`), a record that is another one by now is left as
    it is and errors.APP_CHANGED is raised; so of two operators the later hears of the earlier. Everything may raise
    errors.SERVICE_UNAVAILABLE, what changes one app errors.APP_NOT_FOUND, and what checks values ConfigError.
    """

    def __init__(self, store: AppStore) -> None:
        self._store = store

    async def all(self) -> Sequence[App]:
        """Every app, sorted by id."""
        return await self._store.all()

    async def get(self, app_id: str) -> App:
        """One app."""
        apps = await self._store.all()
        found = next((app for app in apps if app.id == app_id), None)
        if found is None:
            raise _missing(app_id, apps)
        return found

    async def add(self, record: Mapping[str, Any], where: str, *, fields: Mapping[str, Any] | None = None) -> App:
        """Adds the app of a record as `sockudo.apps.edits.new_app` reads it.

        ``fields`` of the policy, by flat name, hold over it. Raises errors.APP_EXISTS and errors.APP_KEY_TAKEN for an
        id and a key that another app has.
        """
        wanted = {FLAT_NAMES[name]: value for name, value in (fields or {}).items()}
        for _ in range(_TRIES):
            app = with_values(new_app(record, where), wanted, where)
            try:
                return await self._store.change(app.id, lambda current, new=app: _only_new(current, new))  # type: ignore[misc]  # mypy does not see the default
            except errors.SockudoError as error:
                if error.spec is not errors.APP_EXISTS or record.get("id") is not None:
                    raise
        raise errors.SERVICE_UNAVAILABLE("Every id that was made up is taken; choose one")

    async def edit(self, app_id: str, edit: Callable[[App], App], *, version: str | None = None) -> App:
        """Changes one app; ``edit`` may be asked again and must give the same then. Raises errors.APP_KEY_TAKEN."""

        def existing(current: App | None) -> App:
            if current is None:
                raise errors.APP_NOT_FOUND(f"No app has the id '{app_id}'")
            _check_version(current, version)
            return edit(current)

        try:
            return await self._store.change(app_id, existing)
        except errors.SockudoError as error:
            if error.spec is not errors.APP_NOT_FOUND:
                raise
        raise _missing(app_id, await self._store.all())

    async def rotate(
        self, app_id: str, *, key: bool = False, until: int | None = None, version: str | None = None
    ) -> App:
        """Gives the app a new secret, and with ``key`` a new key; the old ones are refused from then on.

        With ``until``, in Unix seconds, the old secret is accepted until then.
        """
        renewed: list[App] = []

        def renew(current: App) -> App:
            # The same credentials, should a store ask twice.
            renewed.append(rotated(current, key=key, until=until))
            secret, new_key = renewed[0].secret, renewed[0].key if key else current.key
            previous = renewed[-1].previous_secret
            return structs.replace(current, secret=secret, key=new_key, previous_secret=previous)

        return await self.edit(app_id, renew, version=version)

    async def switch(self, app_id: str, *, enabled: bool, version: str | None = None) -> App:
        """Lets the app be used, or refuses its requests and ends its connections."""
        return await self.edit(app_id, lambda current: structs.replace(current, enabled=enabled), version=version)

    async def remove(self, app_id: str, *, version: str | None = None) -> App:
        """Removes the app for good and returns it as it was."""
        app = await self.edit(app_id, lambda current: current, version=version)
        if not await self._store.remove(app_id):
            raise errors.APP_NOT_FOUND(f"No app has the id '{app_id}'")
        return app


def _only_new(current: App | None, new: App) -> App:
    if current is not None:
        raise errors.APP_EXISTS(f"App '{new.id}' exists already")
    return new


def _check_version(current: App, version: str | None) -> None:
    if version is not None and version_of(current) != version:
        raise errors.APP_CHANGED(f"App '{current.id}' was changed by another client meanwhile; nothing was done")


def _missing(app_id: str, apps: Sequence[App]) -> errors.SockudoError:
    """The refusal, with what was probably meant."""
    text = f"No app has the id '{app_id}'."
    text += "".join(f" '{app_id}' is the key of app '{app.id}'." for app in apps if app.key == app_id)
    guess = nearest(app_id, [app.id for app in apps])
    return errors.APP_NOT_FOUND(text + (f" Did you mean '{guess}'?" if guess is not None else ""))
