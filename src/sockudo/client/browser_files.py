"""The client for browsers as it lies in the package, where scripts/client puts what it builds from clients/js."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["BrowserBuild", "browser_build", "browser_file"]

_FOLDER: Final = Path(__file__).parent / "browser"


class BrowserBuild(msgspec.Struct, frozen=True):
    """``files`` has the ``integrity`` of each file by its name; ``sources`` is a hash of what it was built from."""

    version: str
    sources: str
    files: Mapping[str, str]


@cache
def browser_build() -> BrowserBuild:
    """What there is."""
    return msgspec.json.decode((_FOLDER / "build.json").read_bytes(), type=BrowserBuild)


def browser_file(name: str) -> bytes:
    """The content of a file of the build; KeyError for any other name."""
    if name not in browser_build().files:
        raise KeyError(name)
    return (_FOLDER / name).read_bytes()
