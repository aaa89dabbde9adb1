"""One POST to a server that may be slow, broken or hostile, and what came of it (spec: platform § 5.2)."""

from __future__ import annotations

import asyncio
import base64
import codecs
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import unquote_to_bytes, urljoin, urlsplit, urlunsplit

from sockudo.config.webhooks import shown_url
from sockudo.outbound.client import Client
from sockudo.outbound.ports import ExchangeError
from sockudo.outbound.resolver import Resolver
from sockudo.webhooks.records import CHALLENGE, LOCATION, MAX_SNIPPET, Answer, Target

__all__ = ["HttpSender"]

# An answer counts once its status is there; its body only gets so long for the connection's sake.
_BODY_SECONDS: Final = 1.0
_LONGEST_RETRY_AFTER: Final = 24 * 3600
_LONGEST_LOCATION: Final = 160


class HttpSender:
    """Sends by `sockudo.outbound.client.Client`. ``time`` are Unix seconds, for a ``Retry-After`` that is a date."""

    def __init__(
        self, *, allow_private: bool = False, resolver: Resolver | None = None, time: Callable[[], float] = time.time
    ) -> None:
        self._time = time
        self._http = Client(allow_private=allow_private, resolver=resolver)

    async def close(self) -> None:
        """Ends the connections that are kept. No request may be under way."""
        await self._http.close()

    async def send(self, target: Target, body: bytes) -> Answer:
        """Posts the body once, within ``target.timeout`` seconds; what went wrong is a word of
        `sockudo.outbound.problems.PROBLEMS`.

        User name and password of the URL are sent as Basic authorization, unless the target has a header for that.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        # What stands around a value is not part of it.
        headers = [(name, value.strip()) for name, value in target.headers]
        try:
            url, credentials = _parts(target.url)
            if credentials is not None and all(name.lower() != "authorization" for name, _ in headers):
                headers.insert(0, ("authorization", credentials))
            reply = await self._http.post(
                url, headers, body, deadline=started + target.timeout, body_seconds=_BODY_SECONDS
            )
        except ValueError:
            return Answer(None, "url_invalid", _ms(loop.time() - started))
        except ExchangeError as error:
            return Answer(None, error.problem, _ms(loop.time() - started))
        snippet = _printable(reply.body[:MAX_SNIPPET])
        telling = _telling_header(reply.status, reply.headers, target.url)
        if telling:
            snippet = f"{telling} {snippet}".rstrip()[:MAX_SNIPPET]
        retry_after = self._retry_after(reply.headers.get("retry-after", ""))
        return Answer(reply.status, None, _ms(reply.answered_at - started), snippet, retry_after)

    def _retry_after(self, value: str) -> int | None:
        """Seconds, whether the header has them or a date."""
        value = value.strip()
        if value.isascii() and value.isdigit():
            return min(int(value[:10]), _LONGEST_RETRY_AFTER)
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        # A date without a zone is in GMT: HTTP knows no other.
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - self._time()
        return max(0, min(round(seconds), _LONGEST_RETRY_AFTER))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _parts(url: str) -> tuple[str, str | None]:
    """The URL without user and password, and the Basic authorization that they make. Raises ValueError for a URL that
    cannot be read.
    """
    if "@" not in url:
        return url, None
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    password = parts.password or ""
    credentials = base64.b64encode(unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(password))
    without = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(without), f"Basic {credentials.decode()}"


def _telling_header(status: int, headers: Mapping[str, str], url: str) -> str:
    """The target of a redirect or the challenge of a 401; nothing of it that may be secret."""
    if status == 401 and (challenge := headers.get("www-authenticate", "").strip()):
        return f"{CHALLENGE}: {_printable(challenge.split()[0].encode())}"
    location = headers.get("location", "").strip()
    if not 300 <= status < 400 or not location:
        return ""
    try:
        whole = urljoin(url, location)
    except ValueError:
        return ""
    return f"{LOCATION}: {_printable(shown_url(whole)[:_LONGEST_LOCATION].encode()).replace(' ', '%20')}"


def _printable(beginning: bytes) -> str:
    """A letter that was cut in two is left out."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(beginning, len(beginning) < MAX_SNIPPET)
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
