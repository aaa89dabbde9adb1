"""Options that several commands have are in each of them, and reach it as one value."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.testing import CliRunner

from sockudo.cli.options import in_place_of
from sockudo.cli.target import ServerOptions, with_server

SIZE = Annotated[int, typer.Option("--size", help="How large.")]
COLOUR = Annotated[str, typer.Option("--colour", help="Which colour.")]


def test_a_command_gets_what_the_options_come_to() -> None:
    got: list[Any] = []
    app = typer.Typer()

    @app.command()
    @in_place_of("look", {"size": (SIZE, 3), "colour": (COLOUR, "red")}, lambda size, colour: f"{size} {colour}")
    def paint(name: str, look: str) -> None:
        """Paint it."""
        got.append((name, look))

    runner = CliRunner()
    assert runner.invoke(app, ["boat"]).exit_code == 0
    assert runner.invoke(app, ["boat", "--size", "7", "--colour", "blue"]).exit_code == 0
    assert got == [("boat", "3 red"), ("boat", "7 blue")]
    assert runner.invoke(app, ["boat", "--size", "x"]).exit_code == 2
    shown = runner.invoke(app, ["--help"]).output
    assert "Paint it." in shown
    assert "How large." in shown
    assert "look" not in shown


def test_the_server_is_found_only_when_the_command_asks_for_it() -> None:
    """Wrong usage is told before anybody is asked for credentials, and nothing is sent anywhere for it."""
    got: list[ServerOptions] = []
    app = typer.Typer()

    @app.command()
    @with_server
    def look(server: ServerOptions) -> None:
        got.append(server)

    unset = dict.fromkeys(("SOCKUDO_URL", "SOCKUDO_APP_ID", "PUSHER_APP_ID", "SOCKUDO_APP_KEY"))
    done = CliRunner().invoke(app, ["--url", "no server", "--secret", "s"], env={**unset, "PUSHER_APP_KEY": "k"})
    assert done.exit_code == 0
    assert got == [ServerOptions("no server", None, "k", "s", None)]
