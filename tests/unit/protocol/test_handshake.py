"""A handshake is refused with one line that names the header or parameter, or answered so that stock clients open."""

from __future__ import annotations

import base64
import os
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.protocol.deflate import negotiate
from sockudo.protocol.framing import text_frame
from sockudo.protocol.handshake import (
    SUPPORTED_VERSION,
    ConnectQuery,
    Upgrade,
    accept_response,
    check_upgrade,
    parse_connect_query,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
VALID = {
    b"host": b"localhost",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}


def headers(changes: dict[bytes, bytes | None] | None = None) -> list[tuple[bytes, bytes]]:
    merged = {**VALID, **(changes or {})}
    return [(name, value) for name, value in merged.items() if value is not None]


def refused(fields: list[tuple[bytes, bytes]]) -> str:
    with pytest.raises(SockudoError) as refusal:
        check_upgrade(fields)
    assert refusal.value.spec is errors.UPGRADE_INVALID
    assert refusal.value.spec.status == 400
    assert "\n" not in refusal.value.text
    return refusal.value.text


# ---- headers ----


def test_the_headers_of_a_plain_client() -> None:
    assert check_upgrade(headers()) == Upgrade(KEY, None, "")


@pytest.mark.parametrize(
    "changes",
    [
        {b"upgrade": b"WebSocket"},
        {b"upgrade": b"h2c, websocket"},
        {b"connection": b"keep-alive, Upgrade"},
        {b"connection": b"UPGRADE"},
        {b"connection": b" ,\tupgrade ,"},
        {b"sec-websocket-version": b" 13 "},
        {b"sec-websocket-key": b" " + KEY},
    ],
)
def test_tokens_are_compared_without_regard_to_case_and_space(changes: dict[bytes, bytes]) -> None:
    assert check_upgrade(headers(changes)).key == KEY


def test_names_may_have_any_case_and_lists_may_be_spread_over_headers() -> None:
    fields = [(name.title(), value) for name, value in headers({b"connection": b"keep-alive"})]
    fields += [
        (b"CONNECTION", b"Upgrade"),
        (b"Sec-WebSocket-Extensions", b"x-one"),
        (b"sec-websocket-extensions", b"x-two; a=1"),
        (b"Sec-WebSocket-Protocol", b" , chat"),
        (b"Sec-WebSocket-Protocol", b"superchat"),
    ]
    assert check_upgrade(fields) == Upgrade(KEY, b"chat", "x-one,x-two; a=1")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({b"upgrade": None}, "Upgrade"),
        ({b"upgrade": b""}, "Upgrade"),
        ({b"upgrade": b"h2c"}, "Upgrade"),
        ({b"upgrade": b"websocket2"}, "Upgrade"),
        ({b"connection": None}, "Connection"),
        ({b"connection": b"keep-alive"}, "Connection"),
        ({b"connection": b"upgrades"}, "Connection"),
        ({b"sec-websocket-version": None}, "Sec-WebSocket-Version"),
        ({b"sec-websocket-version": b"8"}, "Sec-WebSocket-Version"),
        ({b"sec-websocket-version": b"13, 8"}, "Sec-WebSocket-Version"),
        ({b"sec-websocket-version": b"013"}, "Sec-WebSocket-Version"),
        ({b"sec-websocket-key": None}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-key": b""}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-key": b"short=="}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-key": base64.b64encode(b"x" * 15)}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-key": base64.b64encode(b"x" * 17)}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-key": base64.b64encode(b"x" * 18)}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-key": KEY.rstrip(b"=")}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-key": b"!" + KEY[1:]}, "Sec-WebSocket-Key"),
        ({b"sec-websocket-protocol": b"not a token"}, "Sec-WebSocket-Protocol"),
        ({b"sec-websocket-protocol": "ché".encode()}, "Sec-WebSocket-Protocol"),
    ],
)
def test_refusals_name_the_header(changes: dict[bytes, bytes | None], name: str) -> None:
    assert f"'{name}'" in refused(headers(changes))


@pytest.mark.parametrize("name", [b"sec-websocket-key", b"sec-websocket-version"])
def test_a_repeated_single_header_is_refused(name: bytes) -> None:
    assert name.decode() in refused([*headers(), (name, VALID[name])]).lower()


def test_the_refusal_of_a_version_can_name_the_supported_one() -> None:
    assert SUPPORTED_VERSION == b"13"
    assert "must be 13" in refused(headers({b"sec-websocket-version": b"8"}))


@given(st.binary(min_size=16, max_size=16))
def test_any_sixteen_bytes_are_a_key(key: bytes) -> None:
    encoded = base64.b64encode(key)
    assert check_upgrade(headers({b"sec-websocket-key": encoded})).key == encoded


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*VALID, b"sec-websocket-protocol", b"sec-websocket-extensions"]) | st.binary(max_size=9),
            st.sampled_from(list(VALID.values())) | st.binary(max_size=30),
        ),
        max_size=10,
    )
)
def test_any_headers_are_accepted_or_refused_with_our_error(fields: list[tuple[bytes, bytes]]) -> None:
    try:
        upgrade = check_upgrade(fields)
    except SockudoError:
        return
    assert upgrade.key in [value.strip() for _, value in fields]


# ---- the answer ----


def test_the_example_of_the_rfc() -> None:
    assert accept_response(Upgrade(KEY), None) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("subprotocols", [None, ["pusher-channels-protocol-7", "other"]])
