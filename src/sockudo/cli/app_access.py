"""How ``sockudo apps`` reaches the store of the configuration, and its messages when it cannot."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from sockudo import errors
from sockudo.apps.admin import AppAdmin
from sockudo.apps.ports import AppStore
from sockudo.cli.groups import CommandWing
from sockudo.cli.outcome import ExitCode, fail, note, silence_logs
from sockudo.config import ConfigError, Settings, load
from sockudo.config.apps import App
from sockudo.config.problems import nearest
from sockudo.drivers.selection import app_place, app_store, history_exists, history_store

__all__ = ["NO_SUCH_APP", "Place", "find_place"]

# The number that every command of ours gives to "what you asked for is not there".
NO_SUCH_APP: Final = ExitCode.UNREACHABLE

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Place:
    """The store of the configuration that was found, and the apps which that configuration itself names."""

    where: str
    settings: Settings

    def read(self) -> Sequence[App]:
        """Every app, sorted by id; looking creates no file."""
        if self._embedded and not Path(self.where).exists():
            return ()
        return self.run(_all)

    def app(self, app_id: str) -> App:
        """The app of this id; ends the command when there is none."""
        apps = self.read()
        found = next((app for app in apps if app.id == app_id), None)
        return found if found is not None else self._missing(app_id, apps)

    def change(self, app_id: str, work: Callable[[AppAdmin], Awaitable[App]]) -> App:
        """Does the work on an app that is there; ends the command when it is not, or when the work is refused."""
        # Looking first creates no store.
        self.app(app_id)
        changed = self.administer(work)
        self.warn_configured(app_id)
        return changed

    def administer(self, work: Callable[[AppAdmin], Awaitable[_T]]) -> _T:
        """`run` for work that goes through `AppAdmin`."""
        done = self.run(lambda store: work(AppAdmin(store)))
        if not self.settings.apps_are_shared:
            note(
                "Note: the nodes that adapter.driver joins have apps of their own: do the same for each, or let "
                "app_manager.driver name a database that they share."
            )
        return done

    def run(self, work: Callable[[AppStore], Awaitable[_T]]) -> _T:
        """Does the work with the store open, creating it when there is none; ends the command when it is refused."""
        try:
            store = app_store(self.settings)
        except ConfigError as error:
            fail("The store of the apps cannot be used.", ExitCode.REFUSED, *error.problems)

        async def opened() -> _T:
            await store.start()
            try:
                return await work(store)
            finally:
                await store.stop()

        with self._failures():
            return asyncio.run(opened())

    def delete_history(self, app_id: str) -> None:
        """Deletes everything that the channels of an app keep, in the store of the configuration.

        Ends the command when that cannot be reached; it may be given again.
        """
        if not history_exists(self.settings):
            return
        try:
            store = history_store(self.settings)
        except ConfigError as error:
            fail("The store of the history cannot be used.", ExitCode.REFUSED, *error.problems)

        async def delete() -> None:
            await store.start()
            try:
                await store.delete_app(app_id)
            finally:
                await store.close()

        with self._failures():
            asyncio.run(delete())

    def note_removal(self, app_id: str, wings: Sequence[CommandWing]) -> None:
        """Has what wings keep of an app deleted by the servers, once the app is removed.

        One that the configuration names comes back, and keeps it. Says so when it cannot be noted: whose credentials
        have leaked must not wait for it.
        """
        if self._names(app_id):
            return
        for wing in wings:
            if wing.forget_app is None:
                continue
            try:
                asyncio.run(_awaited(wing.forget_app(self.settings, app_id)))
            except ConfigError as error:
                note(f"Note: what the app keeps for {wing.name} stays: {'; '.join(error.problems)}")
            except errors.SockudoError as error:
                note(f"Note: what the app keeps for {wing.name} stays: {error.text}")

    def warn_configured(self, app_id: str) -> None:
        """Says so when the next start of the server will undo a change of this app."""
        if self._names(app_id):
            note(
                f"Note: the configuration names app '{app_id}' too, and puts it back when the server starts or reloads."
            )

    def _names(self, app_id: str) -> bool:
        return any(app.id == app_id for app in self.settings.apps)

    def _missing(self, app_id: str, apps: Sequence[App]) -> App:
        hints = [f"'{app_id}' is the key of app '{app.id}'." for app in apps if app.key == app_id]
        guess = nearest(app_id, [app.id for app in apps])
        if guess is not None:
            hints.append(f"Did you mean '{guess}'?")
        hints.append("`sockudo apps list` shows every app." if apps else f"There are no apps in {self.where}.")
        fail(f"No app has the id '{app_id}'.", NO_SUCH_APP, *hints)

    @property
    def _embedded(self) -> bool:
        return self.settings.app_manager.driver == "sqlite"

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            fail("The app would not be valid.", ExitCode.USAGE, *error.problems)
        except errors.SockudoError as error:
            if error.spec is errors.APP_NOT_FOUND:
                fail(error.text, NO_SUCH_APP)
            if error.spec is errors.APP_EXISTS:
                fail(
                    f"{error.text}.",
                    ExitCode.REFUSED,
                    "`sockudo apps show ID` shows it, `sockudo apps set ID` changes it.",
                    "Or choose another id; without --id one is made.",
                )
            failed = error.spec is errors.SERVICE_UNAVAILABLE
            fail(error.text, ExitCode.REFUSED, *([f"The file is {self.where}."] if failed and self._embedded else ()))


def find_place(config: Path | None, data_dir: Path | None) -> Place:
    """The store that a server with this configuration uses; ends the command when that is none of ours to change."""
    silence_logs()
    overrides = {"data_dir": None if data_dir is None else str(data_dir)}
    try:
        loaded = load(path=config, environ=os.environ, cwd=Path.cwd(), overrides=overrides)
    except ConfigError as error:
        fail("The configuration cannot be used.", ExitCode.REFUSED, *error.located)
    settings = loaded.settings
    driver = settings.app_manager.driver
    if driver == "memory":
        where = loaded.path or "the configuration"
        fail(
            f"app_manager.driver is '{driver}': the server keeps no app but those that {where} names.",
            ExitCode.REFUSED,
            f"Change the apps in {where}, then send the server SIGHUP.",
            'Or set app_manager.driver to "sqlite" and restart it; then this command manages the apps.',
        )
    return Place(app_place(settings), settings)


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _all(store: AppStore) -> Sequence[App]:
    return await store.all()
