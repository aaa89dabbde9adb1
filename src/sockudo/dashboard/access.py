"""The door: one check in front of every route, which lets nothing pass that it does not know to be allowed.

Open are the login and the files under ``static/``. Everything else needs a session, by its cookie or, for programs,
the password itself as ``Authorization: Bearer``. A request that changes something and comes with the cookie must also
carry the session's token and come from this origin: a browser sends the cookie by itself, the token it does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sockudo import errors
from sockudo.dashboard import assets
from sockudo.dashboard.asked import is_form, parse_form
from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import error_reply, is_api
from sockudo.dashboard.sessions import Session
from sockudo.errors import SockudoError
from sockudo.limits.address import client_address

__all__ = [
    "COOKIE",
    "KNOWN",
    "LOGIN",
    "LOGOUT",
    "Gate",
    "address_of",
    "browser_of",
    "check_password",
    "check_same_origin",
    "is_secure",
    "with_page_headers",
]

_log = structlog.get_logger("sockudo.dashboard")

COOKIE = "sockudo_dashboard_session"
KNOWN = "sockudo_dashboard_known"
LOGIN = "/dashboard/login"
LOGOUT = "/dashboard/logout"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_BODY = 1024 * 1024
# Enough for the longest password in the longest spelling.
_MAX_OPEN_BODY = 32 * 1024
_BODY_SECONDS = 30.0
_BEARER = "bearer "

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = (
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With no-referrer, browsers would send `Origin: null` with our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"x-robots-tag", b"noindex"),
)


class Gate:
    """The ASGI application in front of all pages: checks, then adds the headers of every answer."""

    def __init__(self, board: Board, inner: ASGIApp) -> None:
        self._board = board
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope["raw_path"]
        if len(raw) > 1 and raw.endswith(b"/"):
            raw = scope["raw_path"] = raw[:-1]
        # As it was sent: see `sockudo.auth.signing.path_part`.
        scope["path"] = raw.decode("latin-1")
        scope.setdefault("state", {})["session"] = None

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_page_headers(message["headers"])
            await send(message)

        try:
            receive = await self._admit(scope, receive)
        except SockudoError as error:
            await self._refusal(Request(scope, receive), error)(scope, receive, send_with_headers)
            return
        await self._inner(scope, receive, send_with_headers)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Puts the session into the request's state, or raises what is missing; returns where the body comes from.

        Of those who may not enter no body is read, and of the login a small one.
        """
        request = Request(scope)
        session, ambient = await self._session(request)
        scope["state"]["session"] = session
        is_open = _is_open(scope["path"])
        if session is None and not is_open:
            raise errors.LOGIN_REQUIRED()
        if request.method in _SAFE:
            return receive
        again = await _whole_body(scope, receive, _MAX_BODY if session is not None else _MAX_OPEN_BODY)
        if session is not None and ambient and not is_open:
            check_same_origin(self._board, request)
            if not session.accepts(_csrf_of(request)):
                raise errors.CSRF_TOKEN()
        return again

    async def _session(self, request: Request) -> tuple[Session | None, bool]:
        """The session and whether it came unasked, with a cookie."""
        board = self._board
        given = request.headers.get("authorization")
        if given is not None and not _is_open(request.scope["path"]):
            if not given.lower().startswith(_BEARER):
                raise errors.LOGIN_REQUIRED("Authorization must be 'Bearer' and the password")
            right = await check_password(board, request, _utf8(given[len(_BEARER) :].strip()))
            return board.sessions.programs(right), False
        version = board.credentials.version(fresh=True)
        found = (board.sessions.find(token, version) for token in _cookies(request, COOKIE))
        return next((session for session in found if session is not None), None), True

    def _refusal(self, request: Request, error: SockudoError) -> Response:
        path = request.scope["path"]
        if error.spec.status != 401:
            return error_reply(self._board, request, error)
        if is_api(path) or "authorization" in request.headers:
            return error_reply(self._board, request, error, {"www-authenticate": 'Bearer realm="sockudo dashboard"'})
        unsent = request.method not in _SAFE and path != LOGOUT
        if request.headers.get("hx-request") == "true":
            here = urlsplit(request.headers.get("hx-current-url", "")).path
            return error_reply(self._board, request, error, {"hx-redirect": _login_for(here, unsent=unsent)})
        query = request.scope["query_string"].decode("latin-1")
        wanted = f"{path}?{query}" if query else path
        there = _login_for(wanted if request.method in _SAFE else "", unsent=unsent)
        return Response(status_code=303, headers={"location": there})


