"""What is uploaded is read as a send would read it; a refusal names the field and what is wrong (spec: push § 2.3)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.providers import check_credential
from sockudo.push.providers.credentials import check_fields
from sockudo.push.recipients import Provider
from support.push_accounts import (
    apns_certificate,
    apns_key,
    apns_p12,
    service_account,
    vapid_key,
    vapid_public_key,
)

NOW = datetime.now(UTC)
RSA_KEY = json.loads(service_account(None))["private_key"]
EXPIRED = NOW - timedelta(days=3)
PASSPHRASE = "planted-passphrase"


def checked(provider: Provider, fields: Mapping[str, str], **options: Any) -> None:
    check_fields(provider, fields, NOW.timestamp(), **options)


def account(**changes: Any) -> dict[str, str]:
    """With these fields instead; None leaves one out."""
    whole = {**json.loads(service_account("https://oauth.test/token")), **changes}
    return {"serviceAccountJson": json.dumps({name: value for name, value in whole.items() if value is not None})}


def locked_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"planted"),
    ).decode()


def other_curve() -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


TOKEN = {"teamId": "TEAM", "keyId": "KEY", "privateKey": apns_key()}
PAIR = {"publicKey": vapid_public_key(), "privateKey": vapid_key()}


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        ("fcm", account()),
        ("fcm", account(project_id=None, token_uri=None, private_key_id=None)),
        ("apns", TOKEN),
        # As a key looks that has been through an environment variable.
        ("apns", {**TOKEN, "privateKey": apns_key().replace("\n", "\\n")}),
        ("apns", {"pem": apns_certificate()}),
        ("apns", {"pem": apns_certificate(), "teamId": "TEAM"}),
        ("apns", {"p12": apns_p12()}),
        ("apns", {"p12": apns_p12(), "p12Password": ""}),
        ("apns", {"p12": apns_p12(PASSPHRASE), "p12Password": PASSPHRASE}),
        ("webPush", PAIR),
        ("webPush", {name: value + "=" * (-len(value) % 4) for name, value in PAIR.items()}),
        ("hms", {"hmsAppId": "100", "clientSecret": "s"}),
        ("wns", {"packageSid": "ms-app://s-1-15-2-7", "clientSecret": "s/+="}),
    ],
)
def test_what_can_be_used(provider: Provider, fields: Mapping[str, str]) -> None:
    checked(provider, fields)


@pytest.mark.parametrize(
    ("provider", "fields", "told"),
    [
        ("fcm", {"serviceAccountJson": "planted"}, "serviceAccountJson must be the JSON object of a service account's"),
        ("fcm", {"serviceAccountJson": '["planted"]'}, "serviceAccountJson must be the JSON object of a service"),
        ("fcm", {"serviceAccountJson": "{}"}, "serviceAccountJson must be the JSON object of a service account's key"),
        ("fcm", account(project_info={}), "serviceAccountJson is google-services.json, which belongs into the app"),
        ("fcm", {"serviceAccountJson": '{"web":{"x":"planted"}}'}, "serviceAccountJson is the file of an OAuth client"),
        ("fcm", account(private_key=None), "serviceAccountJson lacks private_key: it is not the key file of a service"),
        ("fcm", account(private_key=[1]), "serviceAccountJson lacks private_key"),
        ("fcm", account(client_email=" "), "serviceAccountJson lacks client_email"),
        ("fcm", account(private_key="planted"), "private_key of the service account holds no private key in PEM form"),
        ("fcm", account(private_key=RSA_KEY[:200]), "private_key of the service account holds no private key in PEM"),
        ("fcm", account(private_key=apns_key()), "private_key of the service account is no RSA key"),
        ("fcm", account(token_uri="http://planted.test"), "token_uri in serviceAccountJson must be https"),
        ("apns", {}, "apns credentials need p12, or pem, or all of teamId, keyId and privateKey"),
        ("apns", {"teamId": "T", "keyId": "K"}, "apns credentials need p12, or pem, or all of teamId, keyId and"),
        ("apns", {**TOKEN, "privateKey": "planted"}, "privateKey holds no private key in PEM form"),
        ("apns", {**TOKEN, "privateKey": apns_key()[:80]}, "privateKey holds no private key in PEM form"),
        ("apns", {**TOKEN, "privateKey": RSA_KEY}, "privateKey is no P-256 key"),
        ("apns", {**TOKEN, "privateKey": other_curve()}, "privateKey is no P-256 key"),
        ("apns", {**TOKEN, "privateKey": locked_key()}, "privateKey is protected by a passphrase: take that off first"),
        ("apns", {**TOKEN, "keyId": "planted\n"}, "keyId has a blank, an end of line or a control character"),
        ("apns", {"pem": "planted"}, "pem holds no private key in PEM form"),
        ("apns", {"pem": RSA_KEY}, "pem lacks the certificate"),
        ("apns", {"pem": RSA_KEY + "-----BEGIN CERTIFICATE-----"}, "pem has a certificate that cannot be read"),
        (
            "apns",
            {"pem": apns_certificate(key=apns_key())},
            "pem has a private key that is not its first certificate's",
        ),
        ("apns", {"pem": apns_certificate(EXPIRED)}, f"the certificate in pem expired on {EXPIRED:%Y-%m-%d}: make a"),
        ("apns", {"p12": "planted!"}, "p12 is not base64 of a PKCS #12 file"),
        ("apns", {"p12": "cGxhbnRlZA=="}, "p12 is no PKCS #12 file"),
        ("apns", {"p12": apns_p12(PASSPHRASE)}, "p12 is protected by a passphrase: give it as p12Password"),
        (
            "apns",
            {"p12": apns_p12(PASSPHRASE), "p12Password": "planted-other"},
            "p12 has another passphrase than p12Password",
        ),
        ("apns", {"p12": apns_p12(ends=EXPIRED)}, f"the certificate in p12 expired on {EXPIRED:%Y-%m-%d}: make a new"),
        # One way in that is right does not excuse another that is not.
        ("apns", {**TOKEN, "p12": "cGxhbnRlZA=="}, "p12 is no PKCS #12 file"),
        ("webPush", {**PAIR, "privateKey": "planted"}, "privateKey is no P-256 private key of 32 bytes in base64url"),
        ("webPush", {**PAIR, "privateKey": vapid_public_key()}, "privateKey is no P-256 private key of 32 bytes"),
        ("webPush", {**PAIR, "publicKey": "planted"}, "publicKey is no P-256 public key of 65 bytes in base64"),
        ("webPush", {**PAIR, "publicKey": vapid_key()}, "publicKey is no P-256 public key of 65 bytes in base64"),
        (
            "webPush",
            {**PAIR, "publicKey": base64.urlsafe_b64encode(b"\x04" + bytes(64)).decode()},
            "publicKey is no P-256 public key",
        ),
        (
            "webPush",
            {**PAIR, "privateKey": base64.urlsafe_b64encode(bytes(31) + b"\x05").decode()},
            "publicKey is not the one of privateKey",
        ),
        ("hms", {"hmsAppId": "100", "clientSecret": "planted\n"}, "clientSecret has a blank, an end of line or a"),
        ("wns", {"packageSid": " planted", "clientSecret": "s"}, "packageSid has a blank, an end of line or a control"),
    ],
)
def test_what_is_refused(provider: Provider, fields: Mapping[str, str], told: str) -> None:
    with pytest.raises(SockudoError) as caught:
        checked(provider, fields)
    assert caught.value.spec is errors.CREDENTIAL_INVALID
    assert (caught.value.spec.code, caught.value.spec.status) == ("credential_invalid", 400)
    assert caught.value.text.startswith(told)
    assert "planted" not in caught.value.text
    # Whoever logs the whole chain finds nothing of it either.
    assert caught.value.__cause__ is None


def test_an_address_on_this_machine_where_that_is_allowed() -> None:
    checked("fcm", account(token_uri="http://127.0.0.1:9/token"), allow_local=True)


def test_a_certificate_is_good_until_the_moment_that_stands_in_it() -> None:
    ends = NOW.replace(microsecond=0) + timedelta(days=1)
    fields = {"pem": apns_certificate(ends)}
    check_fields("apns", fields, ends.timestamp() - 1)
    with pytest.raises(SockudoError, match="expired"):
        check_fields("apns", fields, ends.timestamp())


async def test_the_loop_goes_on_meanwhile() -> None:
    with pytest.raises(SockudoError, match="clientSecret"):
        await check_credential("hms", {"hmsAppId": "1", "clientSecret": "\n"}, NOW.timestamp())
    await check_credential("apns", {"p12": apns_p12(PASSPHRASE), "p12Password": PASSPHRASE}, NOW.timestamp())
