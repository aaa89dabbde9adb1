"""Offers are answered as RFC 7692 wants it, compressed messages survive the round trip, and bombs do not go off."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from sockudo.errors import SockudoError
from sockudo.protocol.deflate import DEFLATED_WEBSOCKET, DeflateParams, Inflater, compress, negotiate
from sockudo.protocol.framing import WEBSOCKET

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", ANSWER),
        ("Permessage-Deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate;client_max_window_bits=10", ANSWER),
        ('permessage-deflate; client_max_window_bits="10"', ANSWER),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", ANSWER),
        ("permessage-deflate; server_max_window_bits=12", f"{ANSWER}; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=15", f"{ANSWER}; server_max_window_bits=15"),
        ('permessage-deflate; server_max_window_bits="13"', f"{ANSWER}; server_max_window_bits=13"),
        ("x-webkit-deflate-frame, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", ANSWER),
        ("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=14, permessage-deflate",
         f"{ANSWER}; server_max_window_bits=14"),
    ],
)  # fmt: skip
def test_accepted_offers(offers: str, answer: str) -> None:
    params = negotiate(offers)
    assert params is not None
    assert params.header() == answer


@pytest.mark.parametrize(
    "offers",
    [
        "",
        ",",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits=11",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=012",
        "permessage-deflate; server_max_window_bits=x",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; mystery",
        "permessage-deflate;",
    ],
)
def test_declined_offers(offers: str) -> None:
    assert negotiate(offers) is None


@given(st.text(alphabet='permsg-dflat; ,="_018windowbtcx', max_size=80))
def test_any_offer_is_answered_or_declined(offers: str) -> None:
    assert negotiate(offers) is None or isinstance(negotiate("permessage-deflate," + offers), DeflateParams)


def test_a_stock_client_understands_the_answer() -> None:
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12)
    asked = [name if value is None else f"{name}={value}" for name, value in factory.get_request_params()]
    params = negotiate("; ".join(["permessage-deflate", *asked]))
    assert params is not None
    parts = [part.strip().partition("=") for part in params.header().split(";")[1:]]
    answered = [(name, value or None) for name, _, value in parts]
    extension = factory.process_response_params(answered, [])
    assert extension.remote_no_context_takeover
    assert extension.local_no_context_takeover


@given(st.binary(max_size=5000), st.integers(1, 5))
def test_round_trip(piece: bytes, times: int) -> None:
    payload = piece * times
    assert Inflater().inflate(compress(payload), len(payload)) == payload


@given(st.binary(max_size=300), st.sampled_from([0, 1, 6, 9]), st.integers(9, 15))
def test_what_other_compressors_send_is_read(payload: bytes, level: int, window: int) -> None:
    stream = zlib.compressobj(level, wbits=-window)
    data = stream.compress(payload) + stream.flush(zlib.Z_FULL_FLUSH)
    assert Inflater().inflate(data.removesuffix(b"\x00\x00\xff\xff"), 300) == payload


def test_a_sender_may_end_with_a_final_block() -> None:
    """RFC 7692 § 7.2.3.4: the final block is followed by one zero byte."""
    stream = zlib.compressobj(wbits=-15)
    data = stream.compress(b"hello") + stream.flush(zlib.Z_FINISH) + b"\x00"
    assert Inflater().inflate(data, 100) == b"hello"


def test_rfc_examples() -> None:
    hello = bytes.fromhex("f248cdc9c90700")
    assert Inflater().inflate(hello, 100) == b"Hello"
    assert Inflater().inflate(bytes.fromhex("000500faff48656c6c6f00"), 100) == b"Hello"
    assert Inflater().inflate(bytes.fromhex("f348cdc9c9070000"), 100) == b"Hello"
    assert Inflater().inflate(bytes.fromhex("f24805000000ffffcac9c90700"), 100) == b"Hello"
    assert Inflater().inflate(b"\x00", 100) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff",
        b"\x07",
        compress(b"hello world")[:-3],
        b"\x03\x00trailing",
        compress(b"x") + b"\x03\x00\x03",
    ],
)
def test_damaged_data_is_a_protocol_violation(data: bytes) -> None:
    with pytest.raises(SockudoError) as refusal:
        Inflater().inflate(data, 1000)
    assert refusal.value.spec.ws == 1002


@pytest.mark.parametrize("size", [101, 1000, 10_000_000])
def test_a_message_over_the_limit_is_refused(size: int) -> None:
    bomb = compress(b"\0" * size)
    with pytest.raises(SockudoError) as refusal:
        Inflater().inflate(bomb, 100)
    assert refusal.value.spec.ws == 1009


@given(st.binary(max_size=200), st.integers(0, 500))
def test_random_data_gives_a_bounded_message_or_a_refusal(data: bytes, limit: int) -> None:
    code = None
    message = b""
    try:
        message = Inflater().inflate(data, limit)
    except SockudoError as refusal:
        code = refusal.spec.ws
    assert code in (None, 1002, 1009)
    assert len(message) <= limit


def test_a_frame_is_compressed_and_short() -> None:
    frame = DEFLATED_WEBSOCKET.text(b"hello " * 100)
    assert frame[0] == 0xC1
    assert len(frame) < 40


def test_only_texts_that_get_smaller_are_compressed() -> None:
    short, long = b"x" * 63, b"hello " * 100
    assert DEFLATED_WEBSOCKET.text(short) == WEBSOCKET.text(short)
    assert DEFLATED_WEBSOCKET.text(long)[0] & 0x40
    assert len(DEFLATED_WEBSOCKET.text(long)) < len(long)
    assert DEFLATED_WEBSOCKET.binary(long) == WEBSOCKET.binary(long)
    assert DEFLATED_WEBSOCKET.ping is not None
    assert DEFLATED_WEBSOCKET.ping(b"12345678")[0] == 0x89
