"""A TCP connection on which a test says exactly the bytes it wants, and HTTP answers read strictly from it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from sockudo.errors import CATALOGUE
from support.server import ServerProcess
from support.signing import Credentials, signed_query
from support.waiting import PATIENCE

__all__ = ["Address", "Answer", "Dial", "RawConnection", "assert_error", "request_bytes", "signed_target"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are lower-cased; ``headers`` keeps order and repetitions."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that must not be repeated; None when it is missing."""
        values = [value for known, value in self.headers if known == name]
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None

    def json(self) -> Any:
        assert self.header("content-type") == "application/json", self
        return json.loads(self.body)


class Address(Protocol):
    """Where a server listens."""

    host: str
    port: int


class RawConnection:
    """One connection. Every read ends after `PATIENCE` seconds at the latest, with an AssertionError."""

    def __init__(self, server: Address, *, port: int | None = None, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(PATIENCE)
        self._socket.connect((server.host, port or server.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._unsent = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Ends the connection with RST in place of FIN, as a peer does that lost its power."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def half_close(self) -> None:
        """Says that nothing more will be sent; reading goes on."""
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_until_full(self, message: bytes, limit: int, patience: float = 0.5) -> int:
        """Sends whole messages until none has been taken for ``patience`` seconds, and says how many went out.

        The last of them is then sent to its end by the next read, so that the stream stays whole.
        """
        self._socket.settimeout(patience)
        batch = message * 100
        sent = 0
        while sent < limit * len(message):
            at = sent % len(message)
            try:
                sent += self._socket.send(batch[at : at + 64 * len(message)])
            except TimeoutError:
                break
        self._socket.settimeout(PATIENCE)
        self._unsent = message[sent % len(message) :] if sent % len(message) else b""
        return -(-sent // len(message))

    def _fill(self) -> bool:
        """Reads what there is; False at the end of the stream, which a reset also is."""
        try:
            data = self._socket.recv(65536)
            if self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except TimeoutError:
            raise AssertionError(f"nothing came for {PATIENCE:g} s after {bytes(self._received)!r}") from None
        except ConnectionError:
            return False
        self._received += data
        return bool(data)

    def read(self, count: int) -> bytes:
        while len(self._received) < count:
            assert self._fill(), f"the connection ended after {bytes(self._received)!r}, {count} bytes were due"
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``."""
        while mark not in self._received:
            assert self._fill(), f"the connection ended after {bytes(self._received)!r}, before {mark!r}"
        return self.read(self._received.index(mark) + len(mark))

    def read_rest(self) -> bytes:
        """Everything until the server closes."""
        while self._fill():
            pass
        data = bytes(self._received)
        self._received.clear()
        return data

    def assert_closed(self) -> None:
        """The server ends the connection and sends nothing more before that."""
        rest = self.read_rest()
        assert not rest, f"before the end came {rest!r}"

    def answer(self, *, head: bool = False) -> Answer:
        """The next HTTP answer; ``head`` for one that describes a body and has none. The body needs a length."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        version, status = lines[0].split(" ")[:2]
        assert version == "HTTP/1.1", lines[0]
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        found = Answer(int(status), headers, b"")
        if head or found.status in (100, 101):
            return found
        length = found.header("content-length")
        assert length is not None, f"no Content-Length: {lines}"
        return Answer(found.status, headers, self.read(int(length)))


class Dial(Protocol):
    """The fixture `dial`: opens a TCP connection to the module's server, or another."""

    def __call__(self, *, server: ServerProcess = ..., **fields: Any) -> RawConnection: ...


def request_bytes(
    method: str,
    target: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    version: str = "1.1",
    host: str | None = "localhost",
    length: bool = True,
) -> bytes:
    """One request. Host and Content-Length are added, unless ``host`` is None or ``length`` is false."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    given = headers.items() if isinstance(headers, Mapping) else headers
    lines.extend(f"{name}: {value}" for name, value in given)
    if body and length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def signed_target(
    app: Credentials,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    params: Mapping[str, str] | None = None,
    timestamp: int | None = None,
) -> str:
    """Path and query of a signed request."""
    return f"{path}?{signed_query(app, method, path, params=params, body=body, timestamp=timestamp)}"


def assert_error(answer: Answer, status: int, code: str, text: str) -> None:
    """The answer is the error envelope with exactly this text, and says where to read more."""
    assert answer.status == status, answer
    body = answer.json()
    row = CATALOGUE[body.pop("docs").removeprefix("errors.md#")]
    assert body.pop("reason", None) == row.reason
    assert body == {"error": text, "code": code, "status": status}
