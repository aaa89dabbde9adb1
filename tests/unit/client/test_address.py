from __future__ import annotations

import pytest

from sockudo.client.address import is_loopback, socket_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:6001", True),
        ("http://127.8.0.1", True),
        ("http://[::1]:6001", True),
        ("http://localhost:6001", True),
        ("http://app.localhost", True),
        ("http://localhost.example.com", False),
        ("https://ws.example.com", False),
        ("http://10.0.0.1:6001", False),
        ("nonsense", False),
    ],
)
def test_which_servers_are_on_this_machine(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("url", "beginning"),
    [
        ("http://127.0.0.1:6001", "ws://127.0.0.1:6001/app/k%2Fey?protocol=7&client="),
        ("https://ws.example.com/", "wss://ws.example.com/app/k%2Fey?protocol=7&client="),
        ("ws://ws.example.com/under", "ws://ws.example.com/under/app/k%2Fey?protocol=7&client="),
    ],
)
def test_socket_url(url: str, beginning: str) -> None:
    assert socket_url(url, "k/ey", {"protocol": "7"}).startswith(beginning)
