"""Signatures of channel subscriptions and sign-ins (spec: websocket § 6.3 and 8.1)."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.apps.live import LiveApp
from sockudo.apps.resolve import Defaults, resolve
from sockudo.auth.channels import check_channel_auth, check_user_auth
from sockudo.config.apps import App

SOCKET = "311.902"
DATA = '{"user_id":"u7","user_info":{"nick":"Ana"}}'
APP = resolve(App(id="4471", key="pier-key-20c1", secret="tide-secret-9f4e", enabled=True), Defaults())


def auth(message: str, *, key: str = "pier-key-20c1", secret: str = "tide-secret-9f4e") -> str:
    """What a backend answers, as the standard library signs."""
    return f"{key}:{hmac.new(secret.encode(), message.encode(), 'sha256').hexdigest()}"


@pytest.mark.parametrize(
    "channel",
    ["private-a", "private-encrypted-a", "private-cache-a", "private-encrypted-cache-a", "private-presence-a"],
)
def test_private_channels_sign_no_data(app: LiveApp, channel: str) -> None:
    right = auth(f"{SOCKET}:{channel}")
    assert check_channel_auth(app, SOCKET, channel, right, None)
    assert check_channel_auth(app, SOCKET, channel, right, DATA)
    assert not check_channel_auth(app, SOCKET, channel, auth(f"{SOCKET}:{channel}:{DATA}"), DATA)


@pytest.mark.parametrize("channel", ["presence-a", "presence-cache-a"])
def test_presence_channels_sign_their_data(app: LiveApp, channel: str) -> None:
    right = auth(f"{SOCKET}:{channel}:{DATA}")
    assert check_channel_auth(app, SOCKET, channel, right, DATA)
    assert not check_channel_auth(app, SOCKET, channel, right, DATA + " ")
    assert not check_channel_auth(app, SOCKET, channel, right, None)
    assert not check_channel_auth(app, SOCKET, channel, auth(f"{SOCKET}:{channel}"), DATA)


def test_presence_channel_of_a_signed_in_user(app: LiveApp) -> None:
    assert check_channel_auth(app, SOCKET, "presence-a", auth(f"{SOCKET}:presence-a"), None)


def test_empty_data_is_data(app: LiveApp) -> None:
    assert check_channel_auth(app, SOCKET, "presence-a", auth(f"{SOCKET}:presence-a:"), "")


def test_other_connection_channel_or_secret(app: LiveApp) -> None:
    for wrong in (
        auth("311.903:private-a"),
        auth(f"{SOCKET}:private-b"),
        auth(f"{SOCKET}:private-a", secret="other"),
        auth(f"{SOCKET}:private-a", key="other"),
        auth(f"{SOCKET}::user::private-a"),
    ):
        assert not check_channel_auth(app, SOCKET, "private-a", wrong, None)


def test_the_whole_text_counts(app: LiveApp) -> None:
    right = auth(f"{SOCKET}:private-a")
    key, _, signature = right.partition(":")
    wrongs = [
        "",
        ":",
        key,
        signature,
        f":{signature}",
        f"{key}:",
        f"{key}:{signature.upper()}",
        f"{right} ",
        f" {right}",
    ]
    for wrong in [*wrongs, f"{right}0", right[:-1], f"{key}::{signature}", "é", "\ud800"]:
        assert not check_channel_auth(app, SOCKET, "private-a", wrong, None)


def test_user(app: LiveApp) -> None:
    user_data = '{"id":"u7"}'
    right = auth(f"{SOCKET}::user::{user_data}")
    assert check_user_auth(app, SOCKET, right, user_data)
    assert not check_user_auth(app, "311.903", right, user_data)
    assert not check_user_auth(app, SOCKET, right, '{"id":"u8"}')
    assert not check_user_auth(app, SOCKET, right.partition(":")[2], user_data)
    assert not check_user_auth(app, SOCKET, f"other:{right.partition(':')[2]}", user_data)
    assert not check_user_auth(app, SOCKET, auth(f"{SOCKET}:{user_data}"), user_data)


@given(st.text(), st.text(), st.text(), st.none() | st.text())
def test_no_text_is_an_accident(socket_id: str, channel: str, given_auth: str, channel_data: str | None) -> None:
    assert not check_channel_auth(APP, socket_id, channel, given_auth, channel_data)
    assert not check_user_auth(APP, socket_id, given_auth, channel_data or "")
