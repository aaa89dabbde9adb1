"""The dashboard's password: configured, or kept as a salted hash in the data folder.

A configured password wins. Without one, the hash of `password_file` counts; it is made at the first start, and
``sockudo dashboard password`` replaces it while the server runs. Passwords themselves are never kept in a file, but for
that of a development server, which is shown at every start: it counts where there is no hash.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from sockudo.base.private_files import kept_secret, write_private_file
from sockudo.config import Settings

__all__ = [
    "MAX_LENGTH",
    "MIN_LENGTH",
    "UNGUESSABLE",
    "Credentials",
    "development_file",
    "hash_password",
    "made_password",
    "matches",
    "password_file",
]

_log = structlog.get_logger("sockudo.dashboard")

MIN_LENGTH = 8
"""Characters of a chosen password at least, as for the one of the configuration."""

MAX_LENGTH = 1024
"""Characters of a password at most; a longer one is never right."""

UNGUESSABLE = 24
"""Characters from which on guessing a password is hopeless at any speed: a made one has so many."""

# No letters that are taken for others when read off a screen.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 5, 4
_SALT = 16
_LOOK_EVERY = 1.0
_AT_ONCE = 2


class Cost(NamedTuple):
    """What scrypt takes: memory is 128 · n · r bytes, time grows with n · r · p."""

    n: int
    r: int
    p: int


# A made password has about 100 random bits, which cannot be guessed however fast a guess is.
_MADE = Cost(2**14, 8, 1)
_CHOSEN = Cost(2**15, 8, 3)
_MOST = 256 * 1024 * 1024


def made_password() -> str:
    """A new random password that can be read aloud."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))


def password_file(settings: Settings) -> Path:
    """Where the hash is kept."""
    return Path(settings.data_dir) / "dashboard-password"


def development_file(settings: Settings) -> Path:
    """Where a development server keeps the password that it shows at every start."""
    return Path(settings.data_dir) / "dev-dashboard-password"


def hash_password(password: str, *, made: bool = False) -> str:
    """One line to keep: parameters, salt and hash. ``made`` ones need little work. Takes up to half a second."""
    salt = secrets.token_bytes(_SALT)
    cost = _MADE if made else _CHOSEN
    digest = _scrypt(password, salt, cost)
    return ":".join(("scrypt", *map(str, cost), _text(salt), _text(digest)))


def matches(password: str, kept: str) -> bool:
    """Whether a hash was made of this password. Takes as long as making one; False for a line that is no hash."""
    try:
        kind, n, r, p, salt, digest = kept.strip().split(":")
        cost = Cost(int(n), int(r), int(p))
        expected = base64.b64decode(digest, validate=True)
        if kind != "scrypt" or 128 * cost.n * cost.r > _MOST or not expected:
            return False
        return hmac.compare_digest(_scrypt(password, base64.b64decode(salt, validate=True), cost), expected)
    except ValueError:
        return False


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=_MOST + 2**20, dklen=32)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


class _Secret(NamedTuple):
    """What a password is compared with; ``version`` is another one after every change."""

    version: bytes
    plain: str | None
    kept: str | None


class Credentials:
    """The password in force. Looks at its sources again while the server runs: a change counts at once."""

    def __init__(self, settings: Callable[[], Settings], monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._key = secrets.token_bytes(32)
        # The hash of this process alone, where the data folder cannot be written to.
        self._unsaved: str | None = None
        # The password of a development server, in force where no other is.
        self._development: str | None = None
        self._stamp: tuple[int, ...] | None = None
        self._kept: str | None = None
        self._looked_at = float("-inf")
        # A password that was right, as a keyed digest: the next call with it costs nothing.
        self._known: bytes | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def prepare(self) -> str | None:
        """Makes a password if there is none; returns the one to be shown.

        That is one that was just made, which cannot be shown again, and the one of a development server at each start.
        """
        settings = self._settings()
        if settings.dashboard.password is not None or self._line(fresh=True) is not None:
            return None
        if settings.dev:
            path = development_file(settings)
            kept = await asyncio.to_thread(kept_secret, path, made_password)
            self._development = kept.text
            if kept.problem is not None:
                _note_unsaved(path, kept.problem)
            return kept.text
        path = password_file(settings)
        made = made_password()
        line = await asyncio.to_thread(hash_password, made, made=True)
        try:
            await asyncio.to_thread(write_private_file, path, line)
        except OSError as problem:
            self._unsaved = line
            _note_unsaved(path, problem)
        self._line(fresh=True)
        return made

    def version(self, *, fresh: bool = False) -> bytes | None:
        """Changes with the password; None while there is none. ``fresh``: looks at the file again in any case."""
        found = self._secret(fresh=fresh)
        return None if found is None else found.version

    def recognized(self, password: str) -> bytes | None:
        """The version that this password is right for, where that takes no work and no limit of guesses is needed.

        None for a password of fewer than `UNGUESSABLE` characters, for a wrong one, and for one of which only the hash
        is kept until `right` has found it right once.
        """
        if not UNGUESSABLE <= len(password) <= MAX_LENGTH:
            return None
        found = self._secret(fresh=True)
        if found is None:
            return None
        digest = self._digest(found.version, password)
        expected = self._known if found.plain is None else self._digest(found.version, found.plain)
        return found.version if expected is not None and hmac.compare_digest(expected, digest) else None

    async def right(self, password: str) -> bytes | None:
        """The version that this password is right for; None for a wrong one."""
        found = self._secret(fresh=True)
        if found is None or len(password) > MAX_LENGTH:
            return None
        digest = self._digest(found.version, password)
        if self._known is not None and hmac.compare_digest(self._known, digest):
            return found.version
        if found.plain is not None:
            right = hmac.compare_digest(self._digest(b"", found.plain), self._digest(b"", password))
        else:
            async with self._slots:
                right = await asyncio.to_thread(matches, password, found.kept or "")
        if not right:
            return None
        self._known = digest
        return found.version

    def _secret(self, *, fresh: bool) -> _Secret | None:
        plain = self._settings().dashboard.password
        if plain is not None:
            return _Secret(self._digest(b"plain", plain), plain, None)
        line = self._line(fresh=fresh)
        if line is not None:
            return _Secret(self._digest(b"kept", line), None, line)
        shown = self._development
        return None if shown is None else _Secret(self._digest(b"development", shown), shown, None)

    def _digest(self, purpose: bytes, text: str) -> bytes:
        return hmac.digest(self._key, purpose + b"\0" + text.encode("utf-8", "surrogatepass"), "sha256")

    def _line(self, *, fresh: bool) -> str | None:
        """The kept hash, read again when its file has changed."""
        now = self._monotonic()
        if not fresh and now - self._looked_at < _LOOK_EVERY:
            return self._kept
        self._looked_at = now
        path = password_file(self._settings())
        try:
            about = path.stat()
            stamp = (about.st_ino, about.st_mtime_ns, about.st_size)
            if stamp != self._stamp:
                self._kept, self._stamp = path.read_text("ascii", "replace").strip() or None, stamp
        except FileNotFoundError:
            self._kept, self._stamp = self._unsaved, None
        except OSError as problem:
            if self._stamp is not None:
                _log.error("the password of the dashboard cannot be read", path=str(path), reason=problem.strerror)
            self._kept, self._stamp = self._unsaved, None
        return self._kept


def _note_unsaved(path: Path, problem: OSError) -> None:
    _log.warning(
        "the password of the dashboard could not be kept: the next start makes another one",
        path=str(path),
        reason=problem.strerror,
    )
