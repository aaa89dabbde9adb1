"""What providers over HTTP have in common: ten seconds for a send, a new token when one is rejected, what becomes of a
payload, and of keys by which a newer notification takes the place of an older one.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec

from sockudo.outbound.ports import ExchangeError, HttpExchange, Reply
from sockudo.push.delivery import Material, Materials, Readiness, Sent
from sockudo.push.providers.accounts import (
    Accounts,
    Own,
    RenewedToken,
    SharedCredential,
    Token,
    TokenSource,
    access_token,
)
from sockudo.push.providers.answers import FailedError, failed
from sockudo.push.recipients import Provider, Recipient

__all__ = [
    "JSON_HEADERS",
    "HttpProvider",
    "Outgoing",
    "Shape",
    "Shapes",
    "Surroundings",
    "TokenAccount",
    "apns_collapse_id",
    "credential_rejected",
    "encode",
    "message_shape",
    "webpush_topic",
]

_SECONDS: Final = 10.0
_MOST_SHAPES: Final = 64

JSON_HEADERS: Final = (("content-type", "application/json"),)

encode: Final = msgspec.json.Encoder().encode

_TOPIC: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LONGEST_ID: Final = 64


class Surroundings(NamedTuple):
    """What every provider is given: requests go out by ``http``, ``time`` is Unix seconds."""

    http: HttpExchange
    time: Callable[[], float]
    monotonic: Callable[[], float]


class Outgoing(NamedTuple):
    """One notification on its way to one recipient. ``deadline`` is in seconds of the event loop's clock."""

    payload: Mapping[str, Any]
    recipient: Recipient
    expires_at_ms: int | None
    deadline: float


class TokenAccount:
    """An account that is a token, and where requests with it go: ``project`` is named in refusals."""

    def __init__(self, tokens: TokenSource, url: str = "", project: str = "") -> None:
        self.tokens = tokens
        self.url = url
        self.project = project

    async def close(self) -> None:
        await self.tokens.close()


_Settings = TypeVar("_Settings")
_Some = TypeVar("_Some", bound=Any)
_Shape = TypeVar("_Shape")


class HttpProvider(Generic[_Settings, _Some]):
    """A `PushProvider`: subclasses say which accounts there are, what is sent and what the answers mean."""

    provider: ClassVar[Provider]

    def __init__(
        self, settings: _Settings, materials: Materials, around: Surroundings, shared: SharedCredential | None = None
    ) -> None:
        self._settings = settings
        self._around = around
        self._accounts: Accounts[_Some] = Accounts(
            self.provider, materials, self._account, self._own, monotonic=around.monotonic, shared=shared
        )

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        """One request, or two where a rejected token was renewed, within ten seconds; see the port."""
        deadline = asyncio.get_running_loop().time() + _SECONDS
        try:
            account = self._accounts.at_hand(app_id)
            if account is None:
                async with asyncio.timeout_at(deadline):
                    account = await self._accounts.find(app_id)
            return await self._send(account, Outgoing(payload, recipient, expires_at_ms, deadline))
        except FailedError as error:
            return error.sent
        except ExchangeError as error:
            return failed("network_transport", error.problem)
        except TimeoutError:
            return failed("network_transport", "timeout")

    async def readiness(self, app_id: str) -> Readiness:
        return await self._accounts.readiness(app_id)

    async def close(self) -> None:
        await self._accounts.close()

    def _account(self, material: Material, theirs: bool) -> _Some:
        """Raises AccountError; ``theirs`` marks material of the app itself."""
        raise NotImplementedError

    def _own(self) -> Own:
        """What the process is configured with. Raises AccountError."""
        raise NotImplementedError

    async def _send(self, account: _Some, outgoing: Outgoing) -> Sent:
        raise NotImplementedError

    async def _with_token(
        self,
        tokens: TokenSource,
        deadline: float,
        request: Callable[[str], Awaitable[Reply]],
        meaning: Callable[[Reply], Sent],
        rejected: Callable[[Sent, Reply], bool],
    ) -> Sent:
        """What the answer means; a token that was ``rejected`` is dropped, and the request made once more."""
        token = await self._token(tokens, deadline)
        reply = await request(token)
        sent = meaning(reply)
        if not rejected(sent, reply) or not tokens.drop(token):
            return sent
        reply = await request(await self._token(tokens, deadline))
        sent = meaning(reply)
        if rejected(sent, reply):
            tokens.despair()
        return sent

    async def _with_bearer(
        self,
        account: TokenAccount,
        url: str,
        deadline: float,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        meaning: Callable[[Reply], Sent],
    ) -> Sent:
        """`_with_token`, the token as RFC 6750 has it."""

        async def request(token: str) -> Reply:
            proof = ("authorization", f"Bearer {token}")
            return await self._around.http.post(url, (proof, *headers), body, deadline=deadline)

        return await self._with_token(account.tokens, deadline, request, meaning, credential_rejected)

    def _granted(self, url: str, form: Mapping[str, str]) -> RenewedToken:
        """The token that a server gives for what is in the form."""

        async def fetch() -> Token:
            return await access_token(self._around.http, url, form, self._around.time())

        return RenewedToken(fetch, self._around.monotonic)

    async def _token(self, tokens: TokenSource, deadline: float) -> str:
        token = tokens.current()
        if token is not None:
            return token
        async with asyncio.timeout_at(deadline):
            return await tokens.get()