def _login_for(wanted: str, *, unsent: bool) -> str:
    """The login that leads there; ``unsent``: it says that a form was not carried out."""
    asked = {"next": wanted} if wanted and wanted != "/dashboard" else {}
    if unsent:
        asked["unsent"] = "1"
    return f"{LOGIN}?{urlencode(asked)}" if asked else LOGIN


def _is_open(path: str) -> bool:
    return path == LOGIN or path.startswith(assets.PREFIX)


def with_page_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers, and those by which a browser lets its page load and be loaded from this origin alone."""
    kept = [*headers, *_HEADERS]
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        kept.append((b"cache-control", b"no-store"))
    return kept


def _utf8(text: str) -> str:
    """What a header says, where it is more than ASCII; the framework reads headers as Latin-1."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _cookies(request: Request, wanted: str) -> Iterator[str]:
    """Every value of a cookie of ours. By hand: the library drops a whole line over another application's cookie."""
    for line in request.headers.getlist("cookie"):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == wanted:
                yield value


def _csrf_of(request: Request) -> str | None:
    header = request.headers.get("x-csrf-token")
    if header is not None:
        return header
    if is_form(request.headers.get("content-type", "").encode("latin-1")):
        return parse_form(request.scope["state"]["body"]).get("csrf_token") or None
    return None


async def _whole_body(scope: Scope, receive: Receive, limit: int) -> Receive:
    """Reads the body, within limits, and returns a ``receive`` that gives it once more."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise errors.MALFORMED_REQUEST("The connection was closed before the body was complete")
                body += message.get("body", b"")
                if len(body) > limit:
                    raise errors.BODY_TOO_LARGE(f"The request body is over {limit} bytes")
                more = message.get("more_body", False)
    except TimeoutError:
        raise errors.REQUEST_TIMEOUT() from None
    whole = scope["state"]["body"] = bytes(body)
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": whole, "more_body": False}

    return again


# ---- what the login needs too ----


async def check_password(board: Board, request: Request, password: str) -> bytes:
    """The version of the password, if this is it; raises `errors.PASSWORD_WRONG` and `errors.LOGIN_LIMITED`.

    One that is too long to be guessed counts for nothing when it is right, however many others guess at the address.
    """
    recognized = board.credentials.recognized(password)
    if recognized is not None:
        return recognized
    address, now = address_of(board, request), board.clock.monotonic()
    browser = browser_of(board, request)
    board.attempts.check(address, now, browser)
    version = await board.credentials.right(password)
    if version is None:
        # Their number is limited, and so is that of these lines.
        _log.warning("wrong password", address=address)
        raise errors.PASSWORD_WRONG()
    board.attempts.forgive(address, board.clock.monotonic(), browser)
    return version


def browser_of(board: Board, request: Request) -> str | None:
    """The browser that asks, if the password was right in it before."""
    names = (board.attempts.browser(token) for token in _cookies(request, KNOWN))
    return next((name for name in names if name is not None), None)


def address_of(board: Board, request: Request) -> str:
    """The client's address, through the proxies that are trusted."""
    settings, peer = board.settings, request.scope.get("client")
    unix = peer is None and settings.unix_socket.enabled
    return client_address(peer, request.scope["headers"], settings.dashboard.trust_hops, unix=unix)


def is_secure(board: Board, request: Request) -> bool:
    """Whether the browser speaks https, to us or to a proxy that is trusted."""
    if request.scope["scheme"] == "https":
        return True
    forwarded = request.headers.get("x-forwarded-proto", "")
    return board.settings.dashboard.trust_hops > 0 and forwarded.rpartition(",")[2].strip().lower() == "https"


def check_same_origin(board: Board, request: Request) -> None:
    """Raises `errors.CROSS_SITE` for a request that a page of another origin has made.

    Browsers say so in Sec-Fetch-Site, and in Origin where they do not send that (over plain http). Programs send
    neither.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise errors.CROSS_SITE()
        return
    origin = request.headers.get("origin")
    if origin is None:
        return
    known = {request.headers.get("host", "").lower()}
    if board.settings.dashboard.trust_hops > 0:
        known.add(request.headers.get("x-forwarded-host", "").rpartition(",")[2].strip().lower())
    if urlsplit(origin).netloc.lower() not in known - {""}:
        raise errors.CROSS_SITE(f"The request comes from a page of {origin[:200]}")
