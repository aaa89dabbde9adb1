"""Who signs, and who signed: HMAC-SHA256 as the Pusher protocol uses it (spec: http-api § 2).

`Signer` holds an app's secret and is the only thing that does. `authenticate` is all of that for one HTTP request; it
runs for every publish, so queries in the order in which SDKs send them are read by one regular expression and all
others by the rules of spec: http-api § 2.2. Both ways give the same parameters to the same checks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.signer import Signer
from sockudo.auth.diagnose_request import mistaken_app, mistaken_app_id, mistaken_auth_key, mistaken_signature

__all__ = ["AppLookup", "Routed", "authenticate", "path_part", "query_param"]

_LONGEST_PATH: Final = 200


class AppLookup(Protocol):
    """What authentication asks of the app registry; answers come from memory."""

    def by_key(self, key: str, /) -> LiveApp | None:
        """The app with this key, enabled or not."""

    def by_id(self, app_id: str, /) -> LiveApp | None:
        """The app with this id, enabled or not."""

    def all(self) -> Sequence[LiveApp]:
        """Every app, enabled or not."""


class Routed(Protocol):
    """A request that a route was found for: the parts of its path by their name, as they were sent."""

    @property
    def path_params(self) -> Mapping[str, str]: ...


def _always() -> bool:
    return True


# auth_key, auth_timestamp, body_md5 and auth_signature as decoded; then line 3 of the canonical string.
_Signed = tuple[str | None, str | None, str | None, str | None, str]

_AUTH_NAMES: Final = frozenset({"auth_key", "auth_timestamp", "auth_version", "body_md5", "auth_signature"})

# The order of the SDKs, sorted by name: with the signature sorted in (Python) or at the end (all others). Values
# consist of characters that stand for themselves, so decoding, sorting and joining would give the same text again.
_SDK_ORDER: Final = re.compile(
    r"(auth_key=([\w.~-]+))"
    r"(?:&auth_signature=([0-9a-f]{64}))?"
    r"(&auth_timestamp=([0-9]{1,12})&auth_version=[0-9.]*(?:&body_md5=([0-9a-f]{32}))?)"
    r"(?:&auth_signature=([0-9a-f]{64}))?",
    re.ASCII,
)

_INTEGER: Final = re.compile(r"[+-]?0*[0-9]{1,19}")
_INT64: Final = 1 << 63
_MAX_SKEW: Final = 600


def authenticate(
    apps: AppLookup,
    *,
    method: str,
    raw_path: bytes,
    query: bytes | None,
    body: bytes | None,
    path_app_id: str | None,
    now: float,
    may_explain: Callable[[], bool] = _always,
) -> LiveApp:
    """The app in whose name a request was signed (spec: http-api § 2).

    ``raw_path`` is the path as it was sent, still percent-encoded, without one trailing slash; ``query`` is what
    follows ``?``, None where there is no ``?``. ``body`` is None while it has not arrived: its hash is not checked
    then. ``path_app_id`` is the app id of the path, not decoded, or None for a route without one. ``now`` is Unix time
    in seconds; ``may_explain`` is asked before the likely cause of a refusal is looked for, which takes longer than
    the refusal. Raises the first refusal in the order of spec: http-api § 2.4, then `errors.APP_DISABLED`, which only
    who holds the secret gets to see.
    """
    if query is None:
        raise errors.AUTH_PARAMETERS("Missing authentication query parameters")
    key, timestamp, body_md5, signature, canonical = _read_sdk_order(query) or _read_any_order(query)
    app = apps.by_key(key) if key else None
    if app is None or (path_app_id is not None and app.id != path_app_id and apps.by_id(path_app_id) is not app):
        raise _wrong_app(apps, key, path_app_id, explained=may_explain())
    _check_timestamp(timestamp, now)
    if body is not None:
        _check_body(method, body, body_md5)
    if signature is None:
        raise errors.SIGNATURE_MISMATCH("Invalid API signature: auth_signature is missing")
    if not _is_signed(app.signer, method.encode(), raw_path, canonical.encode(), signature):
        # The path is what a client that signs for another one, in front of a proxy, cannot see otherwise.
        text = f"Invalid API signature: it was checked for {method} {raw_path[:_LONGEST_PATH].decode('latin-1')}"
        if not may_explain():
            raise errors.SIGNATURE_MISMATCH(text)
        signed = (method.encode(), raw_path, canonical.encode())
        mistake = mistaken_signature(app, *signed, signature, apps.all())
        raise errors.SIGNATURE_MISMATCH(text, likely_cause=mistake.cause, shared_cause=mistake.shared)
    if not app.enabled:
        raise errors.APP_DISABLED(f"The app {app.id} is disabled")
    return app


def query_param(query: bytes, name: str) -> str | None:
    """A decoded parameter of a query, None where it is missing.

    Raises `errors.INVALID_INPUT` when it is given twice: which one was meant cannot be known (spec: http-api § 3.2).
    """
    values = [value for known, value in _decode_pairs(query) if known == name]
    if len(values) > 1:
        raise errors.INVALID_INPUT(f"Invalid query string: '{name}' is given more than once")
    return values[0] if values else None


def path_part(request: Routed, name: str) -> str:
    """The decoded value of a route's parameter; raises `errors.INVALID_INPUT` for one that is not UTF-8."""
    try:
        return unquote_to_bytes(request.path_params[name].encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise errors.INVALID_INPUT("Invalid URL: a part of the path does not decode to UTF-8") from None


def _read_sdk_order(query: bytes) -> _Signed | None:
    found = _SDK_ORDER.fullmatch(query.decode("latin-1"))
    if found is None:
        return None
    head, key, signature, tail, timestamp, body_md5, last_signature = found.groups()
    if signature is None:
        signature = last_signature
    elif last_signature is not None:
        return None
    return key, timestamp, body_md5, signature, head + tail


def _read_any_order(query: bytes) -> _Signed:
    params: dict[str, str] = {}
    for name, value in _decode_pairs(query):
        if name in params and name in _AUTH_NAMES:
            raise errors.AUTH_PARAMETERS(f"Invalid authentication query parameters: duplicate field `{name}`")
        params[name] = value
    if not params:
        raise errors.AUTH_PARAMETERS("Query string is empty or invalid")
    signature = params.pop("auth_signature", None)
    # Of names that differ in case only, the one that sorts last stays (spec: http-api § 2.2).
    lowered = {name.lower(): params[name] for name in sorted(params)}
    canonical = "&".join([f"{name}={lowered[name]}" for name in sorted(lowered)])
    return params.get("auth_key"), params.get("auth_timestamp"), params.get("body_md5"), signature, canonical


def _decode_pairs(query: bytes) -> list[tuple[str, str]]:
    pairs = []
    for segment in query.replace(b"+", b" ").split(b"&"):
        if segment:
            name, _, value = segment.partition(b"=")
            pairs.append((_decode(name), _decode(value)))
    return pairs


def _decode(text: bytes) -> str:
    return (unquote_to_bytes(text) if b"%" in text else text).decode("utf-8", "replace")


def _wrong_app(apps: AppLookup, key: str | None, path_app_id: str | None, *, explained: bool) -> errors.SockudoError:
    every = apps.all() if explained else ()
    if path_app_id is not None and apps.by_id(path_app_id) is None:
        mistake = mistaken_app_id(path_app_id, every)
        return errors.APP_NOT_FOUND("No app has the id that the path names", likely_cause=mistake.cause)
    if key is None:
        return errors.UNKNOWN_KEY("Application key not found or invalid: auth_key is missing")
    # Not quoted: what stands in place of a key may be a secret.
    of_key = apps.by_key(key)
    if of_key is None:
        mistake = mistaken_auth_key(key, every, path_app_id)
        text = "Application key not found or invalid: no app has this auth_key"
        return errors.UNKNOWN_KEY(text, likely_cause=mistake.cause, shared_cause=mistake.shared)
    mistake = mistaken_app(of_key, path_app_id)
    return errors.APP_MISMATCH(
        "Authenticated app does not match route app_id", likely_cause=mistake.cause, shared_cause=mistake.shared
    )


def _check_timestamp(text: str | None, now: float) -> None:
    if text is None:
        raise errors.TIMESTAMP_INVALID("auth_timestamp is missing")
    timestamp = int(text) if _INTEGER.fullmatch(text) else _INT64
    if not -_INT64 <= timestamp < _INT64:
        raise errors.TIMESTAMP_INVALID("Invalid auth_timestamp format: it must be Unix time in whole seconds")
    clock = int(now)
    skew = timestamp - clock
    if -_MAX_SKEW <= skew <= _MAX_SKEW:
        return
    direction = "ahead of" if skew > 0 else "behind"
    hint = "; it looks like milliseconds" if abs(timestamp // 1000 - clock) <= _MAX_SKEW else ""
    raise errors.TIMESTAMP_STALE(
        f"Timestamp expired or too far in the future: auth_timestamp is {abs(skew)} seconds {direction} the server's "
        f"clock, which says {clock}; {_MAX_SKEW} are allowed{hint}"
    )


def _check_body(method: str, body: bytes, body_md5: str | None) -> None:
    if not body_md5:
        if body and method == "POST":
            raise errors.BODY_HASH_MISSING(
                "body_md5 is required and must be non-empty in query parameters for POST requests with a non-empty body"
            )
        return
    actual = hashlib.md5(body, usedforsecurity=False).hexdigest()
    if body_md5.isascii() and compare_digest(actual, body_md5):
        return
    if method == "POST":
        raise errors.BODY_HASH_MISMATCH(f"body_md5 mismatch: the {len(body)} bytes that arrived have another MD5")
    raise errors.BODY_HASH_MISMATCH(
        f"body_md5 must not be present in query parameters for {method} requests, unless it is that of the body"
    )


def _is_signed(signer: Signer, method: bytes, raw_path: bytes, canonical: bytes, signature: str) -> bool:
    if signer.matches(b"%b\n%b\n%b" % (method, raw_path, canonical), signature):
        return True
    if b"%" not in raw_path:
        return False
    # Some clients sign a path that their HTTP library encodes afterwards. Decoding must not make another route, or
    # another line of the canonical string, out of what was signed.
    path = unquote_to_bytes(raw_path)
    if path.count(b"/") != raw_path.count(b"/") or b"\n" in path:
        return False
    return signer.matches(b"%b\n%b\n%b" % (method, path, canonical), signature)
