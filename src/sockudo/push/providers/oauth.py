"""Access tokens in exchange for what an account has: FCM's, HMS's and WNS's servers all answer alike (RFC 6749)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from sockudo.outbound.ports import ExchangeError, HttpExchange, Reply
from sockudo.push.delivery import Sent
from sockudo.push.providers.answers import FailedError, failed, json_of, retry_after_ms
from sockudo.push.providers.tokens import Token

__all__ = ["access_token"]

_SECONDS: Final = 10.0
_LASTS_UNLESS_SAID: Final = 3600.0
_HEADERS: Final = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))


async def access_token(http: HttpExchange, url: str, form: Mapping[str, str], now: float) -> Token:
    """Raises FailedError: one to be tried again when the server is down or busy, else ``auth_failure``."""
    deadline = asyncio.get_running_loop().time() + _SECONDS
    try:
        reply = await http.post(url, _HEADERS, urlencode(form).encode(), deadline=deadline)
    except ExchangeError as error:
        raise FailedError(failed("network_transport", f"token server: {error.problem}")) from None
    body = json_of(reply)
    value, lasts = body.get("access_token"), body.get("expires_in", _LASTS_UNLESS_SAID)
    if not 200 <= reply.status < 300 or not isinstance(value, str) or not value.isprintable() or not value:
        raise FailedError(_failure(reply, now))
    try:
        seconds = float(lasts)
    except (TypeError, ValueError):
        seconds = _LASTS_UNLESS_SAID
    return Token(value, seconds if seconds > 0 else _LASTS_UNLESS_SAID)


def _failure(reply: Reply, now: float) -> Sent:
    said = f"token server: status {reply.status}"
    if reply.status == 429:
        return failed("quota", said, retry_after_ms=retry_after_ms(reply, now))
    if reply.status >= 500:
        return failed("unavailable", said, retry_after_ms=retry_after_ms(reply, now))
    if 200 <= reply.status < 300:
        return failed("unavailable", "token server: no token in its answer")
    return failed("auth_failure", said)
