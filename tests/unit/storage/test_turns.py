"""Who writes next to a file that several processes have open."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from sockudo.storage import turns
from sockudo.storage.engine import sqlite_engine
from sockudo.storage.sqlite_files import make_private_file
from support.waiting import wait_until


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(turns, "_shared", True)
    path = tmp_path / "shared.sqlite3"
    make_private_file(path)
    engine = writer_of(path)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE said (who TEXT)")
    engine.dispose()
    return path


@pytest.fixture
def engines(path: Path) -> Iterator[list[Engine]]:
    made = [writer_of(path) for _ in range(3)]
    yield made
    for engine in made:
        engine.dispose()


def writer_of(path: Path) -> Engine:
    return sqlite_engine(path, pool_size=1, timeout_ms=5000, writing=True, synchronous="normal")


def say(engine: Engine, who: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO said VALUES (?)", (who,))


def said(path: Path) -> list[str]:
    engine = sqlite_engine(path, pool_size=1, timeout_ms=5000, writing=False)
    with engine.connect() as connection:
        found = [row.who for row in connection.exec_driver_sql("SELECT who FROM said ORDER BY rowid")]
    engine.dispose()
    return found


def waiters(path: Path) -> int:
    """How many wait for their turn, as the kernel lists them."""
    inode = f":{path.with_name(f'{path.name}-turn').stat().st_ino} "
    return sum("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def test_who_has_just_written_comes_behind_who_waits(path: Path, engines: list[Engine]) -> None:
    first, second, third = engines

    def write_twice(engine: Engine, who: str) -> None:
        say(engine, who)
        say(engine, who)

    threads = [threading.Thread(target=write_twice, args=each) for each in ((second, "second"), (third, "third"))]
    with first.begin() as connection:
        connection.exec_driver_sql("INSERT INTO said VALUES ('first')")
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda number=number: waiters(path) == number, "it to wait")  # type: ignore[misc]
    say(first, "first")
    for thread in threads:
        thread.join()
    order = said(path)
    assert order[:2] == ["first", "second"]
    assert sorted(order) == ["first"] * 2 + ["second"] * 2 + ["third"] * 2


def test_a_turn_ends_with_its_transaction_however_that_ends(path: Path, engines: list[Engine]) -> None:
    first, second, _ = engines
    with pytest.raises(DBAPIError), first.begin() as connection:
        connection.exec_driver_sql("INSERT INTO nothing VALUES (1)")
    say(second, "after a failure")
    with first.connect() as connection:
        connection.exec_driver_sql("INSERT INTO said VALUES ('undone')")
    say(second, "after an undone one")
    with first.connect().execution_options(reading=True) as connection:
        connection.exec_driver_sql("SELECT * FROM said").all()
        say(second, "beside a reader")
    assert said(path) == ["after a failure", "after an undone one", "beside a reader"]


def test_a_turn_ends_with_its_process(path: Path, engines: list[Engine]) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with writer_of(path).connect() as connection:
            connection.exec_driver_sql("INSERT INTO said VALUES ('lost')")
            os.write(writing, b"x")
            signal.pause()
        os._exit(0)
    assert os.read(reading, 1) == b"x"
    waiting = threading.Thread(target=say, args=(engines[0], "kept"))
    waiting.start()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    waiting.join()
    os.close(reading)
    os.close(writing)
    assert said(path) == ["kept"]


def test_an_engine_gives_its_descriptor_back(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        engine = writer_of(path)
        say(engine, "x")
        engine.dispose()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_shares_no_file_makes_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_shared", False)
    turn = path.with_name(f"{path.name}-turn")
    turn.unlink()
    engine = writer_of(path)
    say(engine, "x")
    engine.dispose()
    assert not turn.exists()


def test_a_file_that_is_there_is_not_opened_by_making_it(path: Path, engines: list[Engine]) -> None:
    """To close it would end the locks that SQLite has on it in this process."""
    with engines[0].begin() as connection:
        connection.exec_driver_sql("INSERT INTO said VALUES ('first')")
        make_private_file(path)
        pid = os.fork()
        if not pid:
            # Without the lock this would be a second writer.
            turns._shared = False
            other = sqlite_engine(path, pool_size=1, timeout_ms=1, writing=True)
            try:
                say(other, "second")
            except DBAPIError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert said(path) == ["first"]
