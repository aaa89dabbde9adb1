"""Signing of HTTP requests (spec: http-api § 2): every refusal in its order, over every road, and what has to pass."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from blackbox.api import LANES, Api, Lane
from sockudo.testing import FakeClock, TestServer, serve
from support.raw import Answer, assert_error, signed_target
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import PATIENCE

OFF_APP = Credentials("off", "off-key", "off-secret")
BODY = b'{"name":"event","channel":"auth","data":"x"}'
MISMATCH = "Invalid API signature: it was checked for POST /apps/app-id/events"
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(NUMERIC_APP), {**app_record(OFF_APP), "enabled": False}]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


@pytest.fixture(params=LANES, ids=str)
def api(request: pytest.FixtureRequest, server: ServerProcess) -> Api:
    lane: Lane = request.param
    return Api(server, lane)


def sign(secret: str, method: str, path: str, query: str) -> str:
    return hmac.new(secret.encode(), f"{method}\n{path}\n{query}".encode(), hashlib.sha256).hexdigest()


def now() -> int:
    return int(time.time())


def publish_query(*, leave_out: str = "", **changes: str) -> str:
    """A query for BODY, signed with what was changed in it; ``leave_out`` names a parameter that is not there."""
    fields = {
        "auth_key": "app-key",
        "auth_timestamp": str(now()),
        "auth_version": "1.0",
        "body_md5": hashlib.md5(BODY).hexdigest(),
        **changes,
    }
    fields.pop(leave_out, None)
    query = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
    signature = sign("app-secret", "POST", "/apps/app-id/events", query)
    return query if leave_out == "auth_signature" else f"{query}&auth_signature={signature}"


def ask(api: Api, query: str, path: str = "/apps/app-id/events", body: bytes = BODY) -> Answer:
    return api.ask("POST", f"{path}{query}", body)


# ---- the table of spec: http-api § 2.4 ----


def test_no_query(api: Api) -> None:
    assert_error(ask(api, ""), 400, "invalid_input", "Missing authentication query parameters")


@pytest.mark.parametrize("query", ["?", "?&", "?&&"])
def test_an_empty_query(api: Api, query: str) -> None:
    assert_error(ask(api, query), 400, "invalid_input", "Query string is empty or invalid")


@pytest.mark.parametrize("name", ["auth_key", "auth_timestamp", "auth_version", "body_md5", "auth_signature"])
def test_a_repeated_parameter(api: Api, name: str) -> None:
    text = f"Invalid authentication query parameters: duplicate field `{name}`"
    assert_error(ask(api, f"?{name}=1&{name}=2"), 400, "invalid_input", text)


def test_the_key_is_missing(api: Api) -> None:
    answer = ask(api, "?" + publish_query(leave_out="auth_key"))
    assert_error(answer, 401, "auth_failed", "Application key not found or invalid: auth_key is missing")
    answer = ask(api, "?AUTH_KEY=app-key")
    assert_error(answer, 401, "auth_failed", "Application key not found or invalid: auth_key is missing")


@pytest.mark.parametrize("key", ["nobody", "", "app-secret", "App-Key", "app-key%00"])
def test_nobody_has_the_key(api: Api, key: str) -> None:
    answer = ask(api, "?" + publish_query(auth_key=key))
    assert_error(answer, 401, "auth_failed", "Application key not found or invalid: no app has this auth_key")


@pytest.mark.parametrize("app_id", ["nobody", "%61pp-id", "APP-ID", "app-id%20"])
def test_nobody_has_the_app_id(api: Api, app_id: str) -> None:
    answer = ask(api, "?" + publish_query(), f"/apps/{app_id}/events")
    assert_error(answer, 404, "app_not_found", "No app has the id that the path names")


def test_the_app_id_is_looked_at_before_the_key(api: Api) -> None:
    answer = ask(api, "?a=1", "/apps/nobody/events")
    assert_error(answer, 404, "app_not_found", "No app has the id that the path names")


def test_the_key_of_another_app(api: Api) -> None:
    answer = ask(api, "?" + publish_query(), "/apps/4471/events")
    assert_error(answer, 401, "auth_failed", "Authenticated app does not match route app_id")


def test_the_timestamp_is_missing(api: Api) -> None:
    answer = ask(api, "?" + publish_query(leave_out="auth_timestamp"))
    assert_error(answer, 401, "auth_failed", "auth_timestamp is missing")


@pytest.mark.parametrize("timestamp", ["", "soon", "1.5", "%2017", "1e9", "0x10", "9" * 20, "-" + "9" * 20, "1_000"])
def test_the_timestamp_is_no_integer(api: Api, timestamp: str) -> None:
    answer = ask(api, "?" + publish_query(auth_timestamp=timestamp))
    text = "Invalid auth_timestamp format: it must be Unix time in whole seconds"
    assert_error(answer, 401, "auth_failed", text)


@pytest.mark.parametrize("offset", [-605, 605, -100_000_000])
def test_the_timestamp_is_stale(api: Api, offset: int) -> None:
    before = now()
    answer = ask(api, "?" + publish_query(auth_timestamp=str(before + offset)))
    assert answer.status == 401
    body = answer.json()
    assert body["code"] == "auth_failed"
    direction = "ahead of" if offset > 0 else "behind"
    due = [
        f"Timestamp expired or too far in the future: auth_timestamp is {abs(before + offset - clock)} seconds "
        f"{direction} the server's clock, which says {clock}; 600 are allowed"
        for clock in range(before, before + int(PATIENCE))
    ]
    assert body["error"] in due


def test_milliseconds_are_recognised(api: Api) -> None:
    answer = ask(api, "?" + publish_query(auth_timestamp=str(now() * 1000)))
    assert answer.status == 401
    assert answer.json()["error"].endswith("600 are allowed; it looks like milliseconds")


@pytest.mark.parametrize("offset", [-595, 595])
def test_the_timestamp_is_near_enough(api: Api, offset: int) -> None:
    assert ask(api, "?" + publish_query(auth_timestamp=str(now() + offset))).status == 200


@pytest.mark.parametrize("md5", [EMPTY_MD5, "x", hashlib.md5(BODY).hexdigest().upper(), "%C3%A9"])
def test_the_body_hash_differs(api: Api, md5: str) -> None:
    answer = ask(api, "?" + publish_query(body_md5=md5))
    text = f"body_md5 mismatch: the {len(BODY)} bytes that arrived have another MD5"
    assert_error(answer, 401, "auth_failed", text)


@pytest.mark.parametrize("changes", [{"leave_out": "body_md5"}, {"body_md5": ""}])
def test_the_body_hash_is_missing(api: Api, changes: dict[str, str]) -> None:
    answer = ask(api, "?" + publish_query(**changes))
    text = "body_md5 is required and must be non-empty in query parameters for POST requests with a non-empty body"
    assert_error(answer, 401, "auth_failed", text)


def test_the_signature_is_missing(api: Api) -> None:
    answer = ask(api, "?" + publish_query(leave_out="auth_signature"))
    assert_error(answer, 401, "auth_failed", "Invalid API signature: auth_signature is missing")


def test_the_signature_is_wrong(api: Api) -> None:
    query, _, signature = publish_query().rpartition("=")
    for wrong in ("", "0" * 64, signature.upper(), signature[:-1], f"{signature}0", "%C3%A9"):
        answer = ask(api, f"?{query}={wrong}")
        assert_error(answer, 401, "auth_failed", MISMATCH)


def test_one_byte_of_anything_breaks_the_signature(api: Api) -> None:
    query = publish_query(extra="1")
    assert ask(api, f"?{query}").status == 200
    assert_error(ask(api, "?" + query.replace("extra=1", "extra=2")), 401, "auth_failed", MISMATCH)
    assert_error(ask(api, f"?{query}&more=1"), 401, "auth_failed", MISMATCH)
    answer = ask(api, f"?{query}", "/apps/app-id/batch_events")
    assert_error(answer, 401, "auth_failed", MISMATCH.replace("/events", "/batch_events"))
    assert ask(api, f"?{query}", body=BODY.replace(b'"x"', b'"y"')).status == 401


def test_a_disabled_app_is_told_to_who_holds_the_secret(server: ServerProcess, api: Api) -> None:
    off = Api(server, api.lane, OFF_APP)
    assert_error(off.events(BODY), 403, "app_disabled", "The app off is disabled")
    wrong = Api(server, api.lane, Credentials("off", "off-key", "wrong"))
    assert_error(wrong.events(BODY), 401, "auth_failed", MISMATCH.replace("/app-id/", "/off/"))


def test_the_order_of_the_refusals(api: Api) -> None:
    """Everything is wrong at first; each step mends what was refused."""
    assert ask(api, "?auth_key=a&auth_key=b", "/apps/nobody/events").json()["code"] == "invalid_input"
    assert ask(api, "?auth_key=nobody", "/apps/nobody/events").json()["code"] == "app_not_found"
    assert "no app has this" in ask(api, "?auth_key=nobody&auth_timestamp=x").json()["error"]
    assert "does not match" in ask(api, "?auth_key=app-key&auth_timestamp=x", "/apps/4471/events").json()["error"]
    assert "format" in ask(api, "?auth_key=app-key&auth_timestamp=x&body_md5=x").json()["error"]
    assert "expired" in ask(api, "?auth_key=app-key&auth_timestamp=7&body_md5=x").json()["error"]
    assert "mismatch" in ask(api, f"?auth_key=app-key&auth_timestamp={now()}&body_md5=x").json()["error"]


# ---- what passes ----


@pytest.mark.parametrize("version", ["1.0", "2.0", "", None])
def test_the_version_is_signed_and_not_checked(api: Api, version: str | None) -> None:
    query = publish_query(leave_out="auth_version") if version is None else publish_query(auth_version=version)
    assert ask(api, f"?{query}").status == 200


def test_more_parameters_are_signed_with_the_rest(api: Api) -> None:
    fields = {
        "auth_key": "app-key",
        "auth_timestamp": f"+{now()}",
        "body_md5": hashlib.md5(BODY).hexdigest(),
        "empty": "",
        "ü": "a b&c=d",
        "info[]": "x;y",
    }
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    sent = "&".join(f"{quote(name)}={quote(value)}" for name, value in reversed(fields.items()))
    signature = sign("app-secret", "POST", "/apps/app-id/events", text)
    assert ask(api, f"?auth_signature={signature}&&{sent}&").status == 200


def test_names_are_lower_cased_in_the_text_to_sign(api: Api) -> None:
    text = f"auth_key=app-key&auth_timestamp={now()}&body_md5={hashlib.md5(BODY).hexdigest()}&more=2"
    signature = sign("app-secret", "POST", "/apps/app-id/events", text)
    sent = text.replace("more=2", "More=1&more=2")
    assert ask(api, f"?{sent}&auth_signature={signature}").status == 200


def test_a_slash_at_the_end_is_not_signed(api: Api) -> None:
    assert ask(api, "?" + publish_query(), "/apps/app-id/events/").status == 200


def test_an_empty_body_needs_no_hash(server: ServerProcess) -> None:
    api = Api(server)
    for body_md5 in ("", f"&body_md5={EMPTY_MD5}"):
        query = f"auth_key=app-key&auth_timestamp={now()}{body_md5}"
        path = "/apps/app-id/users/u/terminate_connections"
        signature = sign("app-secret", "POST", path, query)
        assert api.ask("POST", f"{path}?{query}&auth_signature={signature}").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_queries_may_carry_the_hash_of_nothing(server: ServerProcess, method: str) -> None:
    api = Api(server)
    assert api.get("channels", method=method).status == 200
    assert api.get("channels", {"body_md5": EMPTY_MD5}, method).status == 200
    assert api.get("channels", {"body_md5": ""}, method).status == 200


def test_queries_may_not_carry_another_hash(server: ServerProcess) -> None:
    text = "body_md5 must not be present in query parameters for GET requests, unless it is that of the body"
    assert_error(Api(server).get("channels", {"body_md5": "x"}), 401, "auth_failed", text)


def test_head_signs_head(server: ServerProcess) -> None:
    api = Api(server)
    assert api.ask("HEAD", signed_target(server.app, "GET", "/apps/app-id/channels")).status == 401


@pytest.mark.parametrize("channel", ["chat:room-1", "chat%3Aroom-1", "chat%3aroom-1"])
def test_the_path_is_signed_as_it_is_sent(server: ServerProcess, channel: str) -> None:
    answer = Api(server).get(f"channels/{channel}")
    assert (answer.status, answer.json()) == (200, {"occupied": False})


def test_the_path_may_be_signed_before_its_library_encodes_it(server: ServerProcess) -> None:
    query = f"auth_key=app-key&auth_timestamp={now()}"
    signature = sign("app-secret", "POST", "/apps/app-id/users/a b/terminate_connections", query)
    path = "/apps/app-id/users/a%20b/terminate_connections"
    assert Api(server).ask("POST", f"{path}?{query}&auth_signature={signature}").status == 200


VECTORS = [
    (
        "POST",
        "/apps/4471/events?body_md5=f178428d45d10f4a9f96e0f0dfc40327",
        (
            b'{"name":"tide-rise","channels":["harbor","pier-2"],"data":"{\\"metres\\":2.4}",'
            b'"socket_id":"311.902","info":"subscription_count"}'
        ),
        "8935d33b2487ace50064a3fdd59247cf4171583e9ed05b1732bc8855223bc894",
    ),
    (
        "GET",
        "/apps/4471/channels?info=user_count%2Csubscription_count&filter_by_prefix=presence-",
        b"",
        "6e27551a4de60d12b3d575b2195cd5205a1f405526a39f02f41d3bfa25fad138",
    ),
    (
        "POST",
        "/apps/4471/users/crew-8/terminate_connections?body_md5=99914b932bd37a50b983c5e7c90ae93b",
        b"{}",
        "8588c455a12b14d68e582896e9ec4b27efc5fbb7b3180b5bcc93ecf1800ffde6",
    ),
]


@pytest.fixture(scope="module")
def past() -> Iterator[TestServer]:
    """A server that lives in the second for which the published examples are signed."""
    config = {"app_manager": {"array": {"apps": [app_record(NUMERIC_APP)]}}}
    with serve(config, clock=FakeClock(1767225600)) as running:
        yield running


@pytest.mark.parametrize("lane", LANES, ids=str)
@pytest.mark.parametrize(("method", "target", "body", "signature"), VECTORS)
def test_the_published_examples(
    past: TestServer, lane: Lane, method: str, target: str, body: bytes, signature: str
) -> None:
    api = Api(past, lane)
    separator = "&" if "?" in target else "?"
    whole = f"{target}{separator}auth_key=pier-key-20c1&auth_timestamp=1767225600&auth_version=1.0"
    assert api.ask(method, f"{whole}&auth_signature={signature}", body).status == 200
    changed = signature[:-1] + ("1" if signature[-1] == "0" else "0")
    assert api.ask(method, f"{whole}&auth_signature={changed}", body).status == 401
    assert api.ask(method, f"{whole}0&auth_signature={signature}", body).status == 401
    if body:
        assert api.ask(method, f"{whole}&auth_signature={signature}", body + b" ").status == 401


def test_credentials_anywhere_else_do_not_count(api: Api) -> None:
    answer = api.ask("POST", "/apps/app-id/events", BODY, {"Authorization": "Bearer app-secret", "auth_key": "app-key"})
    assert_error(answer, 400, "invalid_input", "Missing authentication query parameters")


def test_secrets_and_signatures_stay_out_of_the_log(server: ServerProcess, api: Api) -> None:
    query = publish_query()
    ask(api, f"?{query}")
    ask(api, f"?{query}0")
    assert "app-secret" not in server.log
    assert query.rpartition("=")[2] not in server.log