def credential_rejected(sent: Sent, reply: Reply) -> bool:
    return sent.error is not None and sent.error.kind == "auth_failure"


class Shapes(Generic[_Shape]):
    """What becomes of a payload on its way to a provider, made once for all the recipients of a batch."""

    def __init__(self, make: Callable[[Mapping[str, Any]], _Shape]) -> None:
        self._make = make
        # The payload is kept, so that nothing else can be at its address.
        self._made: dict[int, tuple[Mapping[str, Any], _Shape]] = {}

    def of(self, payload: Mapping[str, Any]) -> _Shape:
        made = self._made.get(id(payload))
        if made is not None:
            return made[1]
        shape = self._make(payload)
        if len(self._made) >= _MOST_SHAPES:
            del self._made[next(iter(self._made))]
        self._made[id(payload)] = payload, shape
        return shape


# ---- payloads ----


class Shape(NamedTuple):
    """The body of a request around the recipient's token."""

    before: bytes
    after: bytes


def message_shape(payload: Mapping[str, Any], convert: Callable[[Any], Any], opening: bytes, closing: bytes) -> Shape:
    """``message`` with ``token`` as its last member; all other members of the payload come before it.

    ``data`` of the message goes through ``convert``; ``opening`` and ``closing`` stand around the token's text.
    """
    message = payload.get("message")
    inner = {key: value for key, value in message.items() if key != "token"} if isinstance(message, dict) else {}
    if "data" in inner:
        inner["data"] = convert(inner["data"])
    outer = {key: value for key, value in payload.items() if key != "message"}
    before = _open(outer) + b'"message":' + _open(inner) + b'"token":' + opening
    return Shape(before, closing)


def _open(members: Mapping[str, Any]) -> bytes:
    """An object without its end, ready for one more member."""
    return encode(members)[:-1] + (b"," if members else b"")


# ---- keys of collapsing ----


def webpush_topic(key: str) -> str:
    """At most 32 characters of the base64url alphabet (RFC 8030 § 5.4)."""
    return key if _TOPIC.fullmatch(key) else _hash(key)[:32]


def apns_collapse_id(key: str) -> str:
    """At most 64 bytes."""
    return key if key.isprintable() and key.isascii() and len(key) <= _LONGEST_ID else _hash(key)


def _hash(key: str) -> str:
    return base64.urlsafe_b64encode(sha256(key.encode("utf-8", "surrogatepass")).digest()).rstrip(b"=").decode()
