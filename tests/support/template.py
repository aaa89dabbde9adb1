"""The process behind `support.forked`: it has imported the whole of sockudo and makes copies of itself.

It listens on the abstract socket that its argument names, says when it is ready, and ends with its input. Each request
is a datagram: a command with the descriptors that are to be its input and output, answered with the id of its process,
or the id of one that has ended, answered with its exit code. Until somebody asks for that, it stays a zombie, so that
its id means no other process.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import sockudo

_LONGEST = 256 * 1024
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


def import_everything() -> None:
    """All that one of them may load later, but for what is run itself."""
    for module in pkgutil.walk_packages(sockudo.__path__, "sockudo."):
        if module.name not in ("sockudo.__main__", "sockudo.testing.push_server"):
            importlib.import_module(module.name)
    for name in _AT_FIRST_USE:
        # Other versions of the libraries have others.
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)


def work_out_everything() -> None:
    """What comes out the same in each of them, and is worked out once: a server has run here, and shown its pages.

    Declarations of settings, patterns of routes, types of annotations and templates of pages are more than half of
    what a start costs.
    """
    import typer

    from sockudo.config import load
    from sockudo.dashboard.replies import prepare_templates
    from sockudo.server.commands import app
    from sockudo.server.server import Server

    async def serve_once(folder: Path) -> None:
        ports: dict[str, object] = {"port": 0, "metrics.port": 0}
        # One that is given: to make one takes longer than the rest.
        chosen = ports | {"host": "127.0.0.1", "metrics.host": "127.0.0.1", "dashboard.password": "seen-by-nobody"}
        environment = {"SOCKUDO_DATA_DIR": str(folder / "data")}
        server = Server(load(path=None, environ=environment, cwd=folder, overrides=chosen).settings)
        await server.start()
        await server.stop()
        await prepare_templates(server.board)

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        asyncio.run(serve_once(Path(folder)))
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(app)


def settle() -> None:
    """What there is now is in all copies, which share it as long as nobody looks for garbage in it."""
    assert threading.active_count() == 1, "a copy has only the thread that made it"
    gc.collect()
    gc.freeze()
    gc.enable()


def copies(listener: socket.socket) -> dict[str, Any] | None:
    """Answers requests. Returns twice, like fork: None in the template at its end, in each copy what it has to do."""
    asking: list[socket.socket] = []
    while True:
        ready, _, _ = select.select([sys.stdin, listener, *asking], [], [])
        if sys.stdin in ready:
            return None
        if listener in ready:
            asking.append(listener.accept()[0])
        for requests in set(ready).intersection(asking):
            message, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 3)
            if not message:
                requests.close()
                asking.remove(requests)
                continue
            asked = dict(json.loads(message))
            if "reap" in asked:
                _, status = os.waitpid(asked["reap"], 0)
                requests.send(str(os.waitstatus_to_exitcode(status)).encode())
                continue
            pid = os.fork()
            if pid == 0:
                for each in (listener, *asking):
                    each.close()
                for number, descriptor in enumerate(descriptors):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
                return asked
            for descriptor in descriptors:
                os.close(descriptor)
            requests.send(str(pid).encode())


def become(asked: dict[str, Any]) -> None:
    """Where the command is to run, with its arguments and variables."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = [asked["program"], *asked["args"]]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - they last as long as the process
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    if asked["env"].get("PYTHONUNBUFFERED"):
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    else:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115


def run(program: str) -> int:
    """The exit code of a program that ends as they usually do; otherwise raises what it raised."""
    try:
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            raise
        return ended.code or 0
    return 0


def leave(codes: list[int]) -> None:
    """Ends a copy once threads and exit handlers are through: to take all apart would be most of what it costs."""
    for code in codes:
        # What is said of coroutines that nobody awaited and errors that nobody took.
        gc.collect()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    codes: list[int] = []
    atexit.register(leave, codes)  # the first to be registered is the last to be called
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the tests means them
    # Who asks before the rest is done waits for it.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0{sys.argv[1]}")
    listener.listen()
    # Nearly all of what is made here stays; to look for garbage again and again would take a quarter of it.
    gc.disable()
    import_everything()
    work_out_everything()
    print("ready", flush=True)
    settle()
    wanted = copies(listener)
    if wanted is not None:
        become(wanted)
        codes.append(run(wanted["program"]))
