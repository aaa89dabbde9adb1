"""Capability tokens (spec: websocket § 14.1): made without the code that reads them, wrong in one way at a time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.warnings import InsecureKeyLengthWarning

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.resolve import Defaults, resolve
from sockudo.auth.capabilities import Operation
from sockudo.auth.tokens import Token, make_token, read_token, unverified_token
from sockudo.config.apps import App
from sockudo.errors import ErrorSpec, SockudoError

KEY, SECRET = "pier-key-20c1", "tide-secret-9f4e"
APP = resolve(App(id="4471", key=KEY, secret=SECRET, enabled=True), Defaults())
NOW = 1_790_000_000
LEFT_OUT = object()


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that are right but for the changes; underscores stand for hyphens."""
    right = {
        "x-sockudo-client-id": "u7",
        "x-sockudo-capability": {"room-*": ["subscribe", "publish"]},
        "iat": NOW - 60,
        "exp": NOW + 3600,
        "jti": "t-1",
    }
    right |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in right.items() if value is not LEFT_OUT}


def signed(payload: Any, *, secret: str = SECRET, **header: Any) -> str:
    """A token with any payload, and a header that is right but for ``header``."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return by_hand({"alg": "HS256", "typ": "JWT", "kid": KEY, **header}, text, secret)


def encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def by_hand(header: Any, payload: bytes, secret: str = SECRET) -> str:
    """A token signed with nothing but the standard library, whatever its header says."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    text = encoded(head) + b"." + encoded(payload)
    return (text + b"." + encoded(hmac.new(secret.encode(), text, hashlib.sha256).digest())).decode()


def refusal(text: str, *, now: float = NOW, app: LiveApp = APP) -> str:
    with pytest.raises(SockudoError) as caught:
        read_token(app, text, now)
    assert caught.value.spec is errors.TOKEN_REFUSED
    prefix, detail = caught.value.text[:22], caught.value.text[22:]
    assert prefix == "Authentication error: "
    assert len(caught.value.text.encode()) <= 123, "it must fit in a close frame"
    return detail


def outcome(text: str) -> Token | ErrorSpec:
    """The token, or the row of the catalogue that refuses it."""
    try:
        return read_token(APP, text, NOW)
    except SockudoError as error:
        return error.spec


# ---- what is taken ----


def test_a_token_of_another_library() -> None:
    with pytest.warns(InsecureKeyLengthWarning):
        text = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": KEY})
    token = read_token(APP, text, NOW)
    assert (token.client_id, token.jti, token.issued_at, token.expires_at) == ("u7", "t-1", NOW - 60, NOW + 3600)
    assert token.capabilities.allows(Operation.PUBLISH, "room-1")
    assert not token.capabilities.allows(Operation.HISTORY, "room-1")


def test_by_hand_and_by_library_is_the_same() -> None:
    assert read_token(APP, signed(claims()), NOW) == read_token(
        APP, by_hand({"kid": KEY, "alg": "HS256"}, json.dumps(claims()).encode()), NOW
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"x_sockudo_capability": '{"room-*": ["subscribe"]}'},
        {"x_sockudo_capability": {}},
        {"x_sockudo_capability": "{}"},
        {"x_sockudo_capability": {"room": []}},
        {"x_sockudo_client_id": "é" * 64},
        {"jti": "x" * 128},
        {"iss": "somebody", "sub": "u7", "scope": [{"deep": [1]}]},
        {"aud": None},
        {"nbf": NOW + 30},
        {"nbf": NOW - 3600},
        {"nbf": None},
        {"iat": NOW + 30, "exp": NOW + 30 + 86_400},
        {"exp": NOW - 29},
    ],
)
def test_claims_that_are_right(changes: dict[str, Any]) -> None:
    assert isinstance(read_token(APP, signed(claims(**changes)), NOW), Token)


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": None}, {"x": 1}, {"cty": "json"}])
def test_other_headers_are_ignored(header: dict[str, Any]) -> None:
    assert isinstance(read_token(APP, signed(claims(), **header), NOW), Token)


@pytest.mark.parametrize(
    "secret",
    ["s", "x" * 300, "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----", "ssh-rsa AAAA", '{"kty":"oct"}', "ü"],
)
def test_any_secret_will_do_without_a_warning(secret: str) -> None:
    app = resolve(App(id="a", key=KEY, secret=secret, enabled=True), Defaults())
    assert read_token(app, signed(claims(), secret=secret), NOW).client_id == "u7"
    assert refusal(signed(claims(), secret=secret + "x"), app=app) == "capability token signature is invalid"


