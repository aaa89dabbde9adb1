"""What the server listens on, seen from outside: TLS, Unix sockets, proxies in front, addresses, compression."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import stat
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from support.certificates import write_certificate
from support.raw import RawConnection, request_bytes
from support.server import ServerProcess, log_lines, start_server, wait_for_line
from support.websocket import PING, PONG, Frame, WebSocket, frame, handshake

ONE_IN_A_WINDOW = {"max_requests": 2, "window_seconds": 3600}


def channels(server: ServerProcess, **headers: str) -> int:
    """The status of a request that the limit per address counts, whatever else is wrong with it."""
    return server.request("GET", "/apps/x/channels", headers=headers).status


# ---- TLS ----


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path, "first")


def tls_server(files: tuple[Path, Path], **more: Any) -> ServerProcess:
    settings = {"enabled": True, "cert_path": str(files[0]), "key_path": str(files[1]), **more}
    return start_server({"ssl": settings}, plain_http=False)


def trusting(files: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=files[0])


def common_name(server: ServerProcess) -> str:
    """The name in the certificate that a new connection is shown."""
    shown = x509.load_pem_x509_certificate(ssl.get_server_certificate((server.host, server.port)).encode())
    return str(shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_https_and_wss(tls_files: tuple[Path, Path]) -> None:
    context = trusting(tls_files)
    with tls_server(tls_files) as server:
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=context)
        with closing(connection):
            connection.request("GET", "/up")
            assert connection.getresponse().read() == b"OK"
        with (
            socket.create_connection((server.host, server.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.version() in ("TLSv1.2", "TLSv1.3")
            wrapped.sendall(handshake(f"/app/{server.app.key}?protocol=7"))
            received = b""
            while b"connection_established" not in received:
                received += wrapped.recv(65536)
            assert received.startswith(b"HTTP/1.1 101")
        assert f"https://127.0.0.1:{server.port}" in server.log


def test_plain_http_on_the_tls_port_is_closed(tls_files: tuple[Path, Path]) -> None:
    with tls_server(tls_files) as server, RawConnection(server) as plain:
        plain.send(request_bytes("GET", "/live"))
        assert b"HTTP/1.1 200" not in plain.read_rest()


def test_the_redirect_keeps_host_path_and_query(tls_files: tuple[Path, Path]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        http_port = probe.getsockname()[1]
    with tls_server(tls_files, redirect_http=True, http_port=http_port) as server:
        for host, shown in (
            ("realtime.test", "realtime.test"),
            (f"127.0.0.1:{http_port}", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
        ):
            with RawConnection(server, port=http_port) as plain:
                plain.send(request_bytes("POST", "/apps/1/events?a=b%20c", host=host, body=b"{}"))
                answer = plain.answer()
                assert answer.status == 308
                assert answer.header("location") == f"https://{shown}:{server.port}/apps/1/events?a=b%20c"
                assert answer.body == b""


def test_a_reload_reads_the_certificate_again(tls_files: tuple[Path, Path]) -> None:
    folder = tls_files[0].parent
    with tls_server(tls_files) as server:
        assert common_name(server) == "first"
        write_certificate(folder, "second")
        server.send_signal(1)
        wait_for_line(server, "configuration reloaded")
        assert common_name(server) == "second"
        tls_files[0].write_text("broken")
        seen = len(log_lines(server))
        server.send_signal(1)
        told = wait_for_line(server, "the configuration was not reloaded; nothing changed", after=seen)
        assert str(tls_files[0]) in told["problems"][0]
        assert common_name(server) == "second"


# ---- Unix socket ----


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "folder" / "s.sock"
    assert len(str(found)) < 100, "a Unix socket's path is short"
    return found


def unix_server(path: Path, **config: Any) -> ServerProcess:
    settings = {"enabled": True, "path": str(path), "permission_mode": "640"}
    return start_server({"unix_socket": settings, **config}, plain_http=False)


def over_unix(path: Path, data: bytes, until: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(data)
        received = b""
        while until not in received:
            more = client.recv(65536)
            assert more, received
            received += more
        return received


def test_a_unix_socket_serves_http_and_websockets(path: Path) -> None:
    with unix_server(path) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        over_unix(path, request_bytes("GET", "/up"), b"\r\n\r\nOK")
        over_unix(path, handshake(f"/app/{server.app.key}?protocol=7"), b"connection_established")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))
        assert f"unix:{path}" in server.log
        assert server.terminate() == 0
        assert not path.exists()


def test_a_stale_file_is_removed_and_a_living_one_is_not(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with unix_server(path):
        with pytest.raises(AssertionError, match="another process does"):
            unix_server(path)
        over_unix(path, request_bytes("GET", "/up"), b"\r\n\r\nOK")


def test_something_else_in_place_of_the_socket_stays(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(AssertionError, match=f"cannot listen on {path}"):
        unix_server(path)
    assert path.read_text() == "precious"


def test_on_a_unix_socket_the_proxy_says_who_asks(path: Path) -> None:
    def status(address: str) -> bytes:
        request = request_bytes("GET", "/apps/x/channels", {"X-Forwarded-For": address})
        return over_unix(path, request, b"\r\n\r\n").split(b" ")[1]

    limits = {"rate_limiter": {"enabled": True, "api_rate_limit": ONE_IN_A_WINDOW}}
    with unix_server(path, **limits):
        assert [status("192.0.2.1") for _ in range(3)][2] == b"429"
        assert status("192.0.2.2") != b"429"


# ---- who asks ----


def test_x_forwarded_for_counts_only_behind_trusted_proxies() -> None:
    limits = {"enabled": True, "api_rate_limit": ONE_IN_A_WINDOW}
    with start_server({"rate_limiter": limits}) as server:
        statuses = [channels(server, **{"X-Forwarded-For": f"192.0.2.{number}"}) for number in range(3)]
        assert statuses[2] == 429
    limits = {"enabled": True, "api_rate_limit": {**ONE_IN_A_WINDOW, "trust_hops": 1}}
    with start_server({"rate_limiter": limits}) as server:
        # What the client itself put in front of the proxy's entry does not count.
        statuses = [channels(server, **{"X-Forwarded-For": f"198.51.100.{number}, 192.0.2.1"}) for number in range(3)]
        assert statuses[2] == 429
        assert channels(server, **{"X-Forwarded-For": "192.0.2.2"}) != 429


def proxy_v1(address: str) -> bytes:
    return f"PROXY TCP4 {address} 192.0.2.254 4711 6001\r\n".encode()


def proxy_v2(address: str) -> bytes:
    body = socket.inet_aton(address) + socket.inet_aton("192.0.2.254") + struct.pack("!HH", 4711, 6001)
    return b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body


@pytest.mark.parametrize("header", [proxy_v1, proxy_v2])
def test_the_proxy_protocol_names_the_client(header: Any) -> None:
    limits = {"rate_limiter": {"enabled": True, "api_rate_limit": ONE_IN_A_WINDOW}}
    with start_server({"proxy_protocol": True, **limits}, plain_http=False) as server:

        def status(address: str) -> int:
            with RawConnection(server) as connection:
                data = header(address) + request_bytes("GET", "/apps/x/channels")
                # In pieces, as a network may deliver it.
                connection.send(data[:9])
                connection.send(data[9:])
                return connection.answer().status

        assert [status("192.0.2.1") for _ in range(3)][2] == 429
        assert status("192.0.2.2") != 429
        with RawConnection(server) as connection:
            connection.send(header("192.0.2.3") + handshake(f"/app/{server.app.key}?protocol=7"))
            assert connection.answer().status == 101
        with RawConnection(server) as without:
            without.send(request_bytes("GET", "/live"))
            assert b"200 OK" not in without.read_rest()


# ---- addresses ----


def test_ipv6() -> None:
    with start_server({"host": "::1"}) as server:
        assert server.request("GET", "/up").text == "OK"
        assert f"listening on   http://[::1]:{server.port}" in server.log


def test_all_addresses_of_both_families() -> None:
    with start_server({"host": "::"}, plain_http=False) as server:
        for host in ("127.0.0.1", "::1"):
            server.host = host
            assert server.request("GET", "/up").text == "OK"
        server.host = "::"
        limits = {line["fields"]["message"] for line in log_lines(server)}
        assert "listening" in limits


def test_a_name_listens_on_every_address_it_stands_for_on_one_port() -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    with start_server({"host": "localhost", "port": 0}, plain_http=False) as server:
        port = wait_for_line(server, "listening")["port"]
        for address in addresses:
            server.host, server.port = str(address), port
            assert server.request("GET", "/up").text == "OK"


# ---- compression ----


def url(server: ServerProcess) -> str:
    return server.ws_url()


async def subscribed(client: ClientConnection, channel: str) -> None:
    await client.recv()
    await client.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}}))
    assert json.loads(await client.recv())["event"] == "pusher_internal:subscription_succeeded"


async def test_without_compression_the_extension_is_declined() -> None:
    with start_server() as server:
        async with connect(url(server), compression="deflate", ping_interval=None) as client:
            assert client.protocol.extensions == []
            await subscribed(client, "room")


async def test_compressed_and_plain_subscribers_of_one_channel() -> None:
    data = json.dumps({"text": "all the same " * 200})
    with start_server({"websocket": {"compression": "shared"}}) as server:
        async with (
            connect(url(server), compression="deflate", ping_interval=None) as first,
            connect(url(server), compression="deflate", ping_interval=None) as second,
            connect(url(server), compression=None, ping_interval=None) as plain,
        ):
            clients = (first, second, plain)
            assert [len(client.protocol.extensions) for client in clients] == [1, 1, 0]
            for client in clients:
                await subscribed(client, "room")
            for number in range(3):
                server.publish("room", f"event-{number}", data)
                server.publish("room", "small", "{}")
            for client in clients:
                heard = [json.loads(await client.recv()) for _ in range(6)]
                assert [event["event"] for event in heard] == [
                    "event-0", "small", "event-1", "small", "event-2", "small",
                ]  # fmt: skip
                assert {event["data"] for event in heard[::2]} == {data}
            for client in clients:
                await (await client.ping())
                await client.send(json.dumps({"event": "pusher:ping", "data": {"long": "x" * 500}}))
                assert json.loads(await client.recv())["event"] == "pusher:pong"


async def test_what_is_compressed_is_small_on_the_wire() -> None:
    data = json.dumps("x" * 20_000)
    with start_server({"websocket": {"compression": "dedicated"}}) as server:
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
        with WebSocket(server, headers=offer) as client:
            assert "permessage-deflate" in (client.accepted.header("sec-websocket-extensions") or "")
            head = client.read(2)
            client.read(int.from_bytes(client.read(2), "big") if head[1] == 126 else head[1])
            client.say("pusher:subscribe", {"channel": "room"})
            head = client.read(2)
            client.read(head[1])
            server.publish("room", "event", data)
            head = client.read(2)
            assert head[0] == 0xC1, "a whole text message, compressed"
            assert head[1] <= 126
            client.read(int.from_bytes(client.read(2), "big") if head[1] == 126 else head[1])
            client.send(frame(b"abc", PING))
            assert client.frame() == Frame(PONG, b"abc")


async def test_a_window_of_the_client_is_kept_to() -> None:
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)
    with start_server({"websocket": {"compression": "window4kb"}}) as server:
        async with connect(url(server), compression=None, extensions=[factory], ping_interval=None) as client:
            await subscribed(client, "room")
            data = json.dumps([str(number) for number in range(4000)])
            server.publish("room", "event", data)
            assert json.loads(await client.recv())["data"] == data
