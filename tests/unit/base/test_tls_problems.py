"""One word for each way in which a handshake fails, from numbers and names alone."""

from __future__ import annotations

import ssl

import pytest

from sockudo.base.tls_problems import TlsProblem, tls_problem


def refused(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("a sentence of the library")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (9, "not_yet_valid"),
        (10, "expired"),
        (18, "self_signed"),
        (19, "authority_unknown"),
        (20, "authority_unknown"),
        (21, "authority_unknown"),
        (62, "name_mismatch"),
        (64, "address_mismatch"),
        (23, "certificate_refused"),
    ],
)
def test_what_is_wrong_with_a_certificate(code: int, word: TlsProblem) -> None:
    assert tls_problem(refused(code)) == word


def test_libraries_wrap_it() -> None:
    outer = ConnectionError("All connection attempts failed")
    outer.__cause__ = refused(10)
    assert tls_problem(outer) == "expired"


@pytest.mark.parametrize(
    ("reason", "word"), [("WRONG_VERSION_NUMBER", "not_spoken"), ("NO_PROTOCOLS_AVAILABLE", "handshake_failed")]
)
def test_what_is_wrong_with_the_protocol(reason: str, word: TlsProblem) -> None:
    error = ssl.SSLError(1, "a sentence of the library")
    error.reason = reason
    assert tls_problem(error) == word


def test_everything_else_is_not_about_tls() -> None:
    assert tls_problem(ConnectionRefusedError()) is None
    assert tls_problem(None) is None
