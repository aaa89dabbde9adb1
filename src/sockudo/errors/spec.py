"""What a row of the error catalogue is, and the exception that is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CATALOGUE", "ErrorSpec", "OutcomeUnknown", "SockudoError", "row"]


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the error catalogue.

    ``slug`` is ours and unique: the anchor in the error reference. ``code`` is the stable word in an HTTP body and may
    be shared by rows that tell causes apart. ``status`` is the HTTP status, ``ws`` the number in an error frame; either
    is None where the error cannot arise on that side. ``closes`` says that the WebSocket connection ends with it.
    """

    slug: str
    code: str
    status: int | None
    ws: int | None
    retry: bool
    closes: bool
    meaning: str
    causes: tuple[str, ...]
    remedy: str
    # The number that AI-transport errors carry besides their word (spec: http-api § 3.1).
    ai_code: int | None = None
    # What exactly failed, where rows share a code: the member "reason" of the envelope.
    reason: str | None = None
    # The code of the V2 event that announces it (spec: websocket § 13).
    event_code: int | None = None
    # Where operators read which of the causes it was; left out where they are reading it.
    seen_in: str | None = None

    def __call__(
        self,
        text: str | None = None,
        *,
        retry_after: int | None = None,
        likely_cause: str | None = None,
        shared_cause: str | None = None,
    ) -> SockudoError:
        """The exception for this row; ``text`` says what was wrong with this very request."""
        return SockudoError(self, text or self.meaning, retry_after, likely_cause, shared_cause)


class SockudoError(Exception):
    """A refusal with its row of the catalogue. ``retry_after`` is in whole seconds.

    ``likely_cause`` is for the operator alone and never sent to who was refused. Where it names another app,
    ``shared_cause`` is what the holder of this app's secret may read in its place.
    """

    __slots__ = ("likely_cause", "retry_after", "shared_cause", "spec", "text")

    def __init__(
        self,
        spec: ErrorSpec,
        text: str,
        retry_after: int | None = None,
        likely_cause: str | None = None,
        shared_cause: str | None = None,
    ) -> None:
        super().__init__(text)
        self.spec = spec
        self.text = text
        self.retry_after = retry_after
        self.likely_cause = likely_cause
        self.shared_cause = shared_cause

    @property
    def client_text(self) -> str:
        """What a WebSocket client may read, which need not hold the app's secret.

        A failure of the server's own parts is the catalogue's meaning alone: how its stores do is for operators, who
        find ``text`` in the log and on the page *Why?*.
        """
        return self.spec.meaning if self.spec.status == 503 else self.text

    def body(self) -> dict[str, Any]:
        """The HTTP error envelope (spec: http-api § 3.1): error, code, status, where to read more and, of rows that
        share a code which programs have to tell apart, the reason.
        """
        body = {
            "error": self.text,
            "code": self.spec.code,
            "status": self.spec.status or 500,
            "docs": f"errors.md#{self.spec.slug}",
        }
        if self.spec.ai_code is not None:
            body["ai_code"] = self.spec.ai_code
        if self.spec.reason is not None:
            body["reason"] = self.spec.reason
        return body


class OutcomeUnknown(SockudoError):  # noqa: N818 - a refusal, named after what it says
    """The refusal of a commit that may have been done: the store was lost while it was ending.

    Committing again finds out, for what has a key.
    """


CATALOGUE: Final[dict[str, ErrorSpec]] = {}


def row(
    slug: str,
    meaning: str,
    *,
    code: str | None = None,
    http: int | None = None,
    ws: int | None = None,
    retry: bool = False,
    closes: bool = False,
    causes: tuple[str, ...] = (),
    remedy: str,
    ai_code: int | None = None,
    reason: str | None = None,
    event_code: int | None = None,
    seen_in: str | None = None,
) -> ErrorSpec:
    """Puts a row into the catalogue. Raises ValueError for a slug that it has already."""
    if slug in CATALOGUE:
        raise ValueError(f"error slug declared twice: {slug}")
    spec = ErrorSpec(
        slug,
        code or slug,
        http,
        ws,
        retry,
        closes,
        meaning,
        causes,
        remedy,
        ai_code,
        reason,
        event_code,
        seen_in,
    )
    CATALOGUE[slug] = spec
    return spec
