"""The process that `support.forked` starts: it has imported the whole of sockudo and makes copies of itself.

Each request is a datagram on the socket whose number is the first argument: a command with the descriptors that are to
be its input and output, answered with the id of its process, or the id of one that has ended, answered with its exit
code. Until somebody asks for that, it stays a zombie, so that its id means no other process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
from typing import Any

import sockudo
from sockudo.cli import main

_LONGEST = 256 * 1024


def import_everything() -> None:
    """All that a command or a server may load later, but for what only tests of applications do."""
    for module in pkgutil.walk_packages(sockudo.__path__, "sockudo."):
        if not module.name.startswith(("sockudo.testing", "sockudo.__main__")):
            importlib.import_module(module.name)
    assert threading.active_count() == 1, "a copy has only the thread that made it"
    gc.collect()
    gc.freeze()


def copies(requests: socket.socket) -> dict[str, Any] | None:
    """Answers requests. Returns twice, like fork: None in the template at its end, in each copy what it has to do."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 3)
        if not message:
            return None
        asked = json.loads(message)
        if "reap" in asked:
            _, status = os.waitpid(asked["reap"], 0)
            requests.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            requests.close()
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            return dict(asked)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(pid).encode())


def become(asked: dict[str, Any]) -> None:
    """Where the command is to run, with its arguments and variables."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["sockudo", *asked["args"]]
    at_once = bool(asked["env"].get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - they last as long as the process
    sys.stdout = open(1, "w", buffering=1 if at_once else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the tests means them
    import_everything()
    wanted = copies(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        become(wanted)
        main()
