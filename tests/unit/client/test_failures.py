from __future__ import annotations

import errno
import itertools
import os
import socket
import ssl

from sockudo.client.failures import ApiError, ClosedError, UnreachableError, network_reason


def _chained(*errors: Exception) -> Exception:
    for outer, inner in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def test_the_reason_is_what_the_system_said() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)")
    wrapped = _chained(RuntimeError("wrapper"), OSError("All connection attempts failed"), refused)
    assert network_reason(wrapped) == os.strerror(errno.ECONNREFUSED)
    assert network_reason(ssl.SSLError(1, "certificate verify failed")) == "certificate verify failed"
    assert network_reason(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"


def test_without_a_system_error_it_is_the_text_or_the_kind() -> None:
    assert network_reason(ValueError("odd")) == "odd"
    assert network_reason(EOFError()) == "EOFError"


def test_texts_say_what_happened() -> None:
    assert str(UnreachableError("http://x", "no answer in time")) == "No answer from http://x: no answer in time"
    assert str(ApiError(401, "auth_failed", "No.")) == "No. (HTTP 401, auth_failed)"
    assert str(ClosedError(4200, "Bye")) == "The connection was closed: 4200 Bye"
    assert str(ClosedError(4001, "", established=False)) == "The connection was refused: 4001"
