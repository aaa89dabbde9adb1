"""The copies that most tests start instead of processes from nothing: a program sees no difference between the two."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.forked import ForkedProcess

PROGRAMS = {
    "what was printed without an end of line": "print('x', end='')",
    "arguments and variables": "import os, sys; print(sys.argv[1:], sorted(os.environ), os.getcwd(), input())",
    "a code": "raise SystemExit(3)",
    "a word instead of a code": "raise SystemExit('no')",
    "an error": "raise ValueError('no')",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "threads and handlers at the end": """
import atexit, threading, time
atexit.register(print, "last")
atexit.register(print, "before")
threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
print("main")
""",
    "a coroutine that nobody awaited": """
async def forgotten(): pass
held = []
held.append((held, forgotten()))
del held
""",
    "an error that nobody took": """
import asyncio
async def fails(): raise ValueError("no")
async def main():
    held.append((held, asyncio.create_task(fails())))
    await asyncio.sleep(0.01)
held = []
asyncio.run(main())
del held
""",
}


def said(text: str) -> list[str]:
    """The lines without what says where in memory or in which file something is, or how many there were before."""
    lines = [re.sub(r"^\S+:\d+: |0x[0-9a-f]+|(?<='Task-)\d+", "", line) for line in text.splitlines()]
    return [line for line in lines if not line.startswith((" ", "RuntimeWarning: Enable tracemalloc", "Process Fork"))]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_copy_does_and_ends_as_a_process_from_nothing(tmp_path: Path, name: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[name])
    env = {"PATH": os.environ["PATH"], "LC_CTYPE": "C.UTF-8", "TOLD": "é"}
    words = ["a", "b"]
    line = [sys.executable, str(program), *words]
    real = subprocess.run(
        line, env=env, cwd=tmp_path, input="words\n", capture_output=True, text=True, timeout=30, check=False
    )
    errors = tmp_path / "errors"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        errors.open("w") as file,
        ForkedProcess(words, program=program, env=env, cwd=tmp_path, stderr=file, **pipes) as copy,
    ):
        assert copy.stdin is not None
        # One that reads nothing may have ended by now.
        with contextlib.suppress(BrokenPipeError):
            copy.stdin.write("words\n")
            copy.stdin.close()
        printed = copy.rest(30)
    assert (copy.returncode, printed) == (real.returncode, real.stdout)
    assert said(errors.read_text()) == said(real.stderr)


def test_a_copy_is_waited_for_signalled_and_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import time\nprint('on', flush=True)\ntime.sleep(60)")
    with ForkedProcess([], program=program, stdout=subprocess.PIPE) as copy:
        assert copy.stdout is not None
        assert copy.stdout.readline() == "on\n"
        assert copy.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            copy.wait(0.01)
        copy.terminate()
        assert copy.wait(10) == -signal.SIGTERM
        copy.kill()
    with ForkedProcess([], program=program, stdout=subprocess.DEVNULL) as copy:
        pass
    assert copy.returncode == -signal.SIGKILL
