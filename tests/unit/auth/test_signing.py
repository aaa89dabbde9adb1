"""Request signing: the vectors and the table of refusals of spec: http-api § 2."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.resolve import Defaults, resolve
from sockudo.apps.signer import Signer
from sockudo.auth import signing
from sockudo.auth.signing import authenticate, query_param
from sockudo.config.apps import App

NOW = 1767225600
SECRET = "tide-secret-9f4e"
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
BODY = (
    rb'{"name":"tide-rise","channels":["harbor","pier-2"],"data":"{\"metres\":2.4}",'
    rb'"socket_id":"311.902","info":"subscription_count"}'
)
BODY_MD5 = "f178428d45d10f4a9f96e0f0dfc40327"
SIGNATURE = "8935d33b2487ace50064a3fdd59247cf4171583e9ed05b1732bc8855223bc894"
AUTH = "auth_key=pier-key-20c1&auth_timestamp=1767225600&auth_version=1.0"
EVENTS = b"/apps/4471/events"


class Apps:
    """A registry of the apps it is given."""

    def __init__(self, apps: Iterable[LiveApp]) -> None:
        self.apps = list(apps)

    def by_key(self, key: str) -> LiveApp | None:
        return next((app for app in self.apps if app.key == key), None)

    def by_id(self, app_id: str) -> LiveApp | None:
        return next((app for app in self.apps if app.id == app_id), None)

    def all(self) -> list[LiveApp]:
        return self.apps


@pytest.fixture(scope="module")
def apps(app: LiveApp, make_app: Callable[..., LiveApp]) -> Apps:
    return Apps(
        [app, make_app("4472", "quay-key", "quay-secret"), make_app("4473", "off-key", "off-secret", enabled=False)]
    )


def sign(canonical_query: str, *, method: str = "GET", path: str = "/apps/4471/channels", secret: str = SECRET) -> str:
    """The signature as the standard library makes it."""
    return hmac.new(secret.encode(), f"{method}\n{path}\n{canonical_query}".encode(), "sha256").hexdigest()


def signed(canonical: str, sent: str | None = None, **how: Any) -> bytes:
    """A query with its signature; ``sent`` where it is not spelled like the canonical one."""
    return f"{canonical if sent is None else sent}&auth_signature={sign(canonical, **how)}".encode()


def ask(
    apps: Apps,
    query: bytes | None,
    *,
    method: str = "GET",
    path: bytes = b"/apps/4471/channels",
    body: bytes = b"",
    app_id: str | None = "4471",
    now: float = NOW,
) -> LiveApp:
    return authenticate(apps, method=method, raw_path=path, query=query, body=body, path_app_id=app_id, now=now)


def publish(apps: Apps, query: bytes, body: bytes = BODY, path: bytes = EVENTS) -> LiveApp:
    return ask(apps, query, method="POST", path=path, body=body)


def refusal(row: errors.ErrorSpec, text: str, call: Callable[[], object]) -> None:
    with pytest.raises(errors.SockudoError, match=re.escape(text)) as caught:
        call()
    assert caught.value.spec is row
    assert SECRET not in caught.value.text


class TestSigner:
    @given(st.text(st.characters(exclude_categories=["Cs"])), st.binary())
    @example("s" * 64, b"")
    @example("s" * 65, b"message")
    def test_equals_the_standard_library(self, secret: str, message: bytes) -> None:
        assert Signer(secret).hexdigest(message) == hmac.new(secret.encode(), message, "sha256").hexdigest()

    def test_signs_many_messages_alike(self) -> None:
        signer = Signer(SECRET)
        first = signer.hexdigest(b"one")
        signer.hexdigest(b"two")
        assert signer.hexdigest(b"one") == first

    def test_matches_only_the_exact_signature(self) -> None:
        signer = Signer(SECRET)
        signature = signer.hexdigest(b"message")
        assert signer.matches(b"message", signature)
        for wrong in ("", signature.upper(), signature[:-1], signature + "0", f" {signature}", "é" * 64, "\ud800"):
            assert not signer.matches(b"message", wrong)

    def test_shows_no_secret(self) -> None:
        signer = Signer(SECRET)
        assert SECRET not in f"{signer!r} {signer}"
        with pytest.raises(AttributeError):
            signer.secret = "x"  # type: ignore[attr-defined]


Vector = tuple[str, bytes, str, bytes]

# Method, path, query, body.
VECTORS: list[Vector] = [
    ("POST", EVENTS, f"{AUTH}&body_md5={BODY_MD5}&auth_signature={SIGNATURE}", BODY),
    (
        "GET",
        b"/apps/4471/channels",
        (
            f"info=user_count%2Csubscription_count&filter_by_prefix=presence-&{AUTH}"
            "&auth_signature=6e27551a4de60d12b3d575b2195cd5205a1f405526a39f02f41d3bfa25fad138"
        ),
        b"",
    ),
    (
        "GET",
        b"/apps/4471/channels/chat%3Aroom-1/history",
        (
            f"limit=2&direction=oldest_first&{AUTH}"
            "&auth_signature=89c00e77e2031dd0d8ae47912ec61929fbb2c8bed04831684dab245e8c637879"
        ),
        b"",
    ),
    (
        "POST",
        b"/apps/4471/users/crew-8/terminate_connections",
        (
            f"{AUTH}&body_md5=99914b932bd37a50b983c5e7c90ae93b"
            "&auth_signature=8588c455a12b14d68e582896e9ec4b27efc5fbb7b3180b5bcc93ecf1800ffde6"
        ),
        b"{}",
    ),
]


@pytest.mark.parametrize("vector", VECTORS)
class TestVectors:
    """The vectors of spec: http-api § 2.5."""

    def test_verifies(self, apps: Apps, app: LiveApp, vector: Vector) -> None:
        method, path, query, body = vector
        assert ask(apps, query.encode(), method=method, path=path, body=body) is app

    def test_any_changed_byte_is_refused(self, apps: Apps, vector: Vector) -> None:
        method, path, query, body = vector
        for part, sent in enumerate((path, query.encode(), body)):
            for at in range(len(sent)):
                changed = [path, query.encode(), body]
                # Flips between neighbours such as `0` and `1`, `a` and `` ` ``: what was sent stays printable.
                changed[part] = sent[:at] + bytes([sent[at] ^ 1]) + sent[at + 1 :]
                with pytest.raises(errors.SockudoError) as caught:
                    ask(apps, changed[1], method=method, path=changed[0], body=changed[2])
                assert caught.value.spec.status == 401


class TestRefusals:
    """Each row of spec: http-api § 2.4."""

    def test_no_query(self, apps: Apps) -> None:
        refusal(errors.AUTH_PARAMETERS, "Missing authentication query parameters", lambda: ask(apps, None))

    @pytest.mark.parametrize("name", ["auth_key", "auth_timestamp", "auth_version", "body_md5", "auth_signature"])
    def test_repeated_parameter(self, apps: Apps, name: str) -> None:
        text = f"Invalid authentication query parameters: duplicate field `{name}`"
        query = f"{AUTH}&body_md5={EMPTY_MD5}&auth_signature={SIGNATURE}&{quote(name)}=1"
        refusal(errors.AUTH_PARAMETERS, text, lambda: ask(apps, query.encode()))

    def test_signature_at_both_places_is_repeated(self, apps: Apps) -> None:
        query = f"auth_key=pier-key-20c1&auth_signature={SIGNATURE}&{AUTH.partition('&')[2]}&auth_signature={SIGNATURE}"
        refusal(errors.AUTH_PARAMETERS, "duplicate field `auth_signature`", lambda: ask(apps, query.encode()))

    @pytest.mark.parametrize("query", [b"", b"&", b"&&&"])
    def test_empty_query(self, apps: Apps, query: bytes) -> None:
        refusal(errors.AUTH_PARAMETERS, "Query string is empty or invalid", lambda: ask(apps, query))

    @pytest.mark.parametrize("query", [b"info=user_count", b"AUTH_KEY=pier-key-20c1"])
    def test_missing_key(self, apps: Apps, query: bytes) -> None:
        refusal(errors.UNKNOWN_KEY, "auth_key is missing", lambda: ask(apps, query))

    @pytest.mark.parametrize("key", ["", "nobody", SECRET, "%C3%A9"])
    def test_unknown_key(self, apps: Apps, key: str) -> None:
        query = f"auth_key={key}&auth_timestamp={NOW}&auth_version=1.0&auth_signature={SIGNATURE}".encode()
        refusal(errors.UNKNOWN_KEY, "no app has this auth_key", lambda: ask(apps, query))
        refusal(errors.UNKNOWN_KEY, "no app has this auth_key", lambda: ask(apps, query, app_id=None))

    def test_path_of_no_app(self, apps: Apps) -> None:
        for query in (signed(AUTH), b"auth_key=nobody", b"a=b"):
            refusal(errors.APP_NOT_FOUND, "No app has the id", lambda query=query: ask(apps, query, app_id="9"))  # type: ignore[misc]
        refusal(errors.APP_NOT_FOUND, "No app has the id", lambda: ask(apps, signed(AUTH), app_id="%34471"))

    def test_query_is_read_before_the_path(self, apps: Apps) -> None:
        refusal(errors.AUTH_PARAMETERS, "Missing", lambda: ask(apps, None, app_id="9"))

    def test_app_of_another_path(self, apps: Apps) -> None:
        text = "Authenticated app does not match route app_id"
        refusal(errors.APP_MISMATCH, text, lambda: ask(apps, signed(AUTH), app_id="4472"))

    def test_route_without_an_app(self, apps: Apps, app: LiveApp) -> None:
        assert ask(apps, signed(AUTH), app_id=None) is app

    def test_missing_timestamp(self, apps: Apps) -> None:
        refusal(
            errors.TIMESTAMP_INVALID, "auth_timestamp is missing", lambda: ask(apps, signed("auth_key=pier-key-20c1"))
        )

    @pytest.mark.parametrize(
        "timestamp",
        ["", "x", "1767225600.0", " 1767225600", "0x1", "1_767", "١٢٣", "+", "-", "--1", str(2**63), "9" * 40],
    )
    def test_timestamp_that_is_no_integer(self, apps: Apps, timestamp: str) -> None:
        query = signed(f"auth_key=pier-key-20c1&auth_timestamp={timestamp}")
        refusal(errors.TIMESTAMP_INVALID, "Invalid auth_timestamp format", lambda: ask(apps, query))

    @pytest.mark.parametrize("skew", [-600, -599, 0, 600])
    def test_timestamp_in_time(self, apps: Apps, app: LiveApp, skew: int) -> None:
        assert ask(apps, signed(AUTH), now=NOW - skew) is app
        assert ask(apps, signed(AUTH), now=NOW - skew + 0.9) is app

    def test_timestamp_stale(self, apps: Apps) -> None:
        text = f"Timestamp expired or too far in the future: auth_timestamp is 601 seconds %s clock, which says {NOW}"
        late = signed(f"auth_key=pier-key-20c1&auth_timestamp={NOW - 601}&auth_version=1.0")
        early = signed(f"auth_key=pier-key-20c1&auth_timestamp={NOW + 601}&auth_version=1.0")
        refusal(errors.TIMESTAMP_STALE, text % "behind the server's", lambda: ask(apps, late))
        refusal(errors.TIMESTAMP_STALE, text % "ahead of the server's", lambda: ask(apps, early))

    @pytest.mark.parametrize("timestamp", [str(2**63 - 1), str(-(2**63)), "-1767225600", "0"])
    def test_far_timestamps_are_stale(self, apps: Apps, timestamp: str) -> None:
        query = signed(f"auth_key=pier-key-20c1&auth_timestamp={timestamp}")
        refusal(errors.TIMESTAMP_STALE, "Timestamp expired", lambda: ask(apps, query))

    def test_milliseconds_are_recognised(self, apps: Apps) -> None:
        query = signed(f"auth_key=pier-key-20c1&auth_timestamp={NOW * 1000}&auth_version=1.0")
        refusal(errors.TIMESTAMP_STALE, "it looks like milliseconds", lambda: ask(apps, query))

    def test_signed_timestamp(self, apps: Apps, app: LiveApp) -> None:
        for timestamp in (f"+{NOW}", f"000{NOW}"):
            canonical = f"auth_key=pier-key-20c1&auth_timestamp={timestamp}"
            assert ask(apps, signed(canonical, canonical.replace("+", "%2B"))) is app

    @pytest.mark.parametrize("signature", ["", "0" * 64, SIGNATURE.upper(), SIGNATURE[:-1], SIGNATURE + "0", "%C3%A9"])
    def test_wrong_signature(self, apps: Apps, signature: str) -> None:
        query = f"{AUTH}&body_md5={BODY_MD5}&auth_signature={signature}".encode()
        refusal(errors.SIGNATURE_MISMATCH, "Invalid API signature", lambda: publish(apps, query))

    def test_missing_signature(self, apps: Apps) -> None:
        refusal(errors.SIGNATURE_MISMATCH, "auth_signature is missing", lambda: ask(apps, AUTH.encode()))
        refusal(errors.SIGNATURE_MISMATCH, "auth_signature is missing", lambda: ask(apps, f"a=b&{AUTH}".encode()))

    def test_disabled_app_after_the_signature(self, apps: Apps) -> None:
        canonical = AUTH.replace("pier-key-20c1", "off-key")
        path = "/apps/4473/channels"
        right = signed(canonical, path=path, secret="off-secret")
        wrong = signed(canonical, path=path)
        refusal(errors.APP_DISABLED, "disabled", lambda: ask(apps, right, path=path.encode(), app_id="4473"))
        refusal(errors.SIGNATURE_MISMATCH, "Invalid", lambda: ask(apps, wrong, path=path.encode(), app_id="4473"))

    def test_the_first_failure_is_reported(self, apps: Apps) -> None:
        stale = f"auth_key=pier-key-20c1&auth_timestamp=1&body_md5={'0' * 32}&auth_signature=x".encode()
        refusal(errors.TIMESTAMP_STALE, "Timestamp", lambda: publish(apps, stale))
        body = f"{AUTH}&body_md5={'0' * 32}&auth_signature=x".encode()
        refusal(errors.BODY_HASH_MISMATCH, "body_md5", lambda: publish(apps, body))


class TestBodyHash:
    """The rules of spec: http-api § 2.3."""

    def test_post_needs_the_hash_of_its_body(self, apps: Apps, app: LiveApp) -> None:
        for md5 in ("0" * 32, EMPTY_MD5, BODY_MD5.upper(), BODY_MD5[:-1], "é"):
            query = signed(f"{AUTH}&body_md5={md5}", method="POST", path=EVENTS.decode())
            refusal(errors.BODY_HASH_MISMATCH, "body_md5 mismatch", lambda query=query: publish(apps, query))  # type: ignore[misc]

    @pytest.mark.parametrize("canonical", [AUTH, f"{AUTH}&body_md5="])
    def test_post_without_hash(self, apps: Apps, app: LiveApp, canonical: str) -> None:
        query = signed(canonical, method="POST", path=EVENTS.decode())
        text = "body_md5 is required and must be non-empty in query parameters for POST requests with a non-empty body"
        refusal(errors.BODY_HASH_MISSING, text, lambda: publish(apps, query))
        assert publish(apps, query, b"") is app

    def test_post_with_the_hash_of_nothing(self, apps: Apps, app: LiveApp) -> None:
        query = signed(f"{AUTH}&body_md5={EMPTY_MD5}", method="POST", path=EVENTS.decode())
        assert publish(apps, query, b"") is app

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "PATCH"])
    def test_other_methods(self, apps: Apps, app: LiveApp, method: str) -> None:
        assert ask(apps, signed(AUTH, method=method), method=method) is app
        # The stock Python SDK adds it to every GET.
        assert ask(apps, signed(f"{AUTH}&body_md5={EMPTY_MD5}", method=method), method=method) is app
        body = signed(f"{AUTH}&body_md5={BODY_MD5}", method=method)
        assert ask(apps, body, method=method, body=BODY) is app
        text = f"body_md5 must not be present in query parameters for {method} requests"
        refusal(errors.BODY_HASH_MISMATCH, text, lambda: ask(apps, body, method=method))

    def test_signature_covers_the_hash(self, apps: Apps) -> None:
        other = b'{"name":"x"}'
        digest = hashlib.md5(other).hexdigest()
        query = f"{AUTH}&body_md5={digest}&auth_signature={SIGNATURE}".encode()
        text = "Invalid API signature: it was checked for POST /apps/4471/events"
        refusal(errors.SIGNATURE_MISMATCH, text, lambda: publish(apps, query, other))


class TestCanonicalString:
    """What is signed of a query and a path (spec: http-api § 2.2)."""

    def test_python_sdk_order(self, apps: Apps, app: LiveApp) -> None:
        rest = f"{AUTH.partition('&')[2]}&body_md5={BODY_MD5}"
        assert publish(apps, f"auth_key=pier-key-20c1&auth_signature={SIGNATURE}&{rest}".encode()) is app

    def test_method_counts(self, apps: Apps, app: LiveApp) -> None:
        assert ask(apps, signed(AUTH, method="HEAD"), method="HEAD") is app
        refusal(errors.SIGNATURE_MISMATCH, "Invalid", lambda: ask(apps, signed(AUTH), method="HEAD"))

    @pytest.mark.parametrize("version", ["", "auth_version=&", "auth_version=2.0&", "auth_version=x y&"])
    def test_version_is_signed_but_not_judged(self, apps: Apps, app: LiveApp, version: str) -> None:
        canonical = f"auth_key=pier-key-20c1&auth_timestamp={NOW}&{version}x=1"
        assert ask(apps, signed(canonical)) is app

    @pytest.mark.parametrize(
        ("canonical", "sent"),
        [
            ("a=&{}", "a=&{}"),
            ("a=&{}", "a&{}"),
            ("{}&b=1", "&&{}&&b=1&"),
            ("{}&b= ", "{}&b=+"),
            ("{}&b= ", "{}&b=%20"),
            ("{}&b=+", "{}&b=%2B"),
            ("{}&b=1=2", "{}&b=1=2"),
            ("{}&b=1;c=2", "{}&b=1;c=2"),
            ("{}&b=%zz%", "{}&b=%zz%25"),
            ("{}&b=\ufffd", "{}&b=%FF"),
            ("{}&b=é", "{}&b=%C3%A9"),
            ("{}&info[]=a", "info%5B%5D=a&{}"),
            ("{}&b=2", "b=1&{}&b=2"),
            ("{}&info=2", "info=2&Info=1&{}"),
            ("{}&info=2", "Info=1&info=2&{}"),
            ("{}&info=1", "INFO=2&{}&Info=1"),
            ("=x&{}", "=x&{}"),
            ("a=1&auth_key=pier-key-20c1&{rest}", "a=1&AUTH_KEY=nobody&{}"),
            ("{}&é=1", "%C3%89=1&{}"),
        ],
    )
    def test_query(self, apps: Apps, app: LiveApp, canonical: str, sent: str) -> None:
        form = {"rest": AUTH.partition("&")[2]}
        assert ask(apps, signed(canonical.format(AUTH, **form), sent.format(AUTH, **form))) is app

    def test_literal_plus_is_a_space(self, apps: Apps) -> None:
        query = signed(f"{AUTH}&b=1+2")
        refusal(errors.SIGNATURE_MISMATCH, "Invalid API signature", lambda: ask(apps, query))

    @pytest.mark.parametrize("path", ["/apps/4471/channels/chat%3Aroom-1", "/apps/4471/channels/chat:room-1"])
    def test_path_is_signed_as_sent(self, apps: Apps, app: LiveApp, path: str) -> None:
        assert ask(apps, signed(AUTH, path=path), path=path.encode()) is app

    def test_path_that_was_encoded_after_signing(self, apps: Apps, app: LiveApp) -> None:
        path = "/apps/4471/users/crew 8 é/terminate_connections"
        assert ask(apps, signed(AUTH, path=path), path=quote(path).encode()) is app

    def test_path_that_was_decoded_after_signing(self, apps: Apps) -> None:
        query = signed(AUTH, path="/apps/4471/channels/a%3Ab")
        refusal(errors.SIGNATURE_MISMATCH, "Invalid", lambda: ask(apps, query, path=b"/apps/4471/channels/a:b"))

    @pytest.mark.parametrize("path", ["/apps/4471/channels/a/users", "/apps/4471/channels/a\nb"])
    def test_decoding_makes_no_other_route(self, apps: Apps, path: str) -> None:
        sent = path.replace("a/", "a%2F").replace("\n", "%0A").encode()
        refusal(errors.SIGNATURE_MISMATCH, "Invalid", lambda: ask(apps, signed(AUTH, path=path), path=sent))


class TestQueryParam:
    def test_decodes_as_a_form(self) -> None:
        query = f"info=user_count%2Ccache&{AUTH}&filter_by_prefix=a+b&x&Info=y&%69%6e=%ff".encode()
        assert query_param(query, "info") == "user_count,cache"
        assert query_param(query, "filter_by_prefix") == "a b"
        assert query_param(query, "x") == ""
        assert query_param(query, "in") == "\ufffd"
        assert query_param(query, "y") is None
        assert query_param(b"", "") is None

    def test_twice(self) -> None:
        with pytest.raises(errors.SockudoError) as raised:
            query_param(b"x=1&%78=1", "x")
        assert raised.value.spec is errors.INVALID_INPUT
        assert query_param(b"x=1&x=1&info=z", "info") == "z"

    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.text(st.characters(exclude_categories=["Cs"])),
        )
    )
    def test_reads_what_a_form_writes(self, params: dict[str, str]) -> None:
        query = urlencode(params).encode()
        assert {name: query_param(query, name) for name in params} == params


APP = resolve(App(id="4471", key="pier-key-20c1", secret=SECRET, enabled=True), Defaults())
ONE_APP = Apps([APP])

_PIECES = st.sampled_from(
    [
        b"auth_key=pier-key-20c1",
        b"auth_key=",
        b"auth_timestamp=1767225600",
        b"auth_timestamp=17672256000000",
        b"auth_version=1.0",
        b"auth_version=",
        b"auth_version=1%2E0",
        b"body_md5=" + BODY_MD5.encode(),
        b"body_md5=" + EMPTY_MD5.encode(),
        b"auth_signature=" + SIGNATURE.encode(),
        b"auth_signature=" + SIGNATURE.encode().upper(),
        b"Auth_key=1",
        b"",
        b"a=b",
        b"\xff=%ff\n",
    ]
)
_QUERIES = st.one_of(
    st.lists(_PIECES, max_size=8).map(b"&".join),
    st.permutations(VECTORS[0][2].encode().split(b"&")).map(b"&".join),
    st.binary(max_size=200),
)


class TestBothWaysOfReading:
    @given(st.data())
    def test_agree_on_the_order_of_the_sdks(self, data: st.DataObject) -> None:
        query = bytearray(VECTORS[0][2].encode())
        for _ in range(data.draw(st.integers(0, 2))):
            query[data.draw(st.integers(0, len(query) - 1))] = data.draw(st.integers(0, 255))
        self.agree(bytes(query))

    @given(_QUERIES)
    def test_agree_on_any_query(self, query: bytes) -> None:
        self.agree(query)

    @given(st.permutations(VECTORS[0][2].split("&")))
    def test_order_does_not_matter(self, pairs: list[str]) -> None:
        assert publish(ONE_APP, "&".join(pairs).encode()) is APP

    @staticmethod
    def agree(query: bytes) -> None:
        fast = signing._read_sdk_order(query)
        if fast is not None:
            assert fast == signing._read_any_order(query)


@given(
    query=st.none() | _QUERIES,
    path=st.binary(max_size=30),
    body=st.binary(max_size=30),
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    app_id=st.none() | st.text(max_size=5),
)
def test_nothing_but_refusals(query: bytes | None, path: bytes, body: bytes, method: str, app_id: str | None) -> None:
    with pytest.raises(errors.SockudoError):
        ask(ONE_APP, query, method=method, path=path, body=body, app_id=app_id)


@given(
    params=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
            lambda name: name.lower() not in signing._AUTH_NAMES
        ),
        st.text(st.characters(exclude_categories=["Cs"])),
        max_size=5,
    )
)
def test_whoever_signs_by_the_rules_is_let_in(params: dict[str, str]) -> None:
    pairs = dict(pair.split("=") for pair in AUTH.split("&")) | params
    lowered = {name.lower(): pairs[name] for name in sorted(pairs)}
    canonical = "&".join(f"{name}={lowered[name]}" for name in sorted(lowered))
    sent = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs.items())
    assert ask(ONE_APP, signed(canonical, sent)) is APP
