"""Whose certificates count, and what is said of one that does not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from sockudo.client.auth import Credentials
from sockudo.client.failures import ApiError, UnreachableError
from sockudo.client.http import ApiClient
from sockudo.client.socket import Socket
from sockudo.client.trust import Trust, distrust
from support.certificates import write_certificate, write_chain
from support.receivers import Receiver

APP = Credentials("4471", "pier-key", "tide-secret")


async def reach(files: tuple[Path, Path], trust: Trust, host: str = "localhost") -> None:
    """Asks a server with this certificate over both clients; raises what the first one raises."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*files)
    async with Receiver(tls=tls) as server:
        url = f"https://{host}:{server.port}"
        failures = []
        async with ApiClient(url, APP, tls=trust.context()) as api:
            try:
                await api.channels()
            except (UnreachableError, ApiError) as error:
                failures.append(error)
        try:
            await Socket.connect(url, APP.key, tls=trust.context())
        except (UnreachableError, ApiError) as error:
            failures.append(error)
    # The receiver is no Sockudo server: it answers, and both clients say so.
    assert len({type(error) for error in failures}) == 1, failures
    assert len({getattr(error, "advice", "") for error in failures}) == 1, failures
    raise failures[0]


@pytest.mark.parametrize(
    ("how", "host", "reason", "advice"),
    [
        ({}, "localhost", "self-signed", "--cacert"),
        ({"expired": True}, "localhost", "has expired", "Renew it"),
        ({"host": "shop.test"}, "localhost", "for another name", "the name that the certificate is for"),
        ({"host": "shop.test"}, "127.0.0.1", "for another address", "instead of an IP address"),
    ],
)
async def test_each_reason_for_distrust_has_its_advice(
    tmp_path: Path, how: dict[str, str], host: str, reason: str, advice: str
) -> None:
    files = write_certificate(tmp_path, **how)  # type: ignore[arg-type]
    trust = Trust() if not how else Trust(authority=files[0])
    with pytest.raises(UnreachableError, match=reason) as caught:
        await reach(files, trust, host)
    assert advice in caught.value.advice


async def test_an_authority_that_is_not_known(tmp_path: Path) -> None:
    authority, files = write_chain(tmp_path)
    with pytest.raises(UnreachableError, match="authority that is not trusted") as caught:
        await reach(files, Trust())
    assert "--cacert" in caught.value.advice
    with pytest.raises(ApiError):
        await reach(files, Trust(authority=authority))


async def test_a_port_without_tls() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ApiClient(url, APP) as api:
            with pytest.raises(UnreachableError, match="does not speak TLS") as caught:
                await api.channels()
        assert "http://" in caught.value.advice
        with pytest.raises(UnreachableError, match="does not speak TLS"):
            await Socket.connect(url, APP.key)


async def test_a_port_that_serves_tls_and_is_called_without() -> None:
    async def alert(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x15\x03\x01\x00\x02\x02\x46")
        writer.close()

    async with await asyncio.start_server(alert, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ApiClient(url, APP) as api:
            with pytest.raises(UnreachableError) as caught:
                await api.channels()
        assert "use https://" in caught.value.advice
        with pytest.raises(UnreachableError) as caught:
            await Socket.connect(url, APP.key)
        assert "use https://" in caught.value.advice


async def test_any_certificate_is_accepted_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ApiError):
        await reach(write_certificate(tmp_path, host="shop.test", expired=True), Trust(insecure=True))


async def test_a_pinned_certificate_counts_under_any_name_and_no_other_one_does(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    files = write_certificate(tmp_path / "own", host="shop.test")
    with pytest.raises(ApiError):
        await reach(files, Trust(pinned=files[0]), "127.0.0.1")
    other = write_certificate(tmp_path, host="shop.test")
    with pytest.raises(UnreachableError, match="self-signed"):
        await reach(other, Trust(pinned=files[0]), "127.0.0.1")


async def test_of_a_pinned_chain_the_authority_vouches_for_nothing(tmp_path: Path) -> None:
    authority, files = write_chain(tmp_path)
    own, _ = write_certificate(tmp_path, host="shop.test")
    own.write_text(own.read_text() + authority.read_text())
    with pytest.raises(UnreachableError, match="authority that is not trusted"):
        await reach(files, Trust(pinned=own), "localhost")


def test_other_failures_are_none_of_trust() -> None:
    assert distrust(ConnectionRefusedError()) is None
    assert Trust().context() is None


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ValueError, match="has no certificate"):
        Trust(pinned=tmp_path / "empty.pem").context()
