"""Why a channel signature or a key was refused, as far as trying the usual mistakes can tell (spec: index § 3).

For the operator only: the client gets the plain refusal, so that the server cannot be used to find out what a
signature was made for.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from sockudo.apps.live import LiveApp
from sockudo.auth.channels import channel_message

__all__ = ["Mistake", "likely_mistake", "mistaken_key"]

_MAX_SOCKET_IDS: Final = 1000
_MAX_APPS: Final = 100
# What the search through other connections may hash, so that a large channel_data does not hold up the server.
_MAX_HASHED_BYTES: Final = 1_000_000
_MAX_RESERIALIZED: Final = 20_000

# Of a shorter one, its beginning would be too much of it.
_LONG_KEY: Final = 16
# Shorter keys are alike by chance.
_ALIKE: Final = 8

_HEX: Final = re.compile(r"[0-9a-f]{64}")

_ENDED: Final = (
    "signed for a connection that has ended: socket_id {} instead of {}; the answer of the auth endpoint is probably "
    "cached, or kept over a reconnect"
)
_UNKNOWN: Final = "none of the usual mistakes explains the signature: probably another secret, socket_id or channel"
# Not quoted: what stands in place of the key may be a secret.
_NOT_THE_KEY: Final = "what comes before the colon is not the app's key"


class Mistake(NamedTuple):
    """What probably went wrong, for the server's operator; ``shared`` is what the app's people may read of it.

    ``shared`` is None where both may read the same, which names no other app.
    """

    cause: str
    shared: str | None = None


def likely_mistake(
    app: LiveApp,
    socket_id: str,
    channel: str,
    auth: str,
    channel_data: str | None,
    *,
    other_socket_ids: Iterable[str],
    other_apps: Iterable[LiveApp],
    ended_socket_ids: Iterable[str] = (),
) -> Mistake:
    """What probably went wrong, in one sentence for the log.

    Takes what `check_channel_auth` refused, with the ``channel_data`` that came even where none is signed. Of
    ``other_socket_ids`` and, behind them, ``ended_socket_ids`` the first 1000 are tried, of ``other_apps`` the first
    100. The sentence contains no secret, no signature and nothing of ``auth``.
    """
    key, colon, given = auth.rpartition(":")
    signature = given.strip().lower()
    message = channel_message(socket_id, channel, channel_data)
    if app.signer.matches(message, signature):
        return Mistake(_malformed(app, key, colon, given))
    if not colon:
        return Mistake("auth has no colon: it must be the app's key, a colon and the signature")
    apps = list(islice(other_apps, _MAX_APPS))
    if key != app.key:
        return _foreign_key(key, signature, message, apps)
    if not _HEX.fullmatch(signature):
        return Mistake(_not_hex(app, message, given))
    others = chain(
        ((other, "signed for another connection: socket_id {} instead of {}") for other in other_socket_ids),
        ((other, _ENDED) for other in ended_socket_ids),
    )
    for cause, candidate in _candidates(socket_id, channel, channel_data, others):
        if app.signer.matches(candidate, signature):
            return Mistake(cause)
    for other in apps:
        if other.signer.matches(message, signature):
            return Mistake(f"signed with the secret of the app {other.id}", _UNKNOWN)
    return Mistake(_UNKNOWN)


def mistaken_key(key: str, apps: Iterable[LiveApp]) -> str:
    """What a client probably connects with in place of an app's key, as no app has this one.

    Of ``apps`` the first 100 are tried. The key itself is not repeated, but for its beginning: it may be a secret.
    """
    for app in islice(apps, _MAX_APPS):
        if key == app.id:
            return f"the id of the app {app.id} in place of its key"
        if hmac.compare_digest(key.encode("utf-8", "replace"), app.record.secret.encode("utf-8", "replace")):
            return f"the secret of the app {app.id} in place of its key: every reader of the page has it, replace it"
        if key.strip().lower() == app.key.lower():
            return f"the key of the app {app.id}, with white space around it or in the wrong case"
        if _nearly(key, app.key):
            return f"nearly the key of the app {app.id}: one character differs, is missing or too many"
    begins = f" and begins with {key[:4]}" if len(key) >= _LONG_KEY and key.isprintable() else ""
    return f"no app has the key: it has {len(key)} characters{begins}"


def _nearly(given: str, key: str) -> bool:
    """Whether one character more, less or other makes one of the other; long keys alone, as short ones are alike."""
    longer, shorter = (given, key) if len(given) > len(key) else (key, given)
    if len(key) < _ALIKE or len(longer) - len(shorter) > 1:
        return False
    same = next(
        (at for at, (one, other) in enumerate(zip(longer, shorter, strict=False)) if one != other), len(shorter)
    )
    rest = same + 1 if len(longer) == len(shorter) else same
    return longer[same + 1 :] == shorter[rest:]


def _malformed(app: LiveApp, key: str, colon: str, given: str) -> str:
    if not colon:
        return "auth is the bare signature: the app's key and a colon must come before it"
    if key != app.key:
        return "the signature is right, but what comes before the colon is not the app's key"
    if given != given.strip():
        return "the signature is right, but there is white space around it"
    return "the signature is right, but in upper-case hex: it must be lower-case"


def _foreign_key(key: str, signature: str, message: bytes, apps: list[LiveApp]) -> Mistake:
    for other in apps:
        if other.key == key:
            signed = "and secret " if other.signer.matches(message, signature) else ""
            cause = f"made with the key {signed}of the app {other.id}, but the client connected to another app"
            return Mistake(cause, _NOT_THE_KEY)
    return Mistake(_NOT_THE_KEY)


def _not_hex(app: LiveApp, message: bytes, given: str) -> str:
    try:
        digest = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) == 32 and app.signer.matches(message, digest.hex()):
        return "the signature is right, but in base64: it must be lower-case hex"
    return "the signature is not 64 hex digits"


def _candidates(
    socket_id: str, channel: str, channel_data: str | None, others: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, bytes]]:
    """Mistakes, most frequent first: what to say of each, and what was signed if it was made."""
    if channel_data is not None:
        yield from _data_candidates(socket_id, channel, channel_data)
    for cause, name in (
        ("signed for the percent-encoded channel name", quote(channel, safe="", errors="surrogatepass")),
        ("signed for the percent-encoded channel name", quote(channel, errors="surrogatepass")),
        ("signed for the percent-decoded channel name", unquote(channel)),
    ):
        if name != channel:
            yield cause, channel_message(socket_id, name, channel_data)
    size = len(channel_message(socket_id, channel, channel_data))
    for other, cause in islice(others, min(_MAX_SOCKET_IDS, _MAX_HASHED_BYTES // size)):
        yield cause.format(other, socket_id), channel_message(other, channel, channel_data)


def _data_candidates(socket_id: str, channel: str, channel_data: str) -> Iterator[tuple[str, bytes]]:
    if not channel.startswith("presence-"):
        yield "channel_data was signed, though this is not a presence channel", _raw(socket_id, channel, channel_data)
        return
    yield "channel_data was left out of what was signed", channel_message(socket_id, channel, None)
    for text in (channel_data.strip(), channel_data + "\n"):
        yield "channel_data was trimmed before signing or after it", channel_message(socket_id, channel, text)
    for text in _reserialized(channel_data):
        yield "channel_data was serialized again after signing", channel_message(socket_id, channel, text)


def _raw(socket_id: str, channel: str, channel_data: str) -> bytes:
    return f"{socket_id}:{channel}:{channel_data}".encode("utf-8", "surrogatepass")


def _reserialized(channel_data: str) -> Iterator[str]:
    """The same JSON value as usual encoders write it, in case one of these texts was signed."""
    if len(channel_data) > _MAX_RESERIALIZED:
        return
    try:
        value = json.loads(channel_data)
        for encode in _ENCODERS:
            yield encode(value)
    except (ValueError, RecursionError):
        # Not JSON, or nested too deeply to be looked at: no text to try.
        return


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _compact_ascii(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


_ENCODERS: Final[tuple[Callable[[Any], str], ...]] = (
    # JavaScript, Go and most others.
    _compact,
    # Python.
    json.dumps,
    lambda value: json.dumps(value, ensure_ascii=False),
    _compact_ascii,
    # PHP escapes the slash as well.
    lambda value: _compact_ascii(value).replace("/", "\\/"),
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True),
    lambda value: json.dumps(value, sort_keys=True),
    # Encoded once more: a JSON text of a JSON text.
    lambda value: _compact(_compact(value)),
)
