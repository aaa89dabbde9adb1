"""Threads that work on a database for the event loop: transactions go in, results come out.

Each thread is its owner's, has a connection while it works, and ends with `Worker.close`: no statement lasts for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NoReturn, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from sockudo import errors
from sockudo.config.sections.databases import SqlDatabase
from sockudo.errors import OutcomeUnknown
from sockudo.storage.failures import RETRY_AFTER, Subject, capital, is_conflict, is_lost, is_taken, refuse

__all__ = ["Worker", "background_threads"]


def background_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Threads that never interrupt the loop by waking up; ``name`` is what they are called, with a number.

    A thread that works on a database sleeps and wakes at each of its statements. By default the system lets a thread
    that wakes interrupt the one that runs: the loop would be stopped thousands of times a second, each time for a
    thread that has to wait for the interpreter's lock, which the loop holds. Their share of the core stays what it was,
    but a loop that has much to do makes them wait: nothing for a store whose commits are waited for.
    """
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_never_interrupt)


def _never_interrupt() -> None:
    # Linux has it, and everybody may. Where it is missing or forbidden the threads work as they always did.
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))


T = TypeVar("T")

_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.02


class Worker:
    """Runs transactions on ``engine`` in as many threads as it has connections, in the order in which they come; with
    0 ``threads`` at once on the caller's, which is for databases in memory.

    A transaction that was undone because of another one, or because its connection was lost before the end, is tried
    again as long as ``timeout_ms`` have not passed. So is one, with ``optimistic``, that found a key taken which it had
    not seen before. What fails is refused in the name of the subject. ``background`` is for work that no client waits
    for.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        threads: int,
        timeout_ms: int,
        of: Subject,
        *,
        optimistic: bool = False,
        background: bool = False,
    ) -> None:
        self._engine = engine
        self._of = of
        self._optimistic = optimistic
        self._background = background
        self._name = name
        self._threads = threads
        self._seconds = timeout_ms / 1000
        self._executor: ThreadPoolExecutor | None = None
        # What was logged of the last failure, until something succeeds.
        self._problem: str | None = None

    def start(self) -> None:
        """Makes the threads; they have no connection before there is something to do."""
        if self._executor is None and self._threads:
            if self._background:
                self._executor = background_threads(self._threads, self._name)
            else:
                self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)

    async def close(self) -> None:
        """Waits for what is under way, which ends in time, and gives threads and connections back."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(self._close, executor)

    def _close(self, executor: ThreadPoolExecutor) -> None:
        executor.shutdown()
        self._engine.dispose()

    async def call(self, work: Callable[[Engine], T]) -> T:
        """The result of ``work``, which looks after its transactions itself."""
        return await self._submit(partial(self._call, work))

    async def open(self, work: Callable[[Engine], T], server: SqlDatabase | None) -> T:
        """The result of the first ``work`` of all; when the ``server`` cannot be used the error says what to do."""
        try:
            return await self.call(work)
        except errors.SockudoError as error:
            # What is not its database's says that itself.
            if server is None or not isinstance(error.__cause__, DBAPIError | OSError):
                raise
            remedy = (
                f"See that the database at {server.place} runs, that user '{server.username}' may log in and that "
                f"{server.section} says how to reach it."
            )
            raise error.spec(f"{error.text}. {remedy}", retry_after=error.retry_after) from error.__cause__

    async def read(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work`` in a transaction that changes nothing."""
        return await self._submit(partial(self._transact, work, writing=False))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work`` once its transaction is durable.

        Raises `OutcomeUnknown` when the connection was lost while that was being confirmed.
        """
        return await self._submit(partial(self._transact, work, writing=True))

    async def _submit(self, job: Callable[[], T]) -> T:
        if not self._threads:
            return job()
        if self._executor is None:
            raise self._of.spec(f"{capital(self._of.store)} is not open", retry_after=RETRY_AFTER)
        return await asyncio.get_running_loop().run_in_executor(self._executor, job)

    # ---- what follows runs in the threads ----

    def _call(self, work: Callable[[Engine], T]) -> T:
        try:
            return work(self._engine)
        except (DBAPIError, OSError) as error:
            self._refuse(error)

    def _transact(self, work: Callable[[Connection], T], *, writing: bool) -> T:
        deadline = time.monotonic() + self._seconds
        attempt = 0
        while True:
            attempt += 1
            try:
                with self._engine.connect().execution_options(reading=not writing) as connection:
                    result = work(connection)
                    if writing:
                        self._commit(connection)
                    self._problem = None
                    return result
            except UnicodeError as error:
                raise errors.INVALID_INPUT(f"A text in {self._of.item} is no valid Unicode") from error
            except DBAPIError as error:
                late = attempt == _ATTEMPTS or time.monotonic() > deadline
                if late or not self._may_try_again(error):
                    self._refuse(error)
            # Two that got in each other's way must not meet again at once.
            time.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - not a secret

    def _refuse(self, error: DBAPIError | OSError) -> NoReturn:
        problem = str(getattr(error, "orig", error))
        known, self._problem = problem == self._problem, problem
        refuse(error, self._of, known=known)

    def _may_try_again(self, error: DBAPIError) -> bool:
        return is_conflict(error) or is_lost(error) or (self._optimistic and is_taken(error))

    def _commit(self, connection: Connection) -> None:
        try:
            connection.commit()
        except DBAPIError as error:
            try:
                self._refuse(error)
            except errors.SockudoError as refusal:
                raise OutcomeUnknown(refusal.spec, refusal.text, refusal.retry_after) from error
