"""One POST to a server that may be slow, broken or hostile, and what came of it (contract 70 § 5.2)."""

from __future__ import annotations

import asyncio
import base64
import codecs
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

import httpcore

from sockudo.outbound.engine_problems import ENGINE_ERRORS, problem_of
from sockudo.outbound.network import CheckedNetwork
from sockudo.outbound.pools import Pools
from sockudo.outbound.problems import PROBLEMS
from sockudo.outbound.reaching import AddressRefusedError, UnknownNameError
from sockudo.outbound.resolver import Resolver
from sockudo.version import __version__
from sockudo.webhooks.records import MAX_SNIPPET, Answer, Target

__all__ = ["PROBLEMS", "HttpSender"]

# More of an answer than this is not read: the connection is given up instead.
_MOST_READ: Final = 64 * 1024
# An answer counts once its status is there; its body only gets so long for the connection's sake.
_DRAIN_SECONDS: Final = 1.0
_LONGEST_RETRY_AFTER: Final = 24 * 3600

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_AGENT: Final = f"Sockudo/{__version__}"


class HttpSender:
    """Sends over HTTP/1.1 with connections that are kept for the next request.

    TLS is verified with the system's certificates, or those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name. Variables
    that name a proxy mean nothing here: the addresses would be checked by somebody else then, or by nobody. ``time``
    are Unix seconds, for a ``Retry-After`` that is a date; ``monotonic`` says how long a connection was idle.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolver: Resolver | None = None,
        connector: httpcore.AsyncNetworkBackend | None = None,
        time: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver or Resolver()
        self._time = time
        network = CheckedNetwork(self._resolver, allow_private=allow_private, connector=connector)
        self._pools = Pools(network, monotonic)

    async def close(self) -> None:
        """Ends the connections that are kept. No request may be under way."""
        await self._pools.close()
        await self._resolver.close()

    async def send(self, target: Target, body: bytes) -> Answer:
        """Posts the body once, within ``target.timeout`` seconds; what went wrong is a word of `PROBLEMS`.

        User name and password of the URL are sent as Basic authorization, unless the target has a header for that.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()

        def took_ms() -> int:
            return int((loop.time() - started) * 1000)

        try:
            request = _request(target, body)
        except ValueError:
            return Answer(None, "url_invalid", took_ms())
        async with self._pools.using(request.url.origin) as pool:
            try:
                async with asyncio.timeout_at(started + target.timeout):
                    response = await pool.handle_async_request(request)
            except (AddressRefusedError, UnknownNameError, TimeoutError, OSError, ValueError, *ENGINE_ERRORS) as error:
                return Answer(None, problem_of(error), took_ms())
            took = took_ms()
            snippet = await _drain(response, min(loop.time() + _DRAIN_SECONDS, started + target.timeout))
        return Answer(response.status, None, took, snippet, self._retry_after(response))

    def _retry_after(self, response: httpcore.Response) -> int | None:
        """Seconds, whether the header has them or a date."""
        value = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"").strip()
        if value.isdigit():
            return min(int(value[:10]), _LONGEST_RETRY_AFTER)
        try:
            date = parsedate_to_datetime(value.decode("latin-1"))
        except ValueError:
            return None
        # A date without a zone is in GMT: HTTP knows no other.
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - self._time()
        return max(0, min(round(seconds), _LONGEST_RETRY_AFTER))


def _request(target: Target, body: bytes) -> httpcore.Request:
    """Raises ValueError for a URL that cannot be called."""
    parts = urlsplit(target.url)
    host = (parts.hostname or "").strip()
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError("not an absolute http or https address")
    # UnicodeError, when a label is empty or too long, is a ValueError.
    name = host if ":" in host else host.encode("idna").decode()
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~[]|^`{}\"<>\\") if parts.query else ""
    url = httpcore.URL(
        scheme=parts.scheme,
        host=name,
        port=parts.port or _DEFAULT_PORTS[parts.scheme],
        target=f"{path}?{query}" if parts.query else path,
    )
    headers = {
        "Host": _host_header(name, parts.port, parts.scheme),
        "User-Agent": _AGENT,
        "Accept": "*/*",
        "Content-Length": str(len(body)),
    }
    if parts.username is not None:
        headers["Authorization"] = _basic(parts.username, parts.password or "")
    given = {header.lower() for header, _ in target.headers}
    own = [(header, value) for header, value in headers.items() if header.lower() not in given]
    # The parser refuses what stands around a value.
    theirs = [(header, value.strip()) for header, value in target.headers]
    return httpcore.Request("POST", url, headers=[*own, *theirs], content=body)


def _host_header(name: str, port: int | None, scheme: str) -> str:
    shown = f"[{name}]" if ":" in name else name
    return shown if port in (None, _DEFAULT_PORTS[scheme]) else f"{shown}:{port}"


def _basic(user: str, password: str) -> str:
    credentials = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return "Basic " + base64.b64encode(credentials).decode()


async def _drain(response: httpcore.Response, deadline: float) -> str:
    """Reads the body so that the connection can be used again, as far as that is worth it; the beginning as text."""
    beginning, length = b"", 0
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in response.aiter_stream():
                beginning += chunk[: MAX_SNIPPET - len(beginning)]
                length += len(chunk)
                if length > _MOST_READ:
                    break
    except (TimeoutError, OSError, *ENGINE_ERRORS):
        # The status is what counts, and it is there.
        pass
    finally:
        await response.aclose()
    return _printable(beginning)


def _printable(beginning: bytes) -> str:
    """A letter that was cut in two is left out."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(beginning, len(beginning) < MAX_SNIPPET)
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
