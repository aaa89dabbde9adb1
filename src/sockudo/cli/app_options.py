"""Options of ``sockudo apps`` that stand for fields of an app's policy.

Every field can be given as ``--set NAME=VALUE`` under its flat name
(spec: platform § 2.2); the most common ones have an
option of their own. The values are judged by the reader that reads configuration files, so both accept the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from sockudo.cli.options import Command, in_place_of
from sockudo.cli.outcome import ExitCode, fail

__all__ = ["with_policy_options"]

_PANEL: Final = "What the app may do"


def _switch(name: str, meaning: str) -> Any:
    return Annotated[bool | None, typer.Option(f"--{name}/--no-{name}", rich_help_panel=_PANEL, help=meaning)]


def _limit(name: str, meaning: str) -> Any:
    return Annotated[int | None, typer.Option(name, min=0, metavar="N", rich_help_panel=_PANEL, help=meaning)]


def _list(name: str, metavar: str, meaning: str) -> Any:
    return Annotated[list[str] | None, typer.Option(name, metavar=metavar, rich_help_panel=_PANEL, help=meaning)]


_OPTIONS: Final[Mapping[str, Any]] = {
    "enable_client_messages": _switch("client-messages", "Clients may send client events."),
    "enable_user_authentication": _switch("user-authentication", "Users may sign in."),
    "enable_watchlist_events": _switch(
        "watchlist-events", "Users get events when others of their watchlist come and go."
    ),
    "enable_subscription_count": _switch("subscription-count", "Subscribers get the number of subscriptions."),
    "max_connections": _limit("--max-connections", "Connections at once; 0 = no limit."),
    "max_client_events_per_second": _limit("--max-client-events", "Client events a second and connection; 0 = any."),
    "max_backend_events_per_second": _limit("--max-backend-events", "Events a second over HTTP; 0 = any."),
    "max_event_payload_in_kb": _limit("--max-payload", "Largest data of an event, in kB."),
    "max_presence_members_per_channel": _limit("--max-presence-members", "Members of a presence channel."),
    "allowed_origins": _list(
        "--allowed-origin",
        "PATTERN",
        "Pages that may connect, like https://shop.test or *.shop.test; once for each. Without any: every page.",
    ),
}
"""The fields with an option of their own, by flat name."""

_FURTHER: Final = _list(
    "--set",
    "NAME=VALUE",
    "Any other field, once for each. An empty VALUE means the default; an object or a list is written as JSON.",
)


def with_policy_options(command: Command) -> Command:
    """Gives a command the options for fields of a policy, in place of its parameter ``wanted``.

    ``wanted`` then holds the fields to change by flat name; None in it is the wish for the default.
    """
    options = {name: (hint, None) for name, hint in {**_OPTIONS, "further": _FURTHER}.items()}
    return in_place_of("wanted", options, _wishes)(command)


def _wishes(*, further: Sequence[str] | None, **given: object) -> dict[str, Any]:
    from sockudo.apps.edits import FLAT_NAMES
    from sockudo.config.problems import nearest

    wanted = {name: value for name, value in given.items() if value is not None and value != []}
    for text in further or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            fail(f"--set {text} lacks a value.", ExitCode.USAGE, "Example: --set max_event_batch_size=20")
        if name not in FLAT_NAMES:
            guess = nearest(name, FLAT_NAMES)
            fail(f"No field is called '{name}'.", ExitCode.USAGE, *([f"Did you mean '{guess}'?"] if guess else []))
        wanted[name] = _value(name, value)
    return wanted


def _value(name: str, text: str) -> Any:
    import json

    if not text:
        return None
    if text[0] not in "[{":
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        fail(f"--set {name} begins like JSON and is none: {error}", ExitCode.USAGE)
