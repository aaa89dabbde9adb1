"""What the commands of ``sockudo push`` have in common: options, exit codes, and the open connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.calls import ask, refuse_without_terminal
from sockudo.cli.groups import examples_with
from sockudo.cli.options import Everything, Json, JsonLines, Yes
from sockudo.cli.outcome import ExitCode, fail, failures, note
from sockudo.cli.tables import print_json

if TYPE_CHECKING:
    from sockudo.cli.target import Target
    from sockudo.client.http import ApiClient
    from sockudo.client.push import PushApi

__all__ = [
    "EXIT_CODES",
    "PROVIDER_NAMES",
    "Everything",
    "Json",
    "JsonLines",
    "Limit",
    "Yes",
    "ask",
    "checked_provider",
    "example",
    "pages",
    "print_json",
    "refuse_without_terminal",
    "show_pages",
    "with_push",
]

EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused, or not everybody was reached, or the question was answered with no · "
    "2 wrong usage · 3 the server could not be reached · 4 --timeout passed first"
)

PROVIDER_NAMES: Final = ("fcm", "apns", "webpush", "hms", "wns")

example = examples_with(EXIT_CODES)

Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show so many.")]

# Rows of one request at most (spec: push § 1).
_PAGE: Final = 1000


def with_push(target: Target, run: Callable[[PushApi], Coroutine[Any, Any, None]]) -> None:
    """Does it with the server open, and ends the command with a message for what it refuses."""
    import asyncio

    with failures():
        asyncio.run(_opened(target, run))


async def _opened(target: Target, run: Callable[[PushApi], Coroutine[Any, Any, None]]) -> None:
    # A test waits for the provider, ten seconds at most.
    async with target.api(timeout=20.0) as api:
        await run(_client(api))


def _client(api: ApiClient) -> PushApi:
    from sockudo.client.push import PushApi

    return PushApi(api)


_Page = dict[str, Any]


async def pages(ask_for: Callable[..., Awaitable[_Page]], limit: int | None) -> AsyncIterator[tuple[list[_Page], bool]]:
    """The items of each page and whether there is more, until there were ``limit`` of them, or none are left."""
    left, cursor = limit, None
    while True:
        page = await ask_for(cursor=cursor, limit=min(left or _PAGE, _PAGE))
        cursor = page.get("next_cursor")
        left = None if left is None else left - len(page["items"])
        yield page["items"], cursor is not None
        if cursor is None or left == 0:
            return


async def show_pages(
    ask_for: Callable[..., Awaitable[_Page]], limit: int | None, show: Callable[[list[_Page]], None], *, as_json: bool
) -> None:
    """Prints the items, and a note where there are more than the ``limit``; None is all of them."""
    left = False
    async for items, more in pages(ask_for, limit):
        left = more
        if not as_json:
            show(items)
            continue
        for item in items:
            print_json(item)
    if left and not as_json:
        note("There is more: see all of it with --all.")


def checked_provider(name: str) -> str:
    """The provider as it stands in routes; ends the command for one that there is not."""
    word = name.lower().replace("_", "").replace("-", "")
    if word not in PROVIDER_NAMES:
        fail(f"No provider is called '{name}'.", ExitCode.USAGE, f"Providers: {', '.join(PROVIDER_NAMES)}.")
    return word
