"""The door of the dashboard: who gets in, and what a request has to carry that changes something."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

import jinja2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.auth.signing import path_part
from sockudo.dashboard import replies
from sockudo.dashboard.access import COOKIE
from sockudo.dashboard.asked import read_form
from sockudo.dashboard.replies import redirect
from support.desk import FORM, PASSWORD, Desk

BEARER = {"authorization": f"Bearer {PASSWORD}"}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


async def _change(request: Request) -> Response:
    """Stands for anything that changes something: answers with the form it got."""
    body = await request.body()
    if request.headers.get("content-type") == FORM:
        return Response((await read_form(request)).get("name"))
    return Response(body)


async def _show(request: Request) -> Response:
    return Response(path_part(request, "name"))


async def _broken(_: Request) -> Response:
    raise ZeroDivisionError("secret detail")


PROBES = [
    Route("/dashboard/api/v1/probe", _change, methods=["POST", "PUT", "PATCH", "DELETE"]),
    Route("/dashboard/probe", _change, methods=["POST"]),
    Route("/dashboard/probe/{name}", _show),
    Route("/dashboard/broken", _broken),
    Route("/dashboard/api/v1/broken", _broken),
]


@pytest.fixture
def desk() -> Desk:
    return Desk(PROBES)


# ---- without a login ----


def sample(route: Route) -> str:
    """A path that the route fits."""
    return re.sub(r"\{[^}]+\}", "x", route.path)


async def test_every_route_but_the_login_and_files_is_closed(desk: Desk) -> None:
    """A route that somebody adds is closed without their doing anything for it."""
    seen = 0
    for route in desk.routes:
        path = sample(route)
        if path.startswith("/dashboard/static/") or path == "/dashboard/login":
            continue
        for method in sorted(route.methods or ()):
            reply = await desk.ask(method, path)
            seen += 1
            if path.startswith("/dashboard/api/"):
                assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer realm="sockudo dashboard"')
                assert method == "HEAD" or reply.json()["code"] == "auth_failed"
            else:
                assert reply.status == 303, (method, path)
                assert reply.headers["location"].startswith("/dashboard/login")
            assert reply.headers["content-security-policy"] == CSP
    assert seen > 10


@pytest.mark.parametrize(
    "path", ["/dashboard/nothing", "/dashboard/api/v1/nothing", "/dashboard/staticx", "/dashboard/login/x"]
)
async def test_what_does_not_exist_is_not_told_apart(desk: Desk, path: str) -> None:
    assert (await desk.ask("GET", path)).status in (303, 401)


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/static/../probe/x",
        "/dashboard/static/%2e%2e/probe/x",
        "/dashboard/static/x/../../../../etc/passwd",
        "/dashboard/static/x/%2e%2e%2f%2e%2e%2fpasswords.py",
        "/dashboard/static//etc/passwd",
        "/dashboard/static/x/vendor/../dashboard.css",
        "/dashboard/static/x/vendor",
        "/dashboard/static/x/.",
        "/dashboard/static/x/vendor/htmx/LICENSE",
        "/dashboard/static/x",
        "/dashboard/static",
    ],
)
async def test_files_are_those_of_the_table_and_no_others(desk: Desk, path: str) -> None:
    reply = await desk.ask("GET", path)
    assert reply.status in (303, 404)
    assert b"root:" not in reply.body


async def test_people_come_back_to_the_page_they_wanted(desk: Desk) -> None:
    reply = await desk.ask("GET", "/dashboard/channels?q=a%20b&page=2")
    assert reply.headers["location"] == "/dashboard/login?next=%2Fdashboard%2Fchannels%3Fq%3Da%2520b%26page%3D2"
    form = await desk.ask("GET", reply.headers["location"])
    assert 'name="next" value="/dashboard/channels?q=a%20b&amp;page=2"' in form.text


async def test_who_sent_a_form_without_a_session_is_told_that_nothing_was_done(desk: Desk) -> None:
    reply = await desk.ask("POST", "/dashboard/apps")
    assert (reply.status, reply.headers["location"]) == (303, "/dashboard/login?unsent=1")
    assert "What you sent was not carried out" in (await desk.ask("GET", reply.headers["location"])).text
    part = {"hx-request": "true", "hx-current-url": "http://dashboard.test:9601/dashboard/why"}
    asked = await desk.ask("POST", "/dashboard/apps", part)
    assert asked.headers["hx-redirect"] == "/dashboard/login?next=%2Fdashboard%2Fwhy&unsent=1"
    for method, path in (("GET", "/dashboard/apps"), ("POST", "/dashboard/logout")):
        reply = await desk.ask(method, path)
        assert "not carried out" not in (await desk.ask("GET", reply.headers["location"])).text


async def test_a_part_of_a_page_sends_the_whole_page_to_the_login(desk: Desk) -> None:
    headers = {"hx-request": "true", "hx-current-url": "http://dashboard.test:9601/dashboard/why"}
    reply = await desk.ask("GET", "/dashboard/overview", headers)
    assert (reply.status, reply.headers["hx-redirect"]) == (401, "/dashboard/login?next=%2Fdashboard%2Fwhy")


# ---- with a session ----


@pytest.mark.parametrize("value", ["", "x", "a" * 43, "None", "null", '""', "%00"])
async def test_a_forged_session(desk: Desk, value: str) -> None:
    await desk.visitor()
    assert (await desk.ask("GET", "/dashboard", {"cookie": f"{COOKIE}={value}"})).status == 303


async def test_a_session_of_another_start_of_the_server(desk: Desk) -> None:
    visitor = await Desk().visitor()
    assert (await desk.ask("GET", "/dashboard", {"cookie": visitor.cookie})).status == 303


async def test_a_session_ends_in_time(desk: Desk) -> None:
    visitor = await desk.visitor()
    desk.clock.advance(8 * 3600 - 1)
    assert (await visitor.get("/dashboard")).status == 200
    desk.clock.advance(1)
    assert (await visitor.get("/dashboard")).status == 303


async def test_a_changed_password_ends_it(desk: Desk) -> None:
    visitor = await desk.visitor()
    desk.configure(password="another password")
    assert (await visitor.get("/dashboard")).status == 303
    assert (await desk.login(PASSWORD)).status == 401
    assert (await desk.login("another password")).status == 303


async def test_other_cookies_do_no_harm(desk: Desk) -> None:
    visitor = await desk.visitor()
    for around in ("a=b; {}", "{}; a=b", 'a="x y"; {}; c=d', "a[b]=c; {}"):
        reply = await desk.ask("GET", "/dashboard", {"cookie": around.format(visitor.cookie)})
        assert reply.status == 200, around


@pytest.mark.parametrize("place", ["header", "field"])
async def test_a_change_needs_the_token_of_its_session(desk: Desk, place: str) -> None:
    visitor, other = await desk.visitor(), await desk.visitor()
    for token, status in ((None, 403), ("", 403), ("x", 403), (other.csrf, 403), (visitor.csrf, 200)):
        headers = {"x-csrf-token": token} if place == "header" and token is not None else {}
        fields = {"csrf_token": token} if place == "field" and token is not None else {}
        reply = await visitor.post("/dashboard/probe", headers, name="x", **fields)
        assert reply.status == status, token
        assert reply.text == "x" or b"token of its session" in reply.body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_that_changes_something(desk: Desk, method: str) -> None:
    visitor = await desk.visitor()
    sent = {"cookie": visitor.cookie, "content-type": "application/json"}
    reply = await desk.ask(method, "/dashboard/api/v1/probe", sent, b"{}")
    assert (reply.status, reply.json()["docs"]) == (403, "errors.md#csrf_token")
    reply = await desk.ask(method, "/dashboard/api/v1/probe", {**sent, "x-csrf-token": visitor.csrf}, b"{}")
    assert (reply.status, reply.body) == (200, b"{}")


async def test_a_header_that_is_wrong_is_not_made_good_by_a_field(desk: Desk) -> None:
    visitor = await desk.visitor()
    reply = await visitor.post("/dashboard/probe", {"x-csrf-token": "x"}, csrf_token=visitor.csrf)
    assert reply.status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://dashboard.test:9601"}, 403),
        ({"origin": "http://dashboard.test:9601"}, 200),
        ({"origin": "http://DASHBOARD.test:9601"}, 200),
        ({"origin": "http://dashboard.test"}, 403),
        ({"origin": "http://dashboard.test:9602"}, 403),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "https://evil.test", "x-forwarded-host": "evil.test"}, 403),
    ],
)
async def test_a_change_comes_from_this_origin(desk: Desk, headers: Mapping[str, str], status: int) -> None:
    visitor = await desk.visitor()
    reply = await visitor.post("/dashboard/probe", headers, csrf_token=visitor.csrf, name="x")
    assert reply.status == status
    assert (await desk.login(headers=headers)).status == (303 if status == 200 else 403)


async def test_behind_a_proxy_that_is_trusted_its_names_count() -> None:
    desk = Desk(PROBES, trust_hops=1)
    visitor = await desk.visitor()
    told = {"origin": "https://ops.example.com", "x-forwarded-host": "ops.example.com"}
    assert (await visitor.post("/dashboard/probe", told, csrf_token=visitor.csrf)).status == 200
    reply = await desk.login(headers={"x-forwarded-proto": "https"})
    assert reply.headers["set-cookie"].endswith("; Secure")


# ---- programs ----


async def test_a_program_sends_the_password_and_needs_no_token(desk: Desk) -> None:
    reply = await desk.ask("POST", "/dashboard/api/v1/probe", {**BEARER, "content-type": "application/json"}, b"[1]")
    assert (reply.status, reply.body) == (200, b"[1]")
    assert (await desk.ask("GET", "/dashboard/api/v1/session", BEARER)).json() == {
        "csrf_token": None,
        "expires_in": None,
    }


async def test_a_password_is_text() -> None:
    desk = Desk(password="käsebrot mit ☕")
    sent = {"authorization": "Bearer käsebrot mit ☕".encode().decode("latin-1")}
    assert (await desk.ask("GET", "/dashboard/api/v1/session", sent)).status == 200
    assert (await desk.login("käsebrot mit ☕")).status == 303


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        ("Bearer wrong", "password_wrong"),
        ("Bearer ", "password_wrong"),
        ("Bearer", "login_required"),
        (f"Basic {PASSWORD}", "login_required"),
        (PASSWORD, "login_required"),
        ("", "login_required"),
    ],
)
async def test_a_wrong_header_is_not_made_good_by_a_cookie(desk: Desk, value: str, slug: str) -> None:
    visitor = await desk.visitor()
    reply = await visitor.get("/dashboard/api/v1/session", authorization=value)
    assert (reply.status, reply.json()["docs"]) == (401, f"errors.md#{slug}")


async def test_programs_that_guess_are_slowed_down(desk: Desk) -> None:
    replies = [await desk.ask("GET", "/dashboard/api/v1/session", {"authorization": f"Bearer {i}"}) for i in range(11)]
    assert [reply.status for reply in replies] == [401] * 10 + [429]
    assert replies[-1].headers["retry-after"] == "300"
    assert (await desk.ask("GET", "/dashboard/api/v1/session", BEARER, client=("192.0.2.8", 1))).status == 200
    desk.clock.advance(300)
    assert (await desk.ask("GET", "/dashboard/api/v1/session", BEARER)).status == 200


async def test_logins_are_counted_by_the_address_that_trusted_proxies_tell() -> None:
    plain, proxied = Desk(), Desk(trust_hops=1)
    for desk, limited in ((plain, True), (proxied, False)):
        for i in range(10):
            await desk.login("wrong", {"x-forwarded-for": f"203.0.113.{i}"})
        reply = await desk.login("wrong", {"x-forwarded-for": "203.0.113.99"})
        assert reply.status == (429 if limited else 401)


# ---- login and logout ----


async def test_the_cookie(desk: Desk) -> None:
    given = (await desk.login()).headers["set-cookie"]
    assert re.fullmatch(
        r"sockudo_dashboard_session=[\w-]{43}; Path=/dashboard; Max-Age=28800; HttpOnly; SameSite=Strict", given
    )
    assert (await desk.login(scheme="https")).headers["set-cookie"].endswith("SameSite=Strict; Secure")
    # Whoever is not behind a proxy does not believe what one would say.
    assert "Secure" not in (await desk.login(headers={"x-forwarded-proto": "https"})).headers["set-cookie"]


async def test_a_wrong_password_says_so_on_the_form(desk: Desk) -> None:
    for wrong in ("wrong", "", PASSWORD + " ", "x" * 20_000):
        reply = await desk.login(wrong)
        assert reply.status == 401
        assert "set-cookie" not in reply.headers
        assert "The password of the dashboard is wrong." in reply.text
        assert wrong == "" or f'value="{wrong}' not in reply.text


async def test_too_many_wrong_ones(desk: Desk) -> None:
    for _ in range(10):
        assert (await desk.login("wrong")).status == 401
    reply = await desk.login()
    assert (reply.status, reply.headers["retry-after"]) == (429, "300")
    desk.clock.advance(300)
    assert (await desk.login()).status == 303


async def test_a_login_ends_the_session_before_it(desk: Desk) -> None:
    visitor = await desk.visitor()
    again = await desk.login(headers={"cookie": visitor.cookie})
    assert again.headers["set-cookie"].partition(";")[0] != visitor.cookie
    assert (await visitor.get("/dashboard")).status == 303


async def test_no_first_visit_to_a_page_holds_the_loop_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[threading.Thread] = []
    compile_one = jinja2.Environment.compile

    def watched(*given: Any, **named: Any) -> Any:
        compiled.append(threading.current_thread())
        return compile_one(*given, **named)

    replies._environment.cache_clear()
    monkeypatch.setattr(jinja2.Environment, "compile", watched)
    visitor = await desk.visitor()
    beside = [thread for thread in compiled if thread is not threading.main_thread()]
    assert len(beside) > 30
    before = len(compiled)
    for path in ("/dashboard", "/dashboard/channels", "/dashboard/connections", "/dashboard/errors", "/dashboard/why"):
        assert (await visitor.get(path)).status == 200
    assert len(compiled) == before


async def test_logout(desk: Desk) -> None:
    visitor, other = await desk.visitor(), await desk.visitor()
    assert (await visitor.post("/dashboard/logout")).status == 403
    reply = await visitor.post("/dashboard/logout", csrf_token=visitor.csrf)
    assert (reply.status, reply.headers["location"]) == (303, "/dashboard/login")
    assert reply.headers["set-cookie"].startswith(f"{COOKIE}=; Path=/dashboard; Max-Age=0")
    assert (await visitor.get("/dashboard")).status == 303
    assert (await other.get("/dashboard")).status == 200


async def test_who_is_in_needs_no_form(desk: Desk) -> None:
    visitor = await desk.visitor()
    reply = await visitor.get("/dashboard/login?next=/dashboard/why")
    assert (reply.status, reply.headers["location"]) == (303, "/dashboard/why")


# ---- bodies, errors, headers ----


async def test_a_body_in_pieces_arrives_whole(desk: Desk) -> None:
    reply = await desk.ask("POST", "/dashboard/api/v1/probe", BEARER, chunks=[b"a", b"", b"b" * 1000])
    assert reply.body == b"a" + b"b" * 1000


async def test_a_body_that_is_too_large_is_not_read_to_its_end(desk: Desk) -> None:
    visitor = await desk.visitor()
    for path, headers, piece in (
        ("/dashboard/login", {}, 30_000),
        ("/dashboard/api/v1/probe", BEARER, 600_000),
        ("/dashboard/probe", {"cookie": visitor.cookie, "x-csrf-token": visitor.csrf}, 600_000),
    ):
        chunks = [b"x" * piece] * 1000
        reply = await desk.ask("POST", path, {"content-type": FORM, **headers}, chunks=chunks)
        assert reply.status == 413, path


async def test_of_strangers_no_body_is_read(desk: Desk) -> None:
    call = desk.start("POST", "/dashboard/probe", {"content-type": FORM})
    assert call.task is not None
    await call.task
    assert (call.status, call.unread) == (303, 1)


@pytest.mark.parametrize(("path", "status"), [("/dashboard/api/v1/broken", 500), ("/dashboard/broken", 500)])
async def test_a_defect_shows_an_id_and_nothing_else(desk: Desk, path: str, status: int) -> None:
    visitor = await desk.visitor()
    reply = await visitor.get(path)
    assert reply.status == status
    assert "Internal server error" in reply.text
    assert "secret detail" not in reply.text


async def test_a_method_that_a_path_does_not_have(desk: Desk) -> None:
    visitor = await desk.visitor()
    reply = await desk.ask("DELETE", "/dashboard/api/v1/session", BEARER)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    reply = await visitor.post("/dashboard", csrf_token=visitor.csrf)
    assert reply.status == 405
    assert (await desk.ask("OPTIONS", "/dashboard/api/v1/session", BEARER)).status == 405


async def test_nothing_there_is_a_page_or_an_envelope(desk: Desk) -> None:
    visitor = await desk.visitor()
    page = await visitor.get("/dashboard/<script>")
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "<script>" not in page.text.partition("</head>")[2]
    assert (await visitor.get("/dashboard/api/v1/x")).json()["code"] == "not_found"


async def test_parts_of_paths_are_decoded_once_and_slashes_in_them_separate_nothing(desk: Desk) -> None:
    visitor = await desk.visitor()
    assert (await visitor.get("/dashboard/probe/a%2Fb%20%25")).text == "a/b %"
    assert (await visitor.get("/dashboard/probe/%FF")).status == 400
    assert (await visitor.get("/dashboard/probe/x/")).text == "x"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/dashboard/login"),
        ("HEAD", "/dashboard/login"),
        ("GET", "/dashboard"),
        ("POST", "/dashboard/login"),
        ("GET", "/dashboard/api/v1/session"),
        ("GET", "/dashboard/static/x/none.js"),
    ],
)
async def test_headers_of_every_answer(desk: Desk, method: str, path: str) -> None:
    headers: dict[str, Any] = (await desk.ask(method, path)).headers  # type: ignore[assignment]
    assert headers["content-security-policy"] == CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


async def test_programs_that_post_forms_get_no_notices() -> None:
    """They share one session and look at no pages, so nobody would ever take the notices away."""

    async def save(request: Request) -> Response:
        return redirect(request, "/dashboard", "Saved.")

    desk = Desk([Route("/dashboard/save", save, methods=["POST"])])
    bearer = {"authorization": f"Bearer {PASSWORD}", "content-type": FORM}
    assert (await desk.ask("POST", "/dashboard/save", bearer)).status == 303
    version = desk.board.credentials.version(fresh=True)
    assert version is not None
    assert desk.board.sessions.programs(version).notices == []
    visitor = await desk.visitor()
    await visitor.post("/dashboard/save", csrf_token=visitor.csrf)
    first, second = await visitor.get("/dashboard/apps"), await visitor.get("/dashboard/apps")
    assert ("Saved." in first.text, "Saved." in second.text) == (True, False)