def test_a_stock_client_opens(compression: bool, subprotocols: list | None) -> None:
    extensions = [ClientPerMessageDeflateFactory()] if compression else None
    client = ClientProtocol(
        parse_uri("ws://localhost/app/key"), extensions=extensions, subprotocols=subprotocols, max_size=None
    )
    request = client.connect()
    fields = [(name.encode(), value.encode()) for name, value in request.headers.raw_items()]
    upgrade = check_upgrade(fields)
    deflate = negotiate(upgrade.extensions)
    assert (deflate is not None) == compression
    client.send_request(request)
    client.receive_data(accept_response(upgrade, deflate) + text_frame(b"hi"))
    response, frame = client.events_received()
    assert client.handshake_exc is None
    assert client.state is OPEN
    assert response.status_code == 101
    assert frame.data == b"hi"
    assert client.subprotocol == (subprotocols[0] if subprotocols else None)
    assert len(client.extensions) == compression


# ---- the query ----


@pytest.mark.parametrize(
    ("query", "protocol"),
    [
        (b"", 1),
        (b"protocol=7&client=js&version=8.4.0&flash=false", 1),
        (b"protocol=1", 1),
        (b"protocol=2", 2),
        (b"protocol=+2", 2),
        (b"protocol=%2B2", 2),
        (b"protocol=02", 2),
        (b"protocol=0000000000000000000000000002", 2),
        (b"pro%74ocol=2", 2),
        (b"protocol=0", 1),
        (b"protocol=5", 1),
        (b"protocol=22", 1),
        (b"protocol=255", 1),
        (b"&&unknown=1&unknown=2&&", 1),
        (b"Protocol=2", 1),
    ],
)
def test_protocol(query: bytes, protocol: int) -> None:
    assert parse_connect_query(query).protocol == protocol


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (b"protocol=256", "protocol"),
        (b"protocol=abc", "protocol"),
        (b"protocol=7.0", "protocol"),
        (b"protocol=-1", "protocol"),
        (b"protocol=", "protocol"),
        (b"protocol", "protocol"),
        (b"protocol=%00", "protocol"),
        (b"protocol=%ff", "protocol"),
        (b"protocol=" + "٢".encode(), "protocol"),
        (b"protocol=++2", "protocol"),
        (b"protocol=" + b"9" * 100_000, "protocol"),
        (b"protocol=7&protocol=2", "protocol"),
        (b"protocol=7&%70rotocol=7", "protocol"),
        (b"client=js&client=js", "client"),
        (b"version=1&version=1", "version"),
        (b"flash=false&flash=false", "flash"),
        (b"token=a&token=b", "token"),
        (b"protocol=7&echo_messages=1", "echo_messages"),
        (b"echo_messages=", "echo_messages"),
        (b"echo_messages=True", "echo_messages"),
        (b"echo_messages=true&echo_messages=true", "echo_messages"),
        (b"append_rollup_window=x", "append_rollup_window"),
        (b"protocol=2&format=xml", "format"),
        (b"protocol=2&append_mode=x", "append_mode"),
        (b"protocol=2&append_mode=Full", "append_mode"),
        (b"protocol=2&append_rollup_window=30", "append_rollup_window"),
    ],
)
def test_refused_queries_name_the_parameter(query: bytes, name: str) -> None:
    with pytest.raises(SockudoError) as refusal:
        parse_connect_query(query)
    assert refusal.value.spec is errors.UPGRADE_QUERY
    assert refusal.value.spec.status == 400
    assert f"'{name}'" in refusal.value.text
    assert len(refusal.value.text) < 100


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (b"json", "json"),
        (b"JSON", "json"),
        (b"", "json"),
        (b"%20json%20", "json"),
        (b"+json", "json"),
        (b"msgpack", "msgpack"),
        (b"MessagePack", "msgpack"),
        (b"protobuf", "protobuf"),
        (b"proto", "protobuf"),
    ],
)
def test_formats_of_v2(text: bytes, wire: str) -> None:
    assert parse_connect_query(b"protocol=2&format=" + text).format == wire


def test_what_only_v2_knows_is_ignored_on_v1() -> None:
    query = b"protocol=7&format=xml&append_mode=x&append_rollup_window=30&echo_messages=false"
    assert parse_connect_query(query) == ConnectQuery(echo_messages=False)


def test_all_parameters_of_v2() -> None:
    query = b"protocol=2&echo_messages=true&append_mode=full&append_rollup_window=40&token=a.b%2Dc"
    assert parse_connect_query(query) == ConnectQuery(2, "json", True, "full", 40, "a.b-c")


def test_a_token_is_kept_on_v1_and_never_shown() -> None:
    query = parse_connect_query(b"protocol=7&token=secret-word")
    assert query.token == "secret-word"
    assert "secret-word" not in repr(query)


def test_the_result_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        parse_connect_query(b"").protocol = 2  # type: ignore[misc]


NAMES = [b"protocol", b"format", b"echo_messages", b"append_mode", b"append_rollup_window", b"token", b"x"]


@given(
    st.binary(max_size=60)
    | st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=6) | st.sampled_from([b"2", b"true", b"20"]))).map(
        lambda pairs: b"&".join(name + b"=" + value for name, value in pairs)
    )
)
def test_any_query_is_read_or_refused_with_our_error(query: bytes) -> None:
    try:
        result = parse_connect_query(query)
    except SockudoError as refusal:
        result = None
        text = refusal.text
    if result is None:
        assert text.startswith("Query parameter '")
    else:
        assert result.protocol in (1, 2)
        assert result.protocol == 2 or result.format == "json"


def test_random_bytes_of_full_length_are_harmless() -> None:
    assert parse_connect_query(b"x=" + os.urandom(50).hex().encode() * 50).protocol == 1
