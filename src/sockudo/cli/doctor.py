"""``sockudo doctor``: what is wrong with a running deployment, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sockudo.cli.groups import command_wings
from sockudo.cli.local_server import Address, address_of
from sockudo.cli.options import check_origin
from sockudo.cli.outcome import ExitCode, fail, silence_logs
from sockudo.cli.target import DEFAULT_URL, ServerOptions, checked_url, find, with_server

if TYPE_CHECKING:
    from sockudo.client.auth import Credentials
    from sockudo.config import Loaded, Settings
    from sockudo.config.apps import App
    from sockudo.doctor import Check, Deployment, Finding, Options

__all__ = ["DOCTOR_EXIT_CODES", "doctor"]

DOCTOR_EXIT_CODES: Final = (
    "Exit codes: 0 all is well, or only warnings · 1 problems; with --strict also warnings · 2 wrong usage"
)

_WHAT: Final = "What is checked"
_NAMES: Final = "NAME[,NAME]"


Only = Annotated[
    list[str] | None,
    typer.Option(metavar=_NAMES, rich_help_panel=_WHAT, help="Only these checks; --list names all. Repeatable."),
]
Skip = Annotated[
    list[str] | None, typer.Option(metavar=_NAMES, rich_help_panel=_WHAT, help="All but these checks. Repeatable.")
]
ListChecks = Annotated[bool, typer.Option("--list", rich_help_panel=_WHAT, help="Name the checks, and check nothing.")]
Origin = Annotated[
    str | None,
    typer.Option(
        metavar="ORIGIN", rich_help_panel=_WHAT, help="The origin of your pages, like https://shop.example.com."
    ),
]
Idle = Annotated[
    float,
    typer.Option(
        min=0,
        max=3600,
        metavar="SECONDS",
        rich_help_panel=_WHAT,
        help="Silence that a connection has to survive; 155 tries what clients need, 0 skips it.",
    ),
]
Rounds = Annotated[
    int, typer.Option(min=1, max=100, metavar="N", rich_help_panel=_WHAT, help="Events that are published.")
]
AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private",
        rich_help_panel=_WHAT,
        help="Also call webhook endpoints at private addresses; on where --config allows it.",
    ),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="Limit of one answer.")]
Strict = Annotated[bool, typer.Option("--strict", help="Leave with 1 for warnings too.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, at the end.")]


@with_server
def doctor(
    context: typer.Context,
    *,
    only: Only = None,
    skip: Skip = None,
    list_checks: ListChecks = False,
    origin: Origin = None,
    idle: Idle = 3.0,
    rounds: Rounds = 5,
    allow_private: AllowPrivate = False,
    timeout: Timeout = 5.0,
    strict: Strict = False,
    as_json: AsJson = False,
    server: ServerOptions,
) -> None:
    """Check a running server from here, and say what is wrong and what to do.

    From outside, with the URL that clients use and the app's credentials, it sees what clients see: port, TLS, proxy,
    WebSockets, origins, latency. On the server's machine with --config it also looks at the configuration, the process,
    the stores and the metrics. Nothing is changed. It publishes a few events to a channel of its own that are kept
    nowhere, which webhooks report as any channel, and sends each webhook endpoint a signed test event and one
    with a wrong signature; --skip publish,frames,webhooks leaves that out.
    """
    import asyncio

    from sockudo.cli import doctor_report as report
    from sockudo.doctor import Options, checks_with

    checks = checks_with([check for wing in command_wings(context) for check in wing.checks()])
    if list_checks:
        report.print_checks(checks)
        return
    silence_logs()
    chosen = _chosen(checks, only, skip)
    check_origin(origin)
    options = Options(timeout=timeout, idle=idle, rounds=rounds, origin=origin, allow_private=allow_private)
    deployment = _deployment(server, options)
    findings = asyncio.run(_examine(deployment, chosen, as_json=as_json))
    report.finish(deployment, findings, as_json=as_json)
    bad = ("problem", "warning") if strict else ("problem",)
    raise typer.Exit(ExitCode.REFUSED if any(finding.state in bad for finding in findings) else ExitCode.DONE)


async def _examine(deployment: Deployment, checks: Sequence[Check], *, as_json: bool) -> list[Finding]:
    from sockudo.cli.doctor_report import Progress
    from sockudo.doctor import examine

    progress = Progress(deployment, quiet=as_json)
    findings: list[Finding] = []
    async with deployment:
        async for finding in examine(deployment, checks, progress.began):
            findings.append(finding)
            progress.found(finding)
    progress.end()
    return findings


# ---- what the options come to ----


def _chosen(checks: Sequence[Check], only: list[str] | None, skip: list[str] | None) -> list[Check]:
    from sockudo.config.problems import nearest

    known = [check.name for check in checks]
    asked, left_out = _names(only), _names(skip)
    for name in (*asked, *left_out):
        if name not in known:
            guess = nearest(name, known)
            hint = f"Did you mean {guess}?" if guess else f"Checks: {', '.join(known)}."
            fail(f"No check is called '{name}'.", ExitCode.USAGE, hint)
    chosen = [each for each in checks if (not asked or each.name in asked) and each.name not in left_out]
    if not chosen:
        fail("No check is left.", ExitCode.USAGE, "Name at least one with --only that --skip does not name.")
    return chosen


def _names(given: list[str] | None) -> list[str]:
    return [name.strip() for words in given or () for name in words.split(",") if name.strip()]


def _deployment(server: ServerOptions, options: Options) -> Deployment:
    """What the options name.

    A configuration that cannot be used, or a store that cannot be read, is a finding.
    """
    import asyncio

    from sockudo.client.auth import Credentials
    from sockudo.doctor import Deployment
    from sockudo.drivers.carriers import configured_carrier

    given, config, url = (server.app_id, server.key, server.secret), server.config, server.url
    loaded, problems = _load(config)
    if loaded is None:
        place = checked_url(url or DEFAULT_URL)
        # What the broken file would say of apps is not asked for.
        target = find(place, *given, config, local_apps=(lambda _: []) if config is not None else None)
        known_as = None if target is None else target.credentials
        return Deployment(place, known_as, options, config_problems=problems, trust=server.trust(place))
    address = Address(checked_url(url)) if url is not None else address_of(loaded.settings)
    place = address.url
    stored, store_problem = asyncio.run(_read_apps(loaded.settings))
    apps = [*loaded.settings.apps, *(stored or ())]
    known = [Credentials(app.id, app.key, app.secret) for app in apps if app.enabled]
    target = find(place, *given, config, local_apps=lambda _: known)
    credentials = None if target is None else target.credentials
    return Deployment(
        place,
        credentials,
        options,
        loaded,
        app=_record(apps, credentials),
        store_problem=store_problem,
        stored_apps=None if stored is None else len(stored),
        trust=server.trust(place, address.certificate),
        unreached=address.reason,
        make_carrier=partial(configured_carrier, loaded.settings),
    )


async def _read_apps(settings: Settings) -> tuple[Sequence[App] | None, str | None]:
    """The apps of the store, None where there is none yet; and why they cannot be read. No file is made by looking."""
    from sockudo.config import ConfigError
    from sockudo.drivers.selection import stored_apps
    from sockudo.errors import SockudoError

    try:
        return await stored_apps(settings), None
    except (ConfigError, SockudoError) as error:
        return None, str(error)


def _load(config: Path | None) -> tuple[Loaded | None, tuple[str, ...]]:
    import os

    from sockudo.config import ConfigError, load

    if config is None:
        return None, ()
    try:
        return load(path=config, environ=os.environ, cwd=Path.cwd()), ()
    except ConfigError as error:
        return None, error.located


def _record(apps: Sequence[App], credentials: Credentials | None) -> App | None:
    if credentials is None:
        return None
    return next((app for app in apps if (app.id, app.key) == (credentials.app_id, credentials.key)), None)
