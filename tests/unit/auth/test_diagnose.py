"""The likely cause of a refused channel signature (spec: index § 3)."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from itertools import count
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.apps.live import LiveApp
from sockudo.apps.resolve import Defaults, resolve
from sockudo.auth.channels import check_channel_auth
from sockudo.auth.diagnose import likely_mistake, mistaken_key
from sockudo.config.apps import App

KEY, SECRET, SOCKET = "pier-key-20c1", "tide-secret-9f4e", "311.902"
APP = resolve(App(id="4471", key=KEY, secret=SECRET, enabled=True), Defaults())
QUAY = resolve(App(id="4472", key="quay-key", secret="quay-secret", enabled=True), Defaults())


def digest(message: str, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), message.encode(), "sha256").hexdigest()


def diagnose(
    auth: str,
    channel: str = "private-room",
    channel_data: str | None = None,
    sockets: tuple[str, ...] = ("1.1", "2.2"),
) -> str:
    assert not check_channel_auth(APP, SOCKET, channel, auth, channel_data)
    mistake = likely_mistake(APP, SOCKET, channel, auth, channel_data, other_socket_ids=sockets, other_apps=[QUAY])
    sentence = mistake.cause
    assert QUAY.id not in (mistake.shared or sentence), "the app's own people must not read of another one"
    message = f"{SOCKET}:{channel}" if channel_data is None else f"{SOCKET}:{channel}:{channel_data}"
    for private in (SECRET, "quay-secret", digest(message), digest(f"{SOCKET}:{channel}")):
        assert private not in sentence
    assert "\n" not in sentence
    return sentence


def test_shape_of_the_auth_string() -> None:
    right = digest(f"{SOCKET}:private-room")
    assert "no colon" in diagnose("")
    assert "no colon" in diagnose("token")
    assert "bare signature" in diagnose(right)
    assert "upper-case" in diagnose(f"{KEY}:{right.upper()}")
    assert "white space" in diagnose(f"{KEY}:{right}\n")
    assert "not 64 hex digits" in diagnose(f"{KEY}:")
    assert "not 64 hex digits" in diagnose(f"{KEY}:{right[:-1]}")
    assert "not 64 hex digits" in diagnose(f"{KEY}:é")
    assert "base64" in diagnose(f"{KEY}:{base64.b64encode(bytes.fromhex(right)).decode()}")
    assert "not 64 hex digits" in diagnose(f"{KEY}:{base64.b64encode(bytes(32)).decode()}")


def test_wrong_key() -> None:
    right = digest(f"{SOCKET}:private-room")
    assert "not the app's key" in diagnose(f"nobody:{right}")
    assert "not the app's key" in diagnose(f"{SECRET}:{right}")
    assert "not the app's key" in diagnose(f"{SECRET}:{'0' * 64}")
    assert "key of the app 4472" in diagnose(f"quay-key:{'0' * 64}")
    assert "key and secret of the app 4472" in diagnose(f"quay-key:{digest(f'{SOCKET}:private-room', 'quay-secret')}")


def test_secret_of_another_app() -> None:
    assert "secret of the app 4472" in diagnose(f"{KEY}:{digest(f'{SOCKET}:private-room', 'quay-secret')}")


def test_another_connection() -> None:
    assert "socket_id 2.2 instead of 311.902" in diagnose(f"{KEY}:{digest('2.2:private-room')}")
    presence = f"{KEY}:{digest('2.2:presence-room:{}')}"
    assert "socket_id 2.2 instead of 311.902" in diagnose(presence, "presence-room", "{}")


@pytest.mark.parametrize("channel", ["private-a:b", "private-a;b=c,d"])
def test_encoded_channel_name(channel: str) -> None:
    for name in (quote(channel), quote(channel, safe="")):
        assert "percent-encoded" in diagnose(f"{KEY}:{digest(f'{SOCKET}:{name}')}", channel)


def test_decoded_channel_name() -> None:
    assert "percent-decoded" in diagnose(f"{KEY}:{digest(f'{SOCKET}:private-a:b')}", "private-a%3Ab")


def test_channel_data_on_a_private_channel() -> None:
    auth = f"{KEY}:{digest(f'{SOCKET}:private-room:{{}}')}"
    assert "not a presence channel" in diagnose(auth, channel_data="{}")


def test_channel_data_left_out() -> None:
    assert "left out" in diagnose(f"{KEY}:{digest(f'{SOCKET}:presence-room')}", "presence-room", "{}")


@pytest.mark.parametrize(("signed", "received"), [("{}", " {}\n"), ("{}\n", "{}")])
def test_trimmed_channel_data(signed: str, received: str) -> None:
    assert "trimmed" in diagnose(f"{KEY}:{digest(f'{SOCKET}:presence-room:{signed}')}", "presence-room", received)


USER = {"user_id": "u7", "user_info": {"nick": "José", "home": "https://a.example/b"}}


@pytest.mark.parametrize(
    ("signed", "received"),
    [
        (json.dumps(USER, separators=(",", ":"), ensure_ascii=False), json.dumps(USER)),
        (json.dumps(USER), json.dumps(USER, separators=(",", ":"))),
        (json.dumps(USER, ensure_ascii=False), json.dumps(USER, separators=(",", ":"))),
        (json.dumps(USER, separators=(",", ":")), json.dumps(USER)),
        (json.dumps(USER, separators=(",", ":")).replace("/", "\\/"), json.dumps(USER)),
        (json.dumps(USER, sort_keys=True), json.dumps(dict(reversed(USER.items())))),
        (json.dumps(json.dumps(USER, separators=(",", ":"), ensure_ascii=False), ensure_ascii=False), json.dumps(USER)),
    ],
)
def test_reserialized_channel_data(signed: str, received: str) -> None:
    sentence = diagnose(f"{KEY}:{digest(f'{SOCKET}:presence-room:{signed}')}", "presence-room", received)
    assert "serialized again" in sentence


def test_unknown_mistake() -> None:
    wrong = f"{KEY}:{'0' * 64}"
    assert "probably another secret" in diagnose(wrong)
    assert "probably another secret" in diagnose(wrong, "presence-room", "no JSON")
    assert "probably another secret" in diagnose(wrong, "presence-room", "[" * 15_000)


class TestBounds:
    @staticmethod
    def tried(channel_data: str | None) -> int:
        """How many other connections are looked at before giving up."""
        seen = count()

        def sockets() -> Iterator[str]:
            while True:
                yield f"9.{next(seen)}"

        likely_mistake(
            APP, SOCKET, "presence-room", f"{KEY}:{'0' * 64}", channel_data, other_socket_ids=sockets(), other_apps=[]
        )
        return next(seen)

    def test_connections(self) -> None:
        assert self.tried("{}") == 1000

    def test_large_data_is_tried_less_often(self) -> None:
        assert self.tried("x" * 100_000) <= 10
        assert self.tried("x" * 2_000_000) == 0

    def test_apps(self, make_app: Callable[..., LiveApp]) -> None:
        asked = 0

        def apps() -> Iterator[LiveApp]:
            nonlocal asked
            while True:
                asked += 1
                yield QUAY

        likely_mistake(APP, SOCKET, "private-room", f"{KEY}:{'0' * 64}", None, other_socket_ids=[], other_apps=apps())
        assert asked == 100


_TEXT = st.text() | st.sampled_from(
    ["private-a%FF", "presence-%ed%a0%80", "\ud800", '{"a":"\\ud800"}', "1e999", "9" * 5000]
)


@given(
    channel=_TEXT | _TEXT.map(lambda text: f"presence-{text}"),
    auth=_TEXT | st.just(f"{KEY}:{'0' * 64}") | st.binary(max_size=40).map(lambda raw: f"{KEY}:{raw.hex()}"),
    channel_data=st.none() | _TEXT,
)
def test_always_answers(channel: str, auth: str, channel_data: str | None) -> None:
    sentence = likely_mistake(
        APP, SOCKET, channel, auth, channel_data, other_socket_ids=["1.1", SOCKET], other_apps=[QUAY]
    ).cause
    assert sentence
    assert SECRET not in sentence


# ---- keys ----


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("4472", "the id of the app 4472 in place of its key"),
        ("quay-secret", "the secret of the app 4472 in place of its key: "),
        (" pier-KEY-20c1", "the key of the app 4471, with white space around it or in the wrong case"),
        ("pier-kez-20c1", "nearly the key of the app 4471: one character"),
        ("pier-key-20c", "nearly the key of the app 4471: one character"),
        ("pierr-key-20c1", "nearly the key of the app 4471: one character"),
        ("pier-kay-20c2", "no app has the key: it has 13 characters"),
        ("0123456789abcdef0123", "no app has the key: it has 20 characters and begins with 0123"),
        ("short-secret", "no app has the key: it has 12 characters"),
        ("\x1b[31m0123456789abc", "no app has the key: it has 18 characters"),
        ("", "no app has the key: it has 0 characters"),
    ],
)
def test_what_is_used_in_place_of_a_key(key: str, said: str) -> None:
    told = mistaken_key(key, [APP, QUAY])
    assert told.startswith(said)
    assert "quay-secret" not in told
    assert "\x1b" not in told


@given(st.text())
def test_any_key_is_told_of(key: str) -> None:
    assert mistaken_key(key, [APP, QUAY])
