"""Why the signature, key or app id of an HTTP request was refused, as far as the usual mistakes tell (spec: index § 3).

For operators: the caller is answered with the plain refusal. Each search is bounded, and made for refusals alone.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from itertools import islice
from typing import Final

from sockudo.apps.live import LiveApp
from sockudo.auth.diagnose import Mistake, mistaken_key

__all__ = ["mistaken_app", "mistaken_app_id", "mistaken_auth_key", "mistaken_signature"]

_MAX_APPS: Final = 100
# What a search through other apps may hash.
_MAX_HASHED_BYTES: Final = 200_000
_LONGEST_PATH: Final = 200

# What proxies are often set up to strip, and clients to sign.
_PREFIXES: Final = (
    *("/ws", "/wss", "/api", "/app", "/v1", "/sockudo", "/pusher", "/soketi", "/reverb"),
    *("/realtime", "/broadcasting", "/websocket", "/websockets", "/socket"),
)


def mistaken_signature(
    app: LiveApp, method: bytes, raw_path: bytes, canonical: bytes, signature: str, other_apps: Iterable[LiveApp]
) -> Mistake:
    """What was probably signed with, or for, in place of the app's secret and the path that arrived.

    ``canonical`` is the third line of what is signed. Of ``other_apps`` the first 100 are tried.
    """
    path = raw_path.decode("latin-1")
    for prefix in _PREFIXES:
        if app.signer.matches(b"%b\n%b%b\n%b" % (method, prefix.encode(), raw_path, canonical), signature):
            shown = path[:_LONGEST_PATH]
            return Mistake(
                f"signed for a path with the prefix {prefix}, which a proxy strips: {prefix}{shown} was signed and "
                f"{shown} arrived; sign without it, or have the proxy pass the path on whole"
            )
    message = b"%b\n%b\n%b" % (method, raw_path, canonical)
    arrived = f"{method.decode('latin-1')} {path[:_LONGEST_PATH]}"
    unknown = (
        f"none of the usual mistakes explains the signature: it was checked for {arrived}; probably another secret, "
        "or a proxy changes the path or the query"
    )
    for other in islice(other_apps, min(_MAX_APPS, _MAX_HASHED_BYTES // len(message))):
        if other is not app and other.signer.matches(message, signature):
            return Mistake(f"signed with the secret of the app {other.id}", unknown)
    return Mistake(unknown)


def mistaken_app_id(app_id: str, apps: Iterable[LiveApp]) -> Mistake:
    """What probably stands in the path in place of an app's id, as no app has this one."""
    for app in islice(apps, _MAX_APPS):
        if app_id == app.key:
            return Mistake(f"the path has the key of the app {app.id} in place of its id")
        if hmac.compare_digest(app_id.encode("utf-8", "replace"), app.record.secret.encode("utf-8", "replace")):
            return Mistake(f"the path has the secret of the app {app.id} in place of its id: replace the secret")
    return Mistake("no app has this id; `sockudo apps list` shows those of the server")


def mistaken_auth_key(key: str, apps: Iterable[LiveApp], path_app_id: str | None) -> Mistake:
    """What auth_key probably is, as no app has this key; the app of the path may read what is about itself."""
    every = list(islice(apps, _MAX_APPS))
    cause = mistaken_key(key, every)
    own = mistaken_key(key, [app for app in every if app.id == path_app_id])
    return Mistake(cause, None if own == cause else own)


def mistaken_app(keys_app: LiveApp, path_app_id: str | None) -> Mistake:
    """A key and a path of two apps: which ones, for operators."""
    return Mistake(
        f"auth_key is that of the app {keys_app.id}, the path names the app {path_app_id}",
        "auth_key and the path are not of the same app",
    )
