"""Secrets as they are stored (spec: push § 2.3)."""

from __future__ import annotations

import re
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.secrecy import Envelopes, redacted

KEY = "a long and random text"
SECRET = "-----BEGIN PRIVATE KEY-----\nplanted\n-----END"


def refused(envelopes: Envelopes, envelope: str) -> str:
    with pytest.raises(SockudoError) as caught:
        envelopes.open(envelope)
    assert caught.value.spec is errors.CREDENTIAL_UNREADABLE
    assert "planted" not in caught.value.text
    return caught.value.text


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_what_was_sealed_is_opened_with_the_same_key_alone(secret: str, key: str) -> None:
    envelope = Envelopes(key).seal(secret)
    assert Envelopes(key).open(envelope) == secret
    assert Envelopes(f"  {key}\n").open(envelope) == secret
    with pytest.raises(SockudoError):
        Envelopes(f"{key}x").open(envelope)


def test_the_envelope_is_made_as_others_make_it() -> None:
    envelope = Envelopes(KEY).seal(SECRET)
    prefix, sealed = envelope[:22], urlsafe_b64decode(envelope[22:] + "==")
    assert prefix == "envelope:v1:aes256gcm:"
    assert "=" not in envelope
    cipher = AESGCM(sha256(KEY.encode()).digest())
    assert cipher.decrypt(sealed[:12], sealed[12:], None).decode() == SECRET
    assert len(sealed) == 12 + len(SECRET) + 16


def test_an_envelope_of_others_is_opened() -> None:
    nonce = bytes(range(12))
    sealed = nonce + AESGCM(sha256(KEY.encode()).digest()).encrypt(nonce, b"theirs", None)
    bare = urlsafe_b64encode(sealed).decode()
    assert Envelopes(f"\t{KEY} ").open(f"envelope:v1:aes256gcm:{bare.rstrip('=')}") == "theirs"
    assert Envelopes(KEY).open(f"envelope:v1:aes256gcm:{bare}") == "theirs"


def test_no_two_envelopes_have_the_same_nonce() -> None:
    envelopes = Envelopes(KEY)
    assert len({envelopes.seal("x") for _ in range(50)}) == 50


@given(st.integers(0, 400), st.integers(0, 7))
def test_a_changed_bit_is_noticed(place: int, bit: int) -> None:
    envelope = Envelopes(KEY).seal(SECRET)
    sealed = bytearray(urlsafe_b64decode(envelope[22:] + "=="))
    sealed[place % len(sealed)] ^= 1 << bit
    changed = urlsafe_b64encode(bytes(sealed)).rstrip(b"=").decode()
    assert "encrypted with another" in refused(Envelopes(KEY), f"envelope:v1:aes256gcm:{changed}")


def test_the_local_form_is_plain_text() -> None:
    text = urlsafe_b64encode("für später".encode()).decode()
    assert Envelopes(None).open(f"envelope:v1:local:{text}") == "für später"
    assert Envelopes(None).open(f"envelope:v1:local:{text.rstrip('=')}") == "für später"


@pytest.mark.parametrize(
    ("envelope", "told"),
    [
        (
            "envelope:v1:sha256:abcd",
            "Only the hash of the stored push credential was kept: upload the credential again",
        ),
        ("planted", "The stored push credential is damaged: upload the credential again"),
        ("envelope:v2:aes256gcm:planted", "The stored push credential is damaged: upload the credential again"),
        ("envelope:v1:aes256gcm:AAAA", "The stored push credential is damaged: upload the credential again"),
        ("envelope:v1:aes256gcm:!", "The stored push credential is damaged: upload the credential again"),
        ("envelope:v1:aes256gcm:+/+/", "The stored push credential is damaged: upload the credential again"),
        ("envelope:v1:local:é", "The stored push credential is damaged: upload the credential again"),
        ("envelope:v1:local:A", "The stored push credential is damaged: upload the credential again"),
        ("envelope:v1:local:_w", "The stored push credential is damaged: upload the credential again"),
    ],
)
def test_what_cannot_be_opened(envelope: str, told: str) -> None:
    assert refused(Envelopes(KEY), envelope) == told


@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_without_a_key(key: str | None) -> None:
    envelopes = Envelopes(key)
    assert not envelopes.can_seal
    with pytest.raises(SockudoError) as caught:
        envelopes.seal(SECRET)
    assert caught.value.spec is errors.ENCRYPTION_KEY_MISSING
    assert caught.value.text == "PUSH_CREDENTIAL_ENCRYPTION_KEY must be configured before storing push credentials"
    told = refused(envelopes, Envelopes(KEY).seal("planted"))
    assert told == "The stored push credential is encrypted, and PUSH_CREDENTIAL_ENCRYPTION_KEY is not set"


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(SockudoError, match="the package cryptography"):
        Envelopes(KEY).seal(SECRET)


def test_the_key_is_in_no_text() -> None:
    assert KEY not in repr(Envelopes(KEY))
    assert repr(Envelopes(KEY)) == "<Envelopes with a key>"


def test_an_earlier_key_opens_and_never_seals() -> None:
    before = Envelopes("an earlier key").seal(SECRET)
    now = Envelopes(KEY, earlier=["an earlier key"])
    assert now.open(before) == SECRET
    assert Envelopes(KEY).open(now.seal(SECRET)) == SECRET
    assert "encrypted with another" in refused(now, Envelopes("a third key").seal(SECRET))
    assert not Envelopes(None, earlier=["an earlier key"]).can_seal


@pytest.mark.parametrize(
    "text",
    [
        "the Token is gone",
        "SECRET",
        "no endpoint",
        "unauthorised",
        "see http://x",
        "see HTTPS://x",
        "x" * 129,
        "dGhpc2lzYXJlZ2lzdHJhdGlvbg",
        "answered dGhpc2lzYXJlZ2lzdHJhdGlv: no",
        "BadDeviceToken: abc",
    ],
)
def test_what_may_hold_a_secret_is_replaced_by_its_hash(text: str) -> None:
    assert redacted(text) == f"[REDACTED:{sha256(text.encode()).hexdigest()[:12]}]"


@pytest.mark.parametrize(
    "text", ["", "quota", "provider status 503", "x y " * 32, "BadCertificateEnvironment", "UNAUTHENTICATED", "a" * 23]
)
def test_what_says_why_stays(text: str) -> None:
    assert redacted(text) == text


@given(st.text())
def test_once_is_enough_and_nothing_long_is_left(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once
    assert len(once) <= 128
    if once != text:
        assert re.fullmatch(r"\[REDACTED:[0-9a-f]{12}\]", once)
