"""The table of commands: what ``sockudo`` can do, where each command lives, and what wings add.

The modules of single commands import little and load what they need when they run. Groups have imports of their own,
so they are loaded only when they, or the list of all commands, are asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command as build_command

from sockudo.base.version import __version__
from sockudo.cli.backup import BACKUP_EXIT_CODES, backup, restore
from sockudo.cli.channels import channels
from sockudo.cli.client import client
from sockudo.cli.doctor import DOCTOR_EXIT_CODES, doctor
from sockudo.cli.explain import explain
from sockudo.cli.groups import CommandTable, CommandWing, examples_with
from sockudo.cli.listen import listen
from sockudo.cli.outcome import EXIT_CODES
from sockudo.cli.publish import publish
from sockudo.cli.restart import RESTART_EXIT_CODES, restart
from sockudo.cli.tail import tail
from sockudo.cli.version import version
from sockudo.server.serve import serve

if TYPE_CHECKING:
    from sockudo.config import Settings
    from sockudo.doctor import Check

__all__ = ["app"]

_GROUPS: Final = {
    "history": "sockudo.cli.history",
    "message": "sockudo.cli.message",
    "webhooks": "sockudo.webhooks.cli",
    "push": "sockudo.push.cli",
    "dashboard": "sockudo.cli.dashboard",
    "nodes": "sockudo.cli.nodes",
    "apps": "sockudo.cli.apps",
    "config": "sockudo.cli.config",
    "token": "sockudo.cli.token",
}


_PANELS: Final = {
    "Run a server": ("serve", "restart", "config", "apps", "dashboard", "nodes", "backup", "restore"),
    "Publish and listen": ("publish", "listen", "client", "channels", "history", "message", "token"),
    "Webhooks and notifications": ("webhooks", "push"),
    "Find what is wrong": ("doctor", "tail", "explain", "version"),
}


def _panel(name: str) -> str:
    """Under which heading of the help a command stands."""
    return next((panel for panel, names in _PANELS.items() if name in names), "Commands")


def _webhook_checks() -> Sequence[Check]:
    from sockudo.webhooks.doctor import CHECKS

    return CHECKS


async def _forget_push(settings: Settings, app_id: str) -> None:
    from sockudo.push.drivers import forget_app

    await forget_app(settings, app_id)


_WINGS: Final = (CommandWing("webhooks", checks=_webhook_checks), CommandWing("push", forget_app=_forget_push))


class _Commands(TyperGroup):
    """The top-level group, which imports a group of commands when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = dict.fromkeys([*self.commands, *_GROUPS])
        order = [name for listed in _PANELS.values() for name in listed if name in names]
        return list(dict.fromkeys([*order, *names]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _GROUPS and cmd_name not in self.commands:
            group = build_command(importlib.import_module(_GROUPS[cmd_name]).app)
            group.name = cmd_name
            # What the help looks at; a group that is built here has no place to declare it.
            group.rich_help_panel = _panel(cmd_name)  # type: ignore[attr-defined]
            self.commands[cmd_name] = group
        return self.commands.get(cmd_name)


app = CommandTable(
    name="sockudo",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"], "obj": _WINGS},
    epilog=f"Start here: [bold]sockudo serve --dev[/bold]\n\n{EXIT_CODES}",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sockudo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A self-hosted realtime server that stock Pusher clients use unchanged."""


_LISTEN_V2: Final = "sockudo listen harbor --protocol 2 --rewind 10 --event tide-rise --filter 'metres>2'"

_closing = examples_with(EXIT_CODES)

for _command, _example in (
    (serve, "sockudo serve --dev"),
    (publish, "sockudo publish harbor tide-rise '{\"metres\": 2.4}'"),
    (listen, f"sockudo listen harbor presence-crew --user-id crew-8[/bold]\n\nOn protocol 2: [bold]{_LISTEN_V2}"),
    (tail, "sockudo tail --problems --channel private-orders"),
    (client, "sockudo client --url https://realtime.example.com"),
    (channels, "sockudo channels --prefix presence- --info user_count"),
    (explain, "sockudo explain 4009"),
    (version, "sockudo version --json"),
):
    app.command(epilog=_closing(_example), rich_help_panel=_panel(_command.__name__))(_command)


for _command, _example in (
    (backup, "sockudo backup /var/backups/sockudo --config sockudo.toml"),
    (restore, "sockudo restore /var/backups/sockudo --config sockudo.toml"),
):
    _epilog = examples_with(BACKUP_EXIT_CODES)(_example)
    app.command(epilog=_epilog, rich_help_panel=_panel(_command.__name__))(_command)

app.command(
    epilog=examples_with(RESTART_EXIT_CODES)("sockudo restart --config /etc/sockudo/sockudo.toml"),
    rich_help_panel=_panel("restart"),
)(restart)

app.command(
    epilog=examples_with(DOCTOR_EXIT_CODES)(
        "sockudo doctor --url https://realtime.example.com --origin https://shop.example.com[/bold]\n\n"
        "On the server's machine: [bold]sockudo doctor --config /etc/sockudo/sockudo.toml --strict"
    ),
    rich_help_panel=_panel("doctor"),
)(doctor)
