"""The stand-in for push providers: by method and over HTTP, inside the test and as a process."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from sockudo.testing import BrowserKeys, MockPushProvider, ProviderAnswer
from support.waiting import wait_until


async def test_scripts_come_before_profiles() -> None:
    async with MockPushProvider(profile="throttle") as mock, httpx.AsyncClient() as http:
        mock.script("a", ProviderAnswer(500), ProviderAnswer())
        url = f"{mock.url}/3/device/"
        assert [(await http.post(url + name)).status_code for name in ("a", "a", "a", "b")] == [500, 200, 429, 429]
        assert [request.provider for request in mock.sent("a")] == ["apns"] * 3
        mock.script("c", ProviderAnswer(410), forever=True)
        assert [(await http.post(url + "c")).status_code for _ in range(3)] == [410] * 3


@pytest.mark.parametrize(
    ("name", "status"), [("ok", 200), ("throttle", 429), ("invalid-token", 410), ("auth-failure", 401)]
)
async def test_profiles(name: str, status: int) -> None:
    async with MockPushProvider(profile=name) as mock, httpx.AsyncClient() as http:
        got = await http.post(f"{mock.url}/3/device/a")
        assert got.status_code == status
        assert ("retry-after" in got.headers) == (status == 429)
        # Access tokens are there in any case.
        assert (await http.post(f"{mock.url}/token")).json()["expires_in"] == 3600


async def test_flaky_is_the_same_every_time() -> None:
    async def statuses(seed: int) -> list[int]:
        async with MockPushProvider(profile="flaky", seed=seed) as mock, httpx.AsyncClient() as http:
            return [(await http.post(f"{mock.url}/3/device/a")).status_code for _ in range(30)]

    first = await statuses(1)
    assert first == await statuses(1) != await statuses(2)
    assert set(first) == {200, 503}


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no profile sunny"):
        MockPushProvider(profile="sunny")


def test_a_notification_for_somebody_else_is_not_read() -> None:
    with pytest.raises(ValueError, match="not encrypted for these keys"):
        BrowserKeys().read(b"\0" * 20 + b"\x41" + b"\x04" + b"\0" * 64 + b"\0" * 40)


def test_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "error", "-m", "sockudo.testing.push_server", "--port", "0"]
    with httpx.Client() as http, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            wait_until(lambda: http.get(f"{url}/health").text == "OK", "the provider's health")
            script = {"token": "a", "answers": [{"status": 503, "body": {"x": 1}, "headers": {"retry-after": "2"}}]}
            assert http.post(f"{url}/script", json=script).status_code == 204
            got = http.post(f"{url}/3/device/a", json={"aps": {}})
            assert (got.status_code, got.json(), got.headers["retry-after"]) == (503, {"x": 1}, "2")
            (request,) = http.get(f"{url}/requests").json()
            assert (request["token"], request["body"]) == ("a", '{"aps":{}}')
            assert http.post(f"{url}/profile", json={"name": "auth-failure"}).status_code == 204
            assert http.post(f"{url}/3/device/a").status_code == 401
            assert http.post(f"{url}/profile", json={"name": "sunny"}).status_code == 400
            recipient = http.post(f"{url}/browsers/lea").json()
            assert recipient["endpoint"] == f"{url}/wpush/lea"
            assert 'mock_push_requests_total{provider="apns",status="401"} 1' in http.get(f"{url}/metrics").text
            assert http.delete(f"{url}/requests").status_code == 204
            assert http.get(f"{url}/requests").json() == []
        finally:
            process.terminate()
