"""What becomes of the file that ``sockudo push credentials store`` is given."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import typer

from sockudo.push.cli.credentials import fields_of
from support.push_accounts import apns_certificate, apns_key, apns_p12, service_account

P12 = apns_p12("x")
CERTIFICATE = apns_certificate()


@pytest.mark.parametrize(
    ("provider", "data", "options", "fields"),
    [
        ("fcm", b'{"a": 1}', {}, {"serviceAccountJson": '{"a": 1}'}),
        ("fcm", service_account(None).encode(), {}, {"serviceAccountJson": service_account(None)}),
        (
            "apns",
            apns_key().encode(),
            {"key_id": "K", "team_id": "T"},
            {"privateKey": apns_key(), "keyId": "K", "teamId": "T"},
        ),
        ("apns", base64.b64decode(P12), {"passphrase": "x"}, {"p12": P12, "p12Password": "x"}),
        ("apns", CERTIFICATE.encode(), {}, {"pem": CERTIFICATE}),
        (
            "webpush",
            b'{"publicKey": "p", "privateKey": "k", "contact": "mailto:x"}',
            {},
            {"publicKey": "p", "privateKey": "k"},
        ),
        ("hms", b"secret\n", {"account": "42"}, {"hmsAppId": "42", "clientSecret": "secret"}),
        ("wns", b"secret", {"account": "ms-app://s"}, {"packageSid": "ms-app://s", "clientSecret": "secret"}),
    ],
)
def test_a_file_becomes_the_fields_of_its_kind(
    provider: str, data: bytes, options: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert fields_of(provider, data, **options) == fields


@pytest.mark.parametrize(
    ("provider", "data", "told"),
    [
        ("apns", apns_key().encode(), "A .p8 key needs --key-id and --team-id."),
        ("webpush", b"planted", "The file is not the JSON of a pair of keys."),
        ("webpush", b"[]", "The file is not the JSON of a pair of keys."),
        ("hms", b"planted", "hms needs --account."),
        ("fcm", b"\xffplanted", "The file is no text in UTF-8."),
    ],
)
def test_what_lacks_something(provider: str, data: bytes, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        fields_of(provider, data)
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert told in said
    assert "planted" not in said
