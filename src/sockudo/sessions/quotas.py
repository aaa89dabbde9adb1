"""How many connections an app may have, on all nodes together (spec: platform § 10.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.registry import AppRegistry
from sockudo.cluster.ports import Membership
from sockudo.hub import Hub

__all__ = ["AppQuotas"]

# From this share of the limit on the others hear at once of what comes and goes.
_CROWDED: Final = 0.5


class AppQuotas:
    """Counts the connections of apps with a limit: those here exactly, those elsewhere by the last beats of the nodes.

    Of nodes that let in at the same time an app may get, over its limit, what the others let in within a tenth of a
    second. ``shared``: whether connections elsewhere count.
    """

    def __init__(self, hub: Hub, apps: AppRegistry, membership: Membership, *, shared: bool) -> None:
        self._hub = hub
        self._apps = apps
        self._membership = membership
        self._shared = shared
        membership.connections = self._own

    def check(self, app: LiveApp) -> None:
        """Raises errors.OVER_QUOTA for an app that has all the connections that it may have."""
        limit = app.limits.max_connections
        if limit and self.count(app.id) >= limit:
            raise errors.OVER_QUOTA()

    def changed(self, app: LiveApp) -> None:
        """A connection of the app was let in, or has left."""
        limit = app.limits.max_connections
        if limit and self._shared and self.count(app.id) + 1 >= limit * _CROWDED:
            self._membership.hurry()

    def count(self, app_id: str) -> int:
        """The connections of an app that count towards its limit."""
        return self._here(app_id) + (self._membership.elsewhere(app_id) if self._shared else 0)

    def _here(self, app_id: str) -> int:
        state = self._hub.find(app_id)
        return 0 if state is None else state.connection_count

    def _own(self) -> Mapping[str, int]:
        limited: Iterable[str] = (app.id for app in self._apps.all() if app.limits.max_connections)
        return {app_id: count for app_id in limited if (count := self._here(app_id))}
