"""``sockudo`` commands as a shell gives them, from copies of a process that has imported everything.

    done = run(["channels", "--json"], env=environment(server.url, DEFAULT_APP), cwd=server.folder)

One that goes on until it is told to end is a `support.forked.ForkedProcess` with the same variables.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest
import typer.main
import typer.testing

from support.forked import ForkedProcess
from support.server import DEFAULT_APP
from support.signing import Credentials

__all__ = ["credentials", "environment", "invoke", "run"]

ENDED_WITHIN = 60.0
"""Seconds a command may take before it counts as stuck."""


def credentials(app: Credentials) -> dict[str, str]:
    """The variables that say for which app a command is."""
    return {"SOCKUDO_APP_ID": app.id, "SOCKUDO_APP_KEY": app.key, "SOCKUDO_APP_SECRET": app.secret}


def environment(url: str | None = None, app: Credentials | None = None, **more: str) -> dict[str, str]:
    """The variables of the shell that runs the tests without those for Sockudo; where the server is, and for which app.

    Nothing is coloured, and a line holds 200 characters.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SOCKUDO_", "PUSHER_"))}
    server = {} if url is None else {"SOCKUDO_URL": url}
    whose = {} if app is None else credentials(app)
    return {**plain, "NO_COLOR": "1", "COLUMNS": "200", **server, **whose, **more}


def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    code: int | None = 0,
    stdin: str = "",
    secrets: Collection[str] = (DEFAULT_APP.secret,),
) -> subprocess.CompletedProcess[str]:
    """What a command says, once it has ended with this code, without a traceback and without having said a secret.

    With a ``code`` of None it may end with any.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        with ForkedProcess(arguments, env=env, cwd=cwd, stdin=given, stdout=out, stderr=err) as process:
            try:
                ended = process.wait(ENDED_WITHIN)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{arguments} did not end: {_text(out)} {_text(err)}") from None
        done = subprocess.CompletedProcess(list(arguments), ended, _text(out), _text(err))
    assert "Traceback" not in done.stdout + done.stderr, done
    assert code in (None, done.returncode), done
    assert not any(secret in done.stdout + done.stderr for secret in secrets), done
    return done


_command = functools.cache(typer.main.get_command)


def invoke(arguments: Sequence[str], *, env: Mapping[str, str | None]) -> typer.testing.Result:
    """The command in this process, which is quicker; variables of None are not set."""
    from sockudo.server.commands import app

    with pytest.MonkeyPatch.context() as patch:
        # A process reads the signatures of its commands once; this would for each line.
        patch.setattr(typer.testing, "_get_command", _command)
        done = typer.testing.CliRunner().invoke(app, arguments, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
