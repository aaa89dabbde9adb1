"""What every test of the providers would wait for again."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12


@pytest.fixture(scope="package", autouse=True)
def _keys_are_examined_once() -> Iterator[None]:
    """Whether the primes of an RSA key are some takes forty milliseconds, and all tests have the same keys."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((serialization, "load_pem_private_key"), (pkcs12, "load_key_and_certificates")):
            patch.setattr(module, name, functools.cache(getattr(module, name)))
        yield
