"""Links lead to what they name, whatever the name."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from sockudo.dashboard.asked import channel_url, connection_url, inspector_url

NAMES = ["news", "#server-to-user-a", "100%", "a/b", "[meta]news", "new*", "a?b&c=d", "häuser", "a b", "..a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_is_one_part_of_the_path(name: str) -> None:
    parts = urlsplit(channel_url("app", name, "history", cursor="a=b&c")).path.split("/")
    assert [unquote(part) for part in parts] == ["", "dashboard", "channels", "app", name, "history"]
    assert parse_qs(urlsplit(channel_url("app", name, "history", cursor="a=b&c")).query) == {"cursor": ["a=b&c"]}
    assert urlsplit(channel_url("app", name)).query == ""


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_browsers_would_take_out_of_a_path_goes_into_the_query(name: str) -> None:
    url = urlsplit(channel_url("app", name, "subscribers"))
    assert url.path == "/dashboard/channels/open"
    assert parse_qs(url.query) == {"app_id": ["app"], "channel": [name], "view": ["subscribers"]}


def test_links_keep_what_they_are_given() -> None:
    assert connection_url("1.2", "a&b") == "/dashboard/connections/1.2?app_id=a%26b"
    assert inspector_url(app_id="a", channel="#x") == "/dashboard/inspector?app_id=a&channel=%23x"
