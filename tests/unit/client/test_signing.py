"""The signature of HTTP API requests, against the published vectors (spec: http-api § 2.5)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.client.auth import Credentials
from sockudo.client.signing import canonical, signed_target

APP = Credentials("4471", "pier-key-20c1", "tide-secret-9f4e")
TIME = 1_767_225_600
EVENT = (
    b'{"name":"tide-rise","channels":["harbor","pier-2"],"data":"{\\"metres\\":2.4}",'
    b'"socket_id":"311.902","info":"subscription_count"}'
)


@pytest.mark.parametrize(
    ("method", "path", "parameters", "body", "signature"),
    [
        (
            "POST",
            "/apps/4471/events",
            {},
            EVENT,
            "8935d33b2487ace50064a3fdd59247cf4171583e9ed05b1732bc8855223bc894",
        ),
        (
            "GET",
            "/apps/4471/channels",
            {"info": "user_count,subscription_count", "filter_by_prefix": "presence-"},
            None,
            "6e27551a4de60d12b3d575b2195cd5205a1f405526a39f02f41d3bfa25fad138",
        ),
        (
            "GET",
            "/apps/4471/channels/chat%3Aroom-1/history",
            {"limit": "2", "direction": "oldest_first"},
            None,
            "89c00e77e2031dd0d8ae47912ec61929fbb2c8bed04831684dab245e8c637879",
        ),
        (
            "POST",
            "/apps/4471/users/crew-8/terminate_connections",
            {},
            b"{}",
            "8588c455a12b14d68e582896e9ec4b27efc5fbb7b3180b5bcc93ecf1800ffde6",
        ),
    ],
)
def test_published_vectors(
    method: str, path: str, parameters: dict[str, str], body: bytes | None, signature: str
) -> None:
    target = signed_target(APP, method, path, parameters, body=body, timestamp=TIME)
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    assert query["auth_signature"] == signature
    assert target.startswith(f"{path}?")


def test_body_hash_is_sent_only_with_a_body() -> None:
    with_body = signed_target(APP, "POST", "/apps/4471/events", body=EVENT, timestamp=TIME)
    assert "body_md5=f178428d45d10f4a9f96e0f0dfc40327" in with_body
    assert "body_md5" not in signed_target(APP, "GET", "/apps/4471/channels", timestamp=TIME)


def test_names_are_signed_in_lower_case_and_sorted() -> None:
    assert canonical("get", "/apps/1/channels", {"Info": "a b", "filter": "x&y"}) == (
        "GET\n/apps/1/channels\nfilter=x&y&info=a b"
    )


@given(st.dictionaries(st.sampled_from(["info", "filter_by_prefix", "limit"]), st.text(st.characters(codec="utf-8"))))
def test_a_server_that_decodes_the_query_sees_what_was_signed(parameters: dict[str, str]) -> None:
    """Decoding the sent query as a form gives back the very parameters that were given."""
    target = signed_target(APP, "GET", "/apps/4471/channels", parameters, timestamp=TIME)
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True, strict_parsing=True))
    assert {name: query[name] for name in parameters} == parameters