# ---- what is not ----


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"x_sockudo_client_id": LEFT_OUT}, "capability token lacks x-sockudo-client-id"),
        ({"x_sockudo_client_id": None}, "capability token lacks x-sockudo-client-id"),
        ({"x_sockudo_client_id": 7}, "x-sockudo-client-id must be a string"),
        ({"x_sockudo_client_id": ["u7"]}, "x-sockudo-client-id must be a string"),
        ({"x_sockudo_client_id": ""}, "x-sockudo-client-id must be 1 to 128 bytes"),
        ({"x_sockudo_client_id": "x" * 129}, "x-sockudo-client-id must be 1 to 128 bytes"),
        ({"x_sockudo_client_id": "é" * 65}, "x-sockudo-client-id must be 1 to 128 bytes"),
        ({"jti": LEFT_OUT}, "capability token lacks jti"),
        ({"jti": 5}, "jti must be a string"),
        ({"jti": ""}, "jti must be 1 to 128 bytes"),
        ({"jti": "x" * 129}, "jti must be 1 to 128 bytes"),
        ({"x_sockudo_capability": LEFT_OUT}, "capability token lacks x-sockudo-capability"),
        ({"x_sockudo_capability": []}, "x-sockudo-capability must be a JSON object or object string"),
        ({"x_sockudo_capability": 5}, "x-sockudo-capability must be a JSON object or object string"),
        ({"x_sockudo_capability": "nonsense"}, "x-sockudo-capability must be a JSON object string"),
        ({"x_sockudo_capability": ""}, "x-sockudo-capability must be a JSON object string"),
        ({"x_sockudo_capability": "[]"}, "x-sockudo-capability must be a JSON object string"),
        ({"x_sockudo_capability": '"{}"'}, "x-sockudo-capability must be a JSON object string"),
        ({"x_sockudo_capability": "[" * 2000}, "x-sockudo-capability must be a JSON object string"),
        ({"x_sockudo_capability": {"a": "subscribe"}}, "x-sockudo-capability must map channel patterns to operations"),
        ({"x_sockudo_capability": {"a": ["fly"]}}, "unsupported capability operation 'fly'"),
        ({"x_sockudo_capability": {"": ["publish"]}}, "capability patterns must not be empty"),
        ({"x_sockudo_capability": {"a*b*c": ["publish"]}}, "capability patterns must not have more than one '*'"),
        ({"x_sockudo_capability": '{"a*b*c": []}'}, "capability patterns must not have more than one '*'"),
        (
            {"x_sockudo_capability": {f"p{number}": [] for number in range(101)}},
            "x-sockudo-capability exceeds 100 patterns",
        ),
        ({"iat": LEFT_OUT}, "capability token lacks iat"),
        ({"iat": "1"}, "iat must be a whole number of seconds"),
        ({"iat": True}, "iat must be a whole number of seconds"),
        ({"iat": -1}, "iat must be a whole number of seconds"),
        ({"iat": NOW * 1000}, "iat must be in seconds; it looks like milliseconds"),
        ({"iat": 10**400}, "iat must be in seconds; it looks like milliseconds"),
        ({"exp": LEFT_OUT}, "capability token lacks exp"),
        ({"exp": str(NOW + 60)}, "exp must be a whole number of seconds"),
        ({"exp": NOW + 60.5}, "exp must be a whole number of seconds"),
        ({"exp": NOW + 60.0}, "exp must be a whole number of seconds"),
        ({"exp": (NOW + 60) * 1000}, "exp must be in seconds; it looks like milliseconds"),
        ({"iat": NOW, "exp": NOW + 86_401}, "capability token lifetime exceeds 24 hours"),
        (
            {"iat": NOW + 31, "exp": NOW + 90},
            "capability token iat is too far in the future: 31 seconds ahead of the server's clock",
        ),
        ({"exp": NOW - 30}, "capability token expired 30 seconds ago"),
        ({"exp": NOW - 45}, "capability token expired 45 seconds ago"),
        ({"nbf": NOW + 31}, "capability token is not valid yet: nbf is 31 seconds ahead of the server's clock"),
        ({"nbf": "soon"}, "nbf must be a whole number of seconds"),
        ({"nbf": NOW + 0.5}, "nbf must be a whole number of seconds"),
        ({"aud": "sockudo"}, "capability token must not have an aud claim"),
        ({"aud": []}, "capability token must not have an aud claim"),
    ],
)
def test_one_wrong_claim_is_one_detail(changes: dict[str, Any], detail: str) -> None:
    assert refusal(signed(claims(**changes))) == detail


