"""What the fork server of `support.forked` has done before it forks: it has imported sockudo, and run a server once.

Declarations of settings, patterns of routes, types of annotations and templates of pages are worked out at their first
use and come out the same each time; they are more than half of what a start costs. The name of this module is in the
command line of all forks, where ``sockudo doctor`` looks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import io
import pkgutil
import tempfile
import threading
from pathlib import Path

import typer

import sockudo

_AT_FIRST_USE = (
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "encodings.idna",
    "encodings.utf_8_sig",
    "httpcore",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "psycopg",
    "pymysql",
    "requests",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "typer._click.decorators",
    "uvicorn.lifespan.off",
)
"""What libraries import when they need it, which is in nearly every process."""


def _import_everything() -> None:
    for module in pkgutil.walk_packages(sockudo.__path__, "sockudo."):
        if module.name not in ("sockudo.__main__", "sockudo.testing.push_server"):
            importlib.import_module(module.name)
    for name in _AT_FIRST_USE:
        # Other versions of the libraries have others.
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)


async def _serve_once(folder: Path) -> None:
    from sockudo.config import load
    from sockudo.dashboard.replies import prepare_templates
    from sockudo.server.server import Server

    # A password that is given: to make one takes longer than the rest.
    chosen = {"host": "127.0.0.1", "metrics.host": "127.0.0.1", "dashboard.password": "seen by no reader"}
    chosen |= {"port": 0, "metrics.port": 0}
    environment = {"SOCKUDO_DATA_DIR": str(folder / "data")}
    server = Server(load(path=None, environ=environment, cwd=folder, overrides=chosen).settings)
    await server.start()
    await server.stop()
    await prepare_templates(server.board)


def _prepare() -> None:
    # Nearly all of what is made here stays; to look for garbage again and again would take a quarter of the time.
    gc.disable()
    _import_everything()
    from sockudo.server.commands import app

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        asyncio.run(_serve_once(Path(folder)))
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(app)
    assert threading.active_count() == 1, "a fork has only the thread that made it"
    gc.collect()
    gc.freeze()
    gc.enable()


_prepare()
