"""How a command ends: exit codes that mean something, and expected failures as sentences instead of tracebacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NoReturn

import typer

if TYPE_CHECKING:
    from sockudo.client.failures import ApiError
    from sockudo.errors import ErrorSpec

__all__ = ["EXIT_CODES", "ExitCode", "fail", "failures", "in_seconds", "note", "silence_logs"]


class ExitCode(IntEnum):
    """What a script can tell from the exit code."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    TOO_FEW = 4


EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused by the server, or a configuration that cannot be used · 2 wrong usage · "
    "3 the server could not be reached · 4 --timeout passed before --count events came"
)


def note(text: str) -> None:
    """Say something to the person at the terminal; standard output stays clean for programs."""
    typer.echo(text, err=True)


def fail(text: str, code: ExitCode, *remedies: str) -> NoReturn:
    """End the command: what went wrong on standard error, with what to do about it on lines of its own."""
    typer.secho(f"Error: {text}", fg=typer.colors.RED, err=True)
    for remedy in remedies:
        note(f"  → {remedy}")
    raise typer.Exit(code)


def in_seconds(seconds: float) -> str:
    """A span as people say it: ``1 second``, ``2.5 seconds``."""
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


@contextmanager
def failures() -> Iterator[None]:
    """Turn what a client may meet (refusal, no connection, an early close) into a message and an exit code."""
    from sockudo.client.failures import ApiError, ClientError, ClosedError, UnreachableError

    try:
        yield
    except ApiError as error:
        spec = _row_of(error)
        fail(f"{error.text} (HTTP {error.status}, {error.code})", ExitCode.REFUSED, *_advice(error, spec))
    except ClosedError as error:
        fail(str(error), ExitCode.REFUSED, *explanation(error.code, error.reason))
    except UnreachableError as error:
        fail(
            str(error),
            ExitCode.UNREACHABLE,
            error.advice
            or "Is the server running? Does it listen on this address (`host` of its configuration)? Start one with "
            "`sockudo serve --dev`, or name it with --url or SOCKUDO_URL.",
        )
    except ClientError as error:
        fail(str(error), ExitCode.REFUSED, "Is this a Sockudo server? Compare its version with `sockudo version`.")


def explanation(code: int, reason: str) -> tuple[str, ...]:
    """What the catalogue advises for a WebSocket error or close code; empty when it does not know it."""
    spec = _socket_row(code, reason)
    return () if spec is None else (spec.remedy, f"More: sockudo explain {spec.slug}")


def _advice(error: ApiError, spec: ErrorSpec | None) -> list[str]:
    lines = []
    if error.retry_after is not None:
        lines.append(f"Try again in {in_seconds(error.retry_after)}.")
    if spec is not None:
        lines += [spec.remedy, f"More: sockudo explain {spec.slug}"]
    return lines


def _row_of(error: ApiError) -> ErrorSpec | None:
    """The row that the server meant: named by the anchor in ``docs``, else by code and status.

    Of several with that code, the one it is named after stands for all.
    """
    from sockudo.errors import CATALOGUE

    named = CATALOGUE.get(error.docs.rpartition("#")[2])
    if named is not None:
        return named
    rows = [spec for spec in CATALOGUE.values() if (spec.code, spec.status) == (error.code, error.status)]
    named_after = [spec for spec in rows if spec.slug == error.code]
    return rows[0] if len(rows) == 1 else next(iter(named_after), None)


def _socket_row(code: int, reason: str) -> ErrorSpec | None:
    from sockudo.errors import CATALOGUE

    rows = [spec for spec in CATALOGUE.values() if spec.ws == code]
    exact = [spec for spec in rows if spec.meaning == reason]
    if exact:
        return exact[0]
    return rows[0] if len(rows) == 1 else None


def silence_logs() -> None:
    """For commands that use a server's parts: their output and errors say what a log line would."""
    import structlog

    structlog.configure(processors=[_drop])


def _drop(*_: object) -> NoReturn:
    import structlog

    raise structlog.DropEvent