@pytest.mark.parametrize("now", [NOW - 30.5, NOW - 1000.25])
def test_a_clock_between_two_seconds(now: float) -> None:
    text = signed(claims(iat=NOW, exp=NOW + 60))
    assert "ahead of the server's clock" in refusal(text, now=now)
    assert isinstance(read_token(APP, text, NOW - 30.0), Token)
    assert isinstance(read_token(APP, text, NOW + 89.9), Token)
    assert refusal(text, now=NOW + 90.0) == "capability token expired 30 seconds ago"


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b"5", b'"{}"', b"{", b'{"a":}', b"\xff", b'{"jti":"\\ud800"}', b"[" * 5000, b'{"a":' * 1000],
)
def test_claims_that_are_no_object(payload: bytes) -> None:
    assert refusal(signed(payload)) == "capability token claims must be a JSON object"


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ({"alg": "HS512"}, "capability token must use HS256"),
        ({"alg": "none"}, "capability token must use HS256"),
        ({"alg": "RS256"}, "capability token must use HS256"),
        ({"alg": "hs256"}, "capability token must use HS256"),
        ({"alg": None}, "capability token must use HS256"),
        ({"alg": ["HS256"]}, "capability token must use HS256"),
        ({"alg": {"HS256": 1}}, "capability token must use HS256"),
        ({"kid": "other-key"}, "capability token kid does not match app key"),
        ({"kid": ""}, "capability token kid does not match app key"),
        ({"kid": 5}, "capability token has an invalid header"),
        ({"kid": None}, "capability token has an invalid header"),
        ({"b64": False}, "capability token has an invalid header"),
        ({"crit": ["exp"], "exp": 1}, "capability token has an invalid header"),
    ],
)
def test_one_wrong_header_is_one_detail(header: dict[str, Any], detail: str) -> None:
    assert refusal(signed(claims(), **header)) == detail


def test_a_header_without_the_key() -> None:
    text = json.dumps(claims()).encode()
    assert refusal(by_hand({"alg": "HS256"}, text)) == "capability token kid does not match app key"
    assert refusal(by_hand({"kid": KEY}, text)) == "capability token must use HS256"


@pytest.mark.parametrize(
    "text",
    [
        "", "abc", ".", "..", "...", "a.b.c", "eyJhbGciOiJIUzI1NiJ9", "é.é.é", "\ud800.a.b", "\0", " ",
        by_hand(b"null", b"{}"), by_hand(b"[]", b"{}"), by_hand(b"5", b"{}"), by_hand(b"\xff", b"{}"),
        by_hand(b"[" * 5000, b"{}"), by_hand(b'{"a":' * 1000, b"{}"), by_hand(b'{"a":' + b"1" * 5000 + b"}", b"{}"),
    ],
)  # fmt: skip
def test_what_is_no_token(text: str) -> None:
    assert refusal(text) == "capability token has an invalid header"


