"""The WebSocket handshake of the server's side (RFC 6455 § 4.2): what a client asked for, and the answer's bytes.

Works on a request that is parsed already. Path, method and admission are the business of the edge.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote_to_bytes

from sockudo import errors

if TYPE_CHECKING:
    from sockudo.protocol.deflate import DeflateParams

__all__ = ["SUPPORTED_VERSION", "ConnectQuery", "Upgrade", "accept_response", "check_upgrade", "parse_connect_query"]

# Every refusal of a handshake carries ``Sec-WebSocket-Version`` with this value (spec: websocket § 2.3).
SUPPORTED_VERSION: Final = b"13"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A valid handshake. ``subprotocol`` is the first one offered, ``extensions`` the offers as they came."""

    key: bytes
    subprotocol: bytes | None = None
    extensions: str = ""


def check_upgrade(headers: Sequence[tuple[bytes, bytes]]) -> Upgrade:
    """Checks the handshake headers of a GET request (spec: websocket § 2.3).

    Names and tokens are compared without regard to case; a list may be spread over several headers of one name.
    Raises errors.UPGRADE_INVALID with one line that names the header.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    if b"websocket" not in _elements(found, b"upgrade", lower=True):
        raise errors.UPGRADE_INVALID("Header 'Upgrade' must contain 'websocket'")
    if b"upgrade" not in _elements(found, b"connection", lower=True):
        raise errors.UPGRADE_INVALID("Header 'Connection' must contain 'Upgrade'")
    versions = found.get(b"sec-websocket-version", [])
    if len(versions) != 1 or versions[0].strip() != SUPPORTED_VERSION:
        raise errors.UPGRADE_INVALID("Header 'Sec-WebSocket-Version' must be 13")
    keys = found.get(b"sec-websocket-key", [])
    if not keys:
        raise errors.UPGRADE_INVALID("Header 'Sec-WebSocket-Key' is missing")
    if len(keys) > 1:
        raise errors.UPGRADE_INVALID("Header 'Sec-WebSocket-Key' is given more than once")
    key = keys[0].strip()
    if not _KEY.fullmatch(key):
        raise errors.UPGRADE_INVALID("Header 'Sec-WebSocket-Key' must be the base64 form of 16 bytes")
    offered = _elements(found, b"sec-websocket-protocol")
    if offered and not _TOKEN.fullmatch(offered[0]):
        raise errors.UPGRADE_INVALID("Header 'Sec-WebSocket-Protocol' must be a list of tokens")
    extensions = b",".join(found.get(b"sec-websocket-extensions", []))
    return Upgrade(key, offered[0] if offered else None, extensions.decode("latin-1"))


def _elements(found: dict[bytes, list[bytes]], name: bytes, *, lower: bool = False) -> list[bytes]:
    """The elements of a comma-separated header; empty ones do not count (RFC 9110 § 5.6.1)."""
    value = b",".join(found.get(name, []))
    if lower:
        value = value.lower()
    return [element for part in value.split(b",") if (element := part.strip())]


def accept_response(upgrade: Upgrade, deflate: DeflateParams | None) -> bytes:
    """The 101 answer. Extensions are declined by leaving the header out."""
    digest = hashlib.sha1(upgrade.key + _GUID, usedforsecurity=False).digest()
    response = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + binascii.b2a_base64(digest, newline=False)
    )
    if upgrade.subprotocol is not None:
        response += b"\r\nSec-WebSocket-Protocol: " + upgrade.subprotocol
    if deflate is not None:
        response += b"\r\nSec-WebSocket-Extensions: " + deflate.header().encode("ascii")
    return response + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ConnectQuery:
    """The connection URL's parameters (spec: websocket § 2.2).

    ``protocol`` is 1 or 2. On V1 ``format`` is json, and the parameters that only V2 knows have their defaults.
    ``echo_messages`` is None when it was left to the configuration. ``token`` is kept on both: V1 refuses it.
    ``client`` and ``version`` are those of the SDK.
    """

    protocol: Literal[1, 2] = 1
    format: Literal["json", "msgpack", "protobuf"] = "json"
    echo_messages: bool | None = None
    append_mode: Literal["delta", "full"] = "delta"
    append_rollup_window: int | None = None
    token: str | None = field(default=None, repr=False)
    client: str = ""
    version: str = ""


_FORMATS: Final[dict[str, Literal["json", "msgpack", "protobuf"]]] = {
    "": "json",
    "json": "json",
    "msgpack": "msgpack",
    "messagepack": "msgpack",
    "protobuf": "protobuf",
    "proto": "protobuf",
}
_APPEND_MODES: Final[dict[str, Literal["delta", "full"]]] = {"": "delta", "delta": "delta", "full": "full"}
_MAX_CLIENT: Final = 64
_ROLLUP_WINDOWS: Final = (0, 20, 40, 100, 500)
_PARAMETERS: Final = frozenset(
    (
        "protocol",
        "client",
        "version",
        "flash",
        "format",
        "echo_messages",
        "append_mode",
        "append_rollup_window",
        "token",
    )
)
# A plus sign that was not percent-encoded arrives as a space.
_INTEGER: Final = re.compile(r"[+ ]?([0-9]+)")


def parse_connect_query(query: bytes) -> ConnectQuery:
    """Reads the query string of a connection URL, without its question mark (spec: websocket § 2.2).

    Parameters it does not know are ignored. A known one that is repeated or does not parse raises
    errors.UPGRADE_QUERY with a text that names it; what only V2 knows is checked for its values on V2 alone.
    """
    values = _known_parameters(query)
    protocol: Literal[1, 2] = 1
    if "protocol" in values and _integer(values, "protocol", 255) == 2:
        protocol = 2
    echo = values.get("echo_messages")
    if echo not in (None, "true", "false"):
        raise _invalid("echo_messages", "'true' or 'false'")
    window = _integer(values, "append_rollup_window", 2**64 - 1) if "append_rollup_window" in values else None
    token = values.get("token")
    echo_messages = None if echo is None else echo == "true"
    client, version = (values.get(name, "")[:_MAX_CLIENT] for name in ("client", "version"))
    if protocol == 1:
        return ConnectQuery(echo_messages=echo_messages, token=token, client=client, version=version)
    wire = _FORMATS.get(values.get("format", "").strip().lower())
    if wire is None:
        raise _invalid("format", "json, msgpack or protobuf")
    if window is not None and window not in _ROLLUP_WINDOWS:
        raise _invalid("append_rollup_window", "0, 20, 40, 100 or 500")
    mode = _APPEND_MODES.get(values.get("append_mode", ""))
    if mode is None:
        raise _invalid("append_mode", "delta or full")
    return ConnectQuery(protocol, wire, echo_messages, mode, window, token, client, version)


def _known_parameters(query: bytes) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in query.split(b"&"):
        raw_name, _, raw_value = pair.partition(b"=")
        name = _form_decoded(raw_name)
        if name in _PARAMETERS:
            if name in values:
                raise errors.UPGRADE_QUERY(f"Query parameter '{name}' is given more than once")
            values[name] = _form_decoded(raw_value)
    return values


def _form_decoded(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode(errors="replace")


def _integer(values: dict[str, str], name: str, highest: int) -> int:
    match = _INTEGER.fullmatch(values[name])
    digits = match[1].lstrip("0") if match else ""
    # Converting a very long number takes time that grows with the square of its length.
    if match is None or len(digits) > 20 or int(digits or "0") > highest:
        raise _invalid(name, f"an integer from 0 to {highest}")
    return int(digits or "0")


def _invalid(name: str, expected: str) -> errors.SockudoError:
    return errors.UPGRADE_QUERY(f"Query parameter '{name}' must be {expected}")
