"""Channel authorization and user authentication, checked against HMACs worked out by hand."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from sockudo.client.auth import (
    Credentials,
    authorize_channel,
    authorize_channels,
    channel_auth,
    needs_auth,
    presence_data,
    user_auth,
    user_data,
)

APP = Credentials("4471", "pier-key", "tide-secret")


def _hex(text: str) -> str:
    return hmac.new(b"tide-secret", text.encode(), hashlib.sha256).hexdigest()


def test_private_channel_signs_socket_and_channel() -> None:
    assert channel_auth(APP, "311.902", "private-pier") == f"pier-key:{_hex('311.902:private-pier')}"


def test_channel_data_is_signed_for_presence_only() -> None:
    data = '{"user_id":"crew-8"}'
    assert channel_auth(APP, "1.2", "presence-crew", data) == f"pier-key:{_hex(f'1.2:presence-crew:{data}')}"
    assert channel_auth(APP, "1.2", "private-crew", data) == f"pier-key:{_hex('1.2:private-crew')}"


def test_user_auth_signs_the_exact_text() -> None:
    data = '{"id":"crew-8"}'
    assert user_auth(APP, "1.2", data) == f"pier-key:{_hex(f'1.2::user::{data}')}"


def test_authorization_answer_of_a_presence_channel() -> None:
    answer = authorize_channel(APP, "1.2", "presence-crew", user_id="crew-8", user_info={"rank": "mate"})
    assert json.loads(answer["channel_data"]) == {"user_id": "crew-8", "user_info": {"rank": "mate"}}
    assert answer["auth"] == channel_auth(APP, "1.2", "presence-crew", answer["channel_data"])


def test_authorization_answer_of_a_private_channel_has_no_member() -> None:
    assert authorize_channel(APP, "1.2", "private-pier", user_id="crew-8") == {
        "auth": channel_auth(APP, "1.2", "private-pier")
    }


def test_presence_needs_somebody() -> None:
    with pytest.raises(ValueError, match="presence-crew"):
        authorize_channel(APP, "1.2", "presence-crew")


def test_optional_parts_are_left_out() -> None:
    assert presence_data("crew-8") == '{"user_id":"crew-8"}'
    assert user_data("crew-8") == '{"id":"crew-8"}'
    assert json.loads(user_data("crew-8", {"rank": "mate"}, ["crew-9"])) == {
        "id": "crew-8",
        "user_info": {"rank": "mate"},
        "watchlist": ["crew-9"],
    }


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("harbor", False),
        ("cache-rates", False),
        ("Private-pier", False),
        ("#server-to-user-crew-8", False),
        ("private-pier", True),
        ("private-encrypted-pier", True),
        ("presence-cache-crew", True),
    ],
)
def test_which_channels_need_auth(channel: str, expected: bool) -> None:
    assert needs_auth(channel) is expected


def test_many_channels_at_once() -> None:
    answers = authorize_channels(
        APP,
        "311.902",
        ["private-pier", "private-vault", "presence-crew"],
        may=lambda name: "vault" not in name,
        user_id="ann",
    )
    assert answers == {
        "private-pier": authorize_channel(APP, "311.902", "private-pier"),
        "private-vault": {"error": "forbidden", "status": 403},
        "presence-crew": authorize_channel(APP, "311.902", "presence-crew", user_id="ann"),
    }
    unknown = authorize_channels(APP, "311.902", ["private-pier", "presence-crew", "[meta]presence-crew"])
    assert [each.get("status") for each in unknown.values()] == [None, 403, 403]


def test_the_secret_is_not_in_the_repr() -> None:
    assert "tide-secret" not in repr(APP)