def test_the_longest_token() -> None:
    def sized(size: int) -> str:
        room = len(signed(claims(pad="")))
        for pad in range(max(0, (size - room) * 3 // 4 - 8), size):
            text = signed(claims(pad="x" * pad))
            if len(text) >= size:
                return text
        raise AssertionError

    assert isinstance(read_token(APP, sized(8180)[:8192], NOW), Token)
    assert refusal(sized(8193)) == "capability token exceeds 8 KiB"
    assert refusal("x" * 1_000_000) == "capability token exceeds 8 KiB"


def test_any_changed_character_breaks_the_signature_or_the_form() -> None:
    text = signed(claims())
    head = text.index(".")
    known = {"capability token signature is invalid", "capability token has an invalid header"}
    for place in range(head + 1, len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert refusal(changed) in known, place


def test_claims_are_not_looked_at_before_the_signature() -> None:
    for changes in ({"exp": 1}, {"jti": 5}, {"x_sockudo_capability": {"a": ["fly"]}}):
        assert refusal(signed(claims(**changes), secret="other")) == "capability token signature is invalid"


def test_a_token_of_another_app() -> None:
    other = resolve(App(id="2", key="other-key", secret=SECRET, enabled=True), Defaults())
    assert refusal(signed(claims()), app=other) == "capability token kid does not match app key"


# ---- whatever comes ----


@given(st.text() | st.from_regex(r"[A-Za-z0-9_\-]{0,40}(\.[A-Za-z0-9_\-=]{0,40}){0,4}", fullmatch=True))
def test_no_text_is_a_token_by_accident(text: str) -> None:
    refusal(text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(NOW - 100, NOW + 100)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["subscribe", "{}", '{"a":["publish"]}', "u7", KEY, "HS256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("aud", "nbf", *claims()), VALUES),
)


@given(CLAIMS)
def test_any_signed_claims_are_a_token_or_refused(changes: dict[str, Any]) -> None:
    found = outcome(signed({**claims(), **changes}))
    if not isinstance(found, Token):
        assert found is errors.TOKEN_REFUSED
        return
    assert found.expires_at - found.issued_at <= 86_400
    assert found.expires_at > NOW - 30
    assert found.issued_at <= NOW + 30
    assert 1 <= len(found.client_id.encode()) <= 128


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_signed_bytes_are_refused(header: bytes, payload: bytes) -> None:
    refusal(by_hand(header, payload))
    refusal(signed(payload))


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "b64", "crit", "jwk"]), VALUES))
def test_any_header_is_taken_or_refused(header: dict[str, Any]) -> None:
    found = outcome(signed(claims(), **header))
    if not isinstance(found, Token):
        assert found is errors.TOKEN_REFUSED
        return
    assert header.get("alg", "HS256") == "HS256"
    assert header.get("kid", KEY) == KEY


# ---- making and showing ----


def test_a_made_token_is_taken(app: LiveApp) -> None:
    text = make_token(KEY, SECRET, "u7", {"room-*": ["subscribe"]}, 600, NOW + 0.75, "t-9")
    token = read_token(app, text, NOW)
    assert (token.client_id, token.jti, token.issued_at, token.expires_at) == ("u7", "t-9", NOW, NOW + 600)
    assert token.capabilities.allows(Operation.SUBSCRIBE, "room-1")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_other_libraries_take_a_made_token() -> None:
    text = make_token(KEY, SECRET, "ü", {}, 600, 4_000_000_000)
    read = jwt.decode(text, SECRET, algorithms=["HS256"], options={"verify_iat": False})
    assert read.pop("jti")
    assert read == {"x-sockudo-client-id": "ü", "x-sockudo-capability": {}, "iat": 4_000_000_000, "exp": 4_000_000_600}
    assert jwt.get_unverified_header(text) == {"alg": "HS256", "typ": "JWT", "kid": KEY}


def test_every_made_token_has_its_own_jti(make_app: Callable[..., LiveApp]) -> None:
    made = {read_token(make_app(), make_token(KEY, SECRET, "u7", {}, 60, NOW), NOW).jti for _ in range(20)}
    assert len(made) == 20


def test_a_token_can_be_shown_to_whoever_does_not_know_the_secret() -> None:
    header, shown = unverified_token(signed(claims(jti=5), secret="another", alg="HS512"))
    assert header == {"alg": "HS512", "typ": "JWT", "kid": KEY}
    assert shown == claims(jti=5)


@pytest.mark.parametrize(
    "text", ["", "abc", "a.b.c", "é", by_hand({"b64": False}, b"{}"), by_hand({"kid": "k"}, b"[]")]
)
def test_what_cannot_be_shown_is_refused(text: str) -> None:
    with pytest.raises(SockudoError) as caught:
        unverified_token(text)
    assert caught.value.spec is errors.TOKEN_REFUSED


def test_neither_secret_nor_token_is_in_a_text() -> None:
    for text in (signed(claims(jti="hush")), signed(claims(jti="hush"), secret="x"), signed(claims(exp=1, jti="hush"))):
        try:
            shown = repr(read_token(APP, text, NOW).capabilities)
        except SockudoError as error:
            shown = error.text + repr(error)
        assert SECRET not in shown
        assert text[:20] not in shown
        assert "hush" not in shown
