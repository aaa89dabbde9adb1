"""A stand-in for FCM, APNs, Web Push services, HMS and WNS, inside a test or as a process of its own::

    python -m sockudo.testing.push_server --port 9100 --profile ok --delay-ms 20

Point ``FCM_ENDPOINT``, ``APNS_ENDPOINT`` and ``HMS_ENDPOINT`` to it, register endpoints ``{url}/wpush/{name}`` and
``{url}/wns/{name}``, and let the server call it with ``PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS=1``.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from sockudo.testing.push_answers import (
    ProviderAnswer,
    ProviderRequest,
    profile,
    request_of,
    success,
)
from sockudo.testing.push_wire import WireProtocol
from sockudo.testing.web_push import BrowserKeys

__all__ = ["MockPushProvider"]

_MOST_KEPT: Final = 200_000
_JSON: Final = {"content-type": "application/json"}
_TEXT: Final = {"content-type": "text/plain; version=0.0.4"}


class MockPushProvider:
    """For ``async with``: answers sends by script, else by profile, and keeps what it received.

    Over TLS (``tls``) it speaks HTTP/2 as well. ``delay`` seconds pass before each answer that has no delay of its own.
    As long as it is kept, ``/health``, ``/metrics``, ``/requests`` (GET, DELETE), ``/script``, ``/profile`` and
    ``/browsers/{name}`` (POST) say and do over HTTP what the methods do.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        profile: str = "ok",
        delay: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.host = host
        self.port = port
        self.delay = delay
        self.requests: deque[ProviderRequest] = deque(maxlen=_MOST_KEPT)
        self.connections = 0
        self._tls = tls
        self._seed = seed
        self._scripts: defaultdict[str, deque[ProviderAnswer]] = defaultdict(deque)
        self._forever: dict[str, ProviderAnswer] = {}
        self._browsers: dict[str, BrowserKeys] = {}
        self._counts: Counter[tuple[str, int]] = Counter()
        self._opened: set[asyncio.BaseTransport] = set()
        self.use_profile(profile)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._tls is not None:
            self._tls.set_alpn_protocols(["h2", "http/1.1"])
        self._server = await loop.create_server(self._connection, self.host, self.port, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for transport in tuple(self._opened):
            transport.abort()  # type: ignore[attr-defined]
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    # ---- what it does ----

    def use_profile(self, name: str) -> None:
        """How sends are answered that no script is for: ok, throttle, invalid-token, auth-failure or flaky."""
        self._profile = profile(name, self._seed)

    def script(self, token: str, *answers: ProviderAnswer, forever: bool = False) -> None:
        """The next answers for a device, one by one; the last one again and again with ``forever``.

        ``token`` is the device's token, of an address the last part of its path, and ``oauth`` for access tokens.
        """
        self._scripts[token].extend(answers)
        if forever:
            self._forever[token] = answers[-1]

    def browser(self, name: str) -> BrowserKeys:
        """The keys of a browser, whose endpoint is `endpoint_of` the same name."""
        return self._browsers.setdefault(name, BrowserKeys())

    def endpoint_of(self, name: str, kind: Literal["wpush", "wns"] = "wpush") -> str:
        return f"{self.url}/{kind}/{name}"

    # ---- what it saw ----

    def sent(self, token: str) -> list[ProviderRequest]:
        """All requests for a device, the oldest first."""
        return [request for request in self.requests if request.token == token]

    def notification(self, request: ProviderRequest) -> Mapping[str, Any]:
        """What a Web Push request says, read with the keys of the browser that it went to. Raises ValueError."""
        keys = self._browsers.get(request.token)
        if keys is None:
            raise ValueError("the keys of that browser are unknown")
        return keys.read(request.body)

    def metrics(self) -> str:
        lines = ["# TYPE mock_push_requests_total counter"]
        lines += [
            f'mock_push_requests_total{{provider="{provider}",status="{status}"}} {count}'
            for (provider, status), count in sorted(self._counts.items())
        ]
        return "\n".join([*lines, f"mock_push_connections_total {self.connections}", ""])

    # ---- requests ----

    def _connection(self) -> WireProtocol:
        self.connections += 1
        return WireProtocol(self._answer, self._opened)

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes, version: str) -> ProviderAnswer:
        about = self._about_itself(method, path.partition("?")[0], body)
        if about is not None:
            return about
        request = request_of(method, path, headers, body, time.monotonic(), version)
        self.requests.append(request)
        answer = self._scripted(request)
        if answer.status == 0 and answer.broken is None:
            answer = replace(success(request), delay=answer.delay)
        self._counts[request.provider, answer.status] += 1
        if self.delay and not answer.delay:
            answer = replace(answer, delay=self.delay)
        return answer

    def _scripted(self, request: ProviderRequest) -> ProviderAnswer:
        script = self._scripts.get(request.token)
        if script:
            return script.popleft()
        if request.token in self._forever:
            return self._forever[request.token]
        return ProviderAnswer() if request.provider == "oauth" else self._profile(request)

    def _about_itself(self, method: str, path: str, body: bytes) -> ProviderAnswer | None:
        if method == "GET" and path == "/health":
            return ProviderAnswer(200, _TEXT, b"OK")
        if method == "GET" and path == "/metrics":
            return ProviderAnswer(200, _TEXT, self.metrics().encode())
        if method == "GET" and path == "/requests":
            return _json([_shown(request) for request in self.requests])
        if method == "DELETE" and path == "/requests":
            self.requests.clear()
            return ProviderAnswer(204)
        if method == "POST" and path.startswith("/browsers/"):
            name = path.rpartition("/")[2]
            return _json(self.browser(name).recipient(self.endpoint_of(name)))
        if method == "POST" and path in ("/script", "/profile"):
            return self._told(path, body)
        return None

    def _told(self, path: str, body: bytes) -> ProviderAnswer:
        try:
            if path == "/script":
                script = msgspec.json.decode(body, type=_Script)
                self.script(script.token, *(answer.meant() for answer in script.answers), forever=script.forever)
            else:
                wanted = msgspec.json.decode(body, type=_Profile)
                self.use_profile(wanted.name)
                self.delay = self.delay if wanted.delay_ms is None else wanted.delay_ms / 1000
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return ProviderAnswer(204)


class _ScriptedAnswer(msgspec.Struct, rename="camel"):
    status: int = 0
    headers: dict[str, str] = {}
    body: Any = None
    delay_ms: float = 0
    broken: Literal["hang", "cut", "cut_within", "garbage"] | None = None

    def meant(self) -> ProviderAnswer:
        """A body that is no text is sent as JSON."""
        body = b"" if self.body is None else msgspec.json.encode(self.body)
        if isinstance(self.body, str):
            body = self.body.encode()
        return ProviderAnswer(self.status, self.headers, body, self.delay_ms / 1000, self.broken)


class _Script(msgspec.Struct):
    token: str
    answers: list[_ScriptedAnswer]
    forever: bool = False


class _Profile(msgspec.Struct, rename="camel"):
    name: str
    delay_ms: float | None = None


def _json(content: Any, status: int = 200) -> ProviderAnswer:
    return ProviderAnswer(status, _JSON, msgspec.json.encode(content))


def _shown(request: ProviderRequest) -> dict[str, Any]:
    shown = msgspec.to_builtins(request)
    try:
        shown["body"] = request.body.decode()
    except UnicodeDecodeError:
        shown["body"] = None
        shown["base64"] = b64encode(request.body).decode()
    return dict(shown)
