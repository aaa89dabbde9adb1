"""What a stand-in for push providers answers (spec: push § 13)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import uuid4

import msgspec

__all__ = ["PROFILES", "ProviderAnswer", "ProviderRequest", "profile", "request_of", "success"]

ProviderName = Literal["fcm", "apns", "webpush", "hms", "wns", "oauth"]


@dataclass(frozen=True)
class ProviderAnswer:
    """One answer, after ``delay`` seconds.

    ``broken`` says what happens instead: ``hang`` never answers, ``cut`` closes the connection without an answer,
    ``cut_within`` after half of it, ``garbage`` sends what is no HTTP. A ``status`` of 0 is success in the provider's
    own shape.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    broken: Literal["hang", "cut", "cut_within", "garbage"] | None = None


@dataclass(frozen=True)
class ProviderRequest:
    """One request. Names of ``headers`` are in lower case; ``token`` is what the provider knows the device by, of an
    address the last part of its path. ``at`` is monotonic seconds.
    """

    provider: ProviderName
    token: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    http_version: str = "1.1"


Chooses = Callable[[ProviderRequest], ProviderAnswer]

_GONE: Final = {"reason": "Unregistered", "error": {"status": "NOT_FOUND", "details": [{"errorCode": "UNREGISTERED"}]}}
_JSON: Final = {"content-type": "application/json"}


def profile(name: str, seed: int = 1) -> Chooses:
    """How sends without a scripted answer are answered: a name of `PROFILES`. Raises ValueError for another."""
    if name == "flaky":
        chance = random.Random(seed)  # noqa: S311 - the same every time
        return lambda _: ProviderAnswer(503) if chance.random() < 0.3 else ProviderAnswer()
    if name not in _FIXED:
        raise ValueError(f"there is no profile {name}: it is one of {', '.join(PROFILES)}")
    return lambda _: _FIXED[name]


_FIXED: Final[Mapping[str, ProviderAnswer]] = {
    "ok": ProviderAnswer(),
    "throttle": ProviderAnswer(429, {"retry-after": "1"}),
    "invalid-token": ProviderAnswer(410, _JSON, msgspec.json.encode(_GONE)),
    "auth-failure": ProviderAnswer(401),
}
PROFILES: Final = (*_FIXED, "flaky")


def request_of(
    method: str, path: str, headers: Mapping[str, str], body: bytes, at: float, version: str
) -> ProviderRequest:
    """Whose request this is, and for which device, by its path."""
    bare = path.partition("?")[0]
    provider: ProviderName = "webpush"
    token = bare.rpartition("/")[2]
    if bare.endswith("/messages:send"):
        provider = "fcm" if "/projects/" in bare else "hms"
        token = _message_token(body)
    elif bare.startswith("/3/device/"):
        provider = "apns"
    elif token in ("token", "accesstoken.srf") or "oauth" in bare:
        provider, token = "oauth", "oauth"
    elif bare.startswith("/wns/"):
        provider = "wns"
    return ProviderRequest(provider, token, method, path, headers, body, at, version)


def success(request: ProviderRequest) -> ProviderAnswer:
    """What the provider itself would say."""
    number = uuid4().hex
    if request.provider == "apns":
        return ProviderAnswer(200, {"apns-id": number.upper()})
    if request.provider == "webpush":
        return ProviderAnswer(201, {"location": f"/messages/{number}"})
    if request.provider == "wns":
        return ProviderAnswer(200, {"x-wns-msg-id": number[:16]})
    body: dict[str, object] = {"name": f"projects/mock/messages/{number}"}
    if request.provider == "hms":
        body = {"code": "80000000", "msg": "Success", "requestId": number}
    elif request.provider == "oauth":
        body = {"access_token": f"mock-{number}", "expires_in": 3600, "token_type": "Bearer"}
    return ProviderAnswer(200, _JSON, msgspec.json.encode(body))


class _Message(msgspec.Struct):
    token: str | list[str] = ""


class _Body(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)


_decode_body: Final = msgspec.json.Decoder(_Body).decode


def _message_token(body: bytes) -> str:
    try:
        token = _decode_body(body).message.token
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return token if isinstance(token, str) else next(iter(token), "")
