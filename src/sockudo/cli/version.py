"""``sockudo version``: what runs here, for bug reports."""

from __future__ import annotations

from typing import Annotated, Final

import typer

__all__ = ["version"]

_PARTS: Final = ("uvloop", "uvicorn", "httptools", "starlette", "msgspec")


def version(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print the versions of Sockudo, Python and the parts that matter."""
    import json

    found = _versions()
    if as_json:
        typer.echo(json.dumps(found))
        return
    width = max(map(len, found))
    for name, number in found.items():
        typer.echo(f"{name:<{width}}  {number or 'not installed'}")


def _versions() -> dict[str, str | None]:
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from sockudo.base.version import __version__

    found: dict[str, str | None] = {"sockudo": __version__, "python": platform.python_version()}
    for part in _PARTS:
        try:
            found[part] = installed(part)
        except PackageNotFoundError:
            found[part] = None
    return found
