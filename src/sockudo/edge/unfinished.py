"""Bodies that have not arrived whole: refused early where their signature is wrong already, and bounded together.

Everything that is signed but the hash of the body stands in the query, so most requests that will be refused can be
refused before their body is kept. A body that arrives in one piece with its head costs nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sockudo import errors
from sockudo.auth.signing import AppLookup, authenticate

__all__ = ["UNSIGNED_BYTES", "UnfinishedBodies", "check_signed_head"]

UNSIGNED_BYTES: Final = 16 * 1024
"""As much of a body may arrive before its signature is checked: keeping a small one costs less than the check."""

_SIGNED: Final = re.compile(
    rb"/apps/([^/]+)/(?:events/?$|batch_events/?$|users/|push/)|/users/[^/]+/terminate_connections/?$"
)


class UnfinishedBodies:
    """Counts the bytes of all bodies that are arriving, up to ``limit``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def grow(self, size: int) -> None:
        """Counts ``size`` more bytes; raises `errors.BODIES_FULL`, and counts none, where that would be too many."""
        if self.held + size > self.limit:
            raise errors.BODIES_FULL(
                f"Request bodies that have not arrived whole hold {self.held >> 20} MB, and "
                "http_api.unfinished_bodies_in_mb allows no more",
                retry_after=1,
            )
        self.held += size

    def shrink(self, size: int) -> None:
        """Forgets bytes of a body that has arrived whole, or never will."""
        self.held -= size


def check_signed_head(
    apps: AppLookup, method: bytes, target: bytes, *, now: float, may_explain: Callable[[], bool]
) -> None:
    """Raises what `authenticate` does, but for the hash of the body, where the path is one of the signed API's."""
    path, mark, query = target.partition(b"?")
    found = _SIGNED.match(path)
    if found is None:
        return
    authenticate(
        apps,
        method=method.decode("ascii"),
        raw_path=path.removesuffix(b"/"),
        query=query if mark else None,
        body=None,
        path_app_id=None if found[1] is None else found[1].decode("latin-1"),
        now=now,
        may_explain=may_explain,
    )
