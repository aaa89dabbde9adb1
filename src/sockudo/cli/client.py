"""``sockudo client``: where pages get the client for browsers from, and what to paste."""

from __future__ import annotations

from typing import Annotated

import typer

from sockudo.cli.target import DEFAULT_URL

__all__ = ["client"]


def client(
    *,
    url: Annotated[
        str,
        typer.Option("--url", envvar="SOCKUDO_URL", metavar="URL", help="Where browsers reach the server."),
    ] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print script tags of the client for browsers, which the server brings, and the integrity of its files.

    A tag with the version and its integrity loads exactly this client, and is written anew when the server is updated;
    one without follows the server.
    """
    from sockudo.cli.tables import print_json
    from sockudo.cli.target import checked_url
    from sockudo.client.browser_files import browser_build

    build, base = browser_build(), f"{checked_url(url)}/client"
    pinned = f"{base}/{build.version}"
    if as_json:
        print_json(
            {
                "version": build.version,
                "latest": f"{base}/sockudo.js",
                "files": {name: {"url": f"{pinned}/{name}", "integrity": each} for name, each in build.files.items()},
            }
        )
        return
    typer.echo(
        f"""\
This version ({build.version}), and nothing else:
  <script src="{pinned}/sockudo.js" crossorigin="anonymous"
    integrity="{build.files["sockudo.js"]}"></script>

Always that of the server:
  <script src="{base}/sockudo.js"></script>

In a module:
  import Sockudo from "{pinned}/sockudo.mjs";

Integrity of the files in {pinned}/:"""
    )
    width = max(map(len, build.files))
    for name, each in build.files.items():
        if not name.endswith(".map"):
            typer.echo(f"  {name:<{width}}  {each}")
