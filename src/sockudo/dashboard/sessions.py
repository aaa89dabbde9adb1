"""Who is logged in: sessions in memory, each with an end and a token against forged requests."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["MAX_SESSIONS", "Session", "Sessions"]

MAX_SESSIONS = 1000
"""Sessions at a time; one more ends the oldest."""

_TOKEN_BYTES = 32


@dataclass(slots=True, eq=False)
class Session:
    """One login, or all programs that use the password itself (``csrf`` is empty then, as nothing sends it unasked).

    ``ends`` is a monotonic time; ``ended`` is true once the session has ended for any reason.
    """

    key: bytes
    csrf: str
    ends: float
    version: bytes
    ended: bool = False
    # Shown on the next page, once.
    notices: list[str] = field(default_factory=list)

    @property
    def of_programs(self) -> bool:
        """Whether it is the one of all programs."""
        return not self.key

    def accepts(self, csrf: str | None) -> bool:
        """Whether a request that changes something carries the token of this session."""
        return csrf is not None and hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


class Sessions:
    """Sessions by the digest of their secret id: what is kept here opens no door."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # In the order of their beginnings.
        self._open: dict[bytes, Session] = {}
        self._programs: Session | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(self, version: bytes, lifetime: float) -> tuple[str, Session]:
        """A new session under this version of the password, and the id for its cookie. ``lifetime`` in seconds."""
        now = self._monotonic()
        for old in [session for session in self._open.values() if now >= session.ends]:
            self.close(old)
        while len(self._open) >= MAX_SESSIONS:
            self.close(next(iter(self._open.values())))
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        key = _key(token)
        session = Session(key, secrets.token_urlsafe(_TOKEN_BYTES), now + lifetime, version)
        self._open[key] = session
        return token, session

    def find(self, token: str, version: bytes | None) -> Session | None:
        """The session of a cookie, if it lasts and the password is still the one it was opened with."""
        session = self._open.get(_key(token))
        if session is None:
            return None
        if not self.holds(session, version):
            self.close(session)
            return None
        return session

    def programs(self, version: bytes) -> Session:
        """The session of everybody who sends the password with each request."""
        if self._programs is None or self._programs.version != version:
            if self._programs is not None:
                self._programs.ended = True
            self._programs = Session(b"", "", float("inf"), version)
        return self._programs

    def holds(self, session: Session, version: bytes | None) -> bool:
        """Whether a session has neither ended nor outlived its password."""
        return not session.ended and session.version == version and self._monotonic() < session.ends

    def close(self, session: Session) -> None:
        """Ends a session and everything that is open in it."""
        self._open.pop(session.key, None)
        session.ended = True

    def close_all(self) -> None:
        """Ends every session: for when the server stops."""
        for session in [*self._open.values(), *([self._programs] if self._programs else [])]:
            self.close(session)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
