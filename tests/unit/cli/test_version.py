from __future__ import annotations

import json
import platform
from importlib.metadata import version as installed

from typer.testing import CliRunner

from sockudo import __version__
from sockudo.server.commands import app

runner = CliRunner()
PARTS = ("uvloop", "uvicorn", "httptools", "starlette", "msgspec")


def test_json_names_every_part() -> None:
    found = json.loads(runner.invoke(app, ["version", "--json"]).stdout)
    assert found == {
        "sockudo": __version__,
        "python": platform.python_version(),
        **{part: installed(part) for part in PARTS},
    }


def test_text_has_one_line_per_part() -> None:
    lines = runner.invoke(app, ["version"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["sockudo", "python", *PARTS]


def test_the_option_prints_one_line() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"sockudo {__version__}\n")
