"""Environment variables that nothing reads and that look like ours: a setting that was meant and is not in force."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from sockudo.config import foreign, unsupported
from sockudo.config.app_choice import APP_VARIABLES
from sockudo.config.problems import nearest
from sockudo.config.schema import variables

__all__ = ["notes"]

# Nothing but this server and the ones that it replaces has variables that begin like this.
_OWNED: Final = ("SOCKUDO_", "REVERB_", "SOKETI_")
# Hardly anything else has: a name that resembles one of ours is a mistake.
_OURS: Final = (
    "CONNECTION_RECOVERY_",
    "DATABASE_MYSQL_",
    "DATABASE_POSTGRES_",
    "DATABASE_REDIS_",
    "ECHO_CONTROL_",
    "EPHEMERAL_",
    "EVENT_NAME_FILTERING_",
    "HISTORY_",
    "IDEMPOTENCY_",
    "PRESENCE_HISTORY_",
    "PUSH_",
    "RATE_LIMITER_",
    "TAG_FILTERING_",
    "UNIX_SOCKET_",
    "WEBSOCKET_",
)
# Beginnings that other software has too: only what differs by a letter or two is one of ours.
_CLOSE: Final = 0.9
_ALIKE: Final = 0.6
# Read by commands, by the choice of the log's filter, or set by Kubernetes for a service with the name sockudo.
_ELSEWHERE: Final = frozenset(
    {
        "SOCKUDO_URL",
        "SOCKUDO_APP_ID",
        "SOCKUDO_APP_KEY",
        "SOCKUDO_APP_SECRET",
        "SOCKUDO_COMMAND",
        "SOCKUDO_HTTP_URL",
        "SOCKUDO_METRICS_URL",
        "SOCKUDO_LOG_DEBUG",
        "SOCKUDO_LOG_PROD",
    }
)
_SERVICE_LINK: Final = re.compile(r"SOCKUDO_(SERVICE_(HOST|PORT)|PORT(_[0-9]+_.*)?$)")


def notes(given: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that is probably a mistake, in the order of their beginnings."""
    unknown = [name for name in sorted(given) if not _is_known(name)]
    for prefix in (*_OWNED, *_OURS):
        for name in unknown:
            if name.startswith(prefix):
                guess = _nearest(name, prefix, _ALIKE)
                if guess is not None or prefix in _OWNED:
                    yield _note(name, guess)
    for name in unknown:
        first = f"{name.partition('_')[0]}_"
        if not name.startswith((*_OWNED, *_OURS)):
            guess = _nearest(name, first, _CLOSE)
            if guess is not None:
                yield _note(name, guess)


def _note(name: str, guess: str | None) -> str:
    if guess is None:
        return f"{name} is not known, and nothing reads it (docs/configuration.md has every variable)"
    return f"{name} is not known; did you mean {guess}?"


def _nearest(name: str, prefix: str, cutoff: float) -> str | None:
    """The known variable with this beginning that the name most resembles."""
    # Behind a beginning that many names share, the rest decides; where little has to differ, the whole name does.
    shared = prefix if cutoff == _ALIKE else ""
    known = {each.removeprefix(shared): each for each in _names() if each.startswith(prefix)}
    guess = nearest(name.removeprefix(shared), known, cutoff=cutoff)
    return None if guess is None else known[guess]


@cache
def _names() -> frozenset[str]:
    return frozenset(variables()) | frozenset(foreign.READ) | APP_VARIABLES


def _is_known(name: str) -> bool:
    if name in _names() or name in _ELSEWHERE or _SERVICE_LINK.match(name) or unsupported.is_inert_variable(name):
        return True
    return unsupported.part_of_variable(name) is not None or foreign.advice(name) is not None
