"""A byte stream of a client becomes messages or one failure, however it was cut; built frames are read by clients."""

from __future__ import annotations

import sys
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets import frames as peer
from websockets.extensions.permessage_deflate import PerMessageDeflate

from sockudo.errors import SockudoError
from sockudo.protocol import framing
from sockudo.protocol.deflate import DEFLATED_WEBSOCKET, Inflater, compress
from sockudo.protocol.framing import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameReader

LIMIT = 1000
FIN, RSV1 = 0x80, 0x40
MASK = b"\x37\xfa\x21\x3d"


def masked(first: int, payload: bytes = b"", mask: bytes = MASK) -> bytes:
    """A client's frame with this first byte and the shortest length."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def read(stream: bytes, *, limit: int = LIMIT, deflate: Inflater | None = None, step: int = 0):
    reader = FrameReader(limit, deflate)
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)] if step else [stream]
    return [message for piece in pieces for message in reader.feed(piece)], reader.failure


# ---- what is accepted ----

ACCEPTED = {
    "text": (masked(FIN | TEXT, b"hello"), [(TEXT, b"hello")]),
    "empty text": (masked(FIN | TEXT), [(TEXT, b"")]),
    "text of several bytes a character": (masked(FIN | TEXT, "né 😀".encode()), [(TEXT, "né 😀".encode())]),
    "binary that is not UTF-8": (masked(FIN | BINARY, b"\xff\x00"), [(BINARY, b"\xff\x00")]),
    "125 bytes": (masked(FIN | TEXT, b"x" * 125), [(TEXT, b"x" * 125)]),
    "126 bytes": (masked(FIN | TEXT, b"x" * 126), [(TEXT, b"x" * 126)]),
    "exactly the limit": (masked(FIN | TEXT, b"x" * LIMIT), [(TEXT, b"x" * LIMIT)]),
    "mask of zeros": (masked(FIN | TEXT, b"hello", b"\0\0\0\0"), [(TEXT, b"hello")]),
    "two in one read": (masked(FIN | TEXT, b"a") + masked(FIN | BINARY, b"b"), [(TEXT, b"a"), (BINARY, b"b")]),
    "fragments": (
        masked(TEXT, b"he") + masked(CONTINUATION, b"") + masked(CONTINUATION, b"l") + masked(FIN, b"lo"),
        [(TEXT, b"hello")],
    ),
    "fragments that cut a character": (
        masked(TEXT, "é".encode()[:1]) + masked(FIN, "é".encode()[1:]),
        [(TEXT, "é".encode())],
    ),
    "fragments of exactly the limit": (
        masked(BINARY, b"x" * 400) + masked(FIN, b"x" * 600),
        [(BINARY, b"x" * LIMIT)],
    ),
    "control frames between fragments": (
        masked(TEXT, b"a") + masked(FIN | PING, b"p") + masked(FIN | PONG, b"q") + masked(FIN, b"b"),
        [(PING, b"p"), (PONG, b"q"), (TEXT, b"ab")],
    ),
    "ping of 125 bytes": (masked(FIN | PING, b"p" * 125), [(PING, b"p" * 125)]),
    "close without a body": (masked(FIN | CLOSE), [(CLOSE, b"")]),
    "close with code and reason": (masked(FIN | CLOSE, b"\x03\xe8bye"), [(CLOSE, b"\x03\xe8bye")]),
    "nothing after a close": (masked(FIN | CLOSE, b"\x03\xe8") + masked(FIN | TEXT, b"late"), [(CLOSE, b"\x03\xe8")]),
    "garbage after a close": (masked(FIN | CLOSE) + b"\xff\xff\xff", [(CLOSE, b"")]),
    "close inside a fragmented message": (masked(TEXT, b"a") + masked(FIN | CLOSE), [(CLOSE, b"")]),
    "an incomplete frame": (masked(FIN | TEXT, b"a") + masked(FIN | TEXT, b"hello")[:-1], [(TEXT, b"a")]),
}


@pytest.mark.parametrize("step", [0, 1, 2, 7])
@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str, step: int) -> None:
    stream, messages = ACCEPTED[case]
    assert read(stream, step=step) == (messages, None)


# ---- what is refused ----

CLOSE_CODES_THAT_MAY_BE_SENT = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
CLOSE_CODES_THAT_MAY_NOT = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]

REFUSED = {
    "not masked": (1002, b"\x81\x05hello"),
    "not masked, empty": (1002, b"\x81\x00"),
    **{f"opcode {code}": (1002, masked(FIN | code)) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"reserved bit {bit:#x}": (1002, masked(FIN | bit | TEXT, b"x")) for bit in (0x40, 0x20, 0x10, 0x70)},
    "reserved bit on a control frame": (1002, masked(FIN | RSV1 | PING)),
    **{f"fragmented control frame {code}": (1002, masked(code, b"")) for code in (CLOSE, PING, PONG)},
    **{f"control frame {code} of 126 bytes": (1002, masked(FIN | code, b"x" * 126)) for code in (CLOSE, PING, PONG)},
    "close body of one byte": (1002, masked(FIN | CLOSE, b"\x03")),
    **{f"close code {code}": (1002, masked(FIN | CLOSE, code.to_bytes(2, "big"))) for code in CLOSE_CODES_THAT_MAY_NOT},
    "close reason that is not UTF-8": (1007, masked(FIN | CLOSE, b"\x03\xe8\xff")),
    "stray continuation": (1002, masked(FIN | CONTINUATION, b"x")),
    "stray first continuation": (1002, masked(CONTINUATION, b"x")),
    "new text inside a fragmented message": (1002, masked(TEXT, b"a") + masked(FIN | TEXT, b"b")),
    "new binary inside a fragmented message": (1002, masked(TEXT, b"a") + masked(BINARY, b"b")),
    "two-byte length under 126": (1002, b"\x81\xfe\x00\x7d" + MASK),
    "eight-byte length under 65536": (1002, b"\x81\xff" + (65535).to_bytes(8, "big") + MASK),
    "length with its highest bit set": (1002, b"\x81\xff" + (1 << 63).to_bytes(8, "big") + MASK),
    "text that is not UTF-8": (1007, masked(FIN | TEXT, b"\xff")),
    "text with a surrogate": (1007, masked(FIN | TEXT, b"\xed\xa0\x80")),
    "text with a cut character": (1007, masked(FIN | TEXT, "é".encode()[:1])),
    "fragments that are not UTF-8": (1007, masked(TEXT, b"a") + masked(FIN, b"\xff")),
    "one over the limit": (1009, masked(FIN | TEXT, b"x" * (LIMIT + 1))),
    "declared length alone over the limit": (1009, b"\x81\xff" + (1 << 40).to_bytes(8, "big") + MASK),
    "binary over the limit": (1009, masked(FIN | BINARY, b"x" * (LIMIT + 1))),
    "fragments over the limit": (1009, masked(TEXT, b"x" * LIMIT) + masked(FIN, b"x")),
    "fragments over the limit, unfinished": (1009, masked(TEXT, b"x" * LIMIT) + masked(CONTINUATION, b"x")),
}


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, step: int) -> None:
    code, stream = REFUSED[case]
    before, after = masked(FIN | BINARY, b"before"), masked(FIN | BINARY, b"after")
    messages, failure = read(before + stream + after, step=step)
    assert messages == [(BINARY, b"before")]
    assert failure is not None
    assert failure[0] == code
    assert 0 < len(failure[1].encode()) <= 123


@pytest.mark.parametrize("code", CLOSE_CODES_THAT_MAY_BE_SENT)
def test_close_codes_that_may_be_sent(code: int) -> None:
    body = code.to_bytes(2, "big")
    assert read(masked(FIN | CLOSE, body)) == ([(CLOSE, body)], None)
    assert framing.parse_close(body) == (code, "")


def test_short_frame_over_a_tiny_limit_is_refused() -> None:
    messages, failure = read(masked(FIN | TEXT, b"hello"), limit=4)
    assert messages == []
    assert failure == (1009, "message is larger than 4 bytes")


def test_input_after_a_failure_is_ignored() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(b"\x81\x05hello")
    failure = reader.failure
    assert reader.feed(masked(FIN | TEXT, b"x")) == []
    assert reader.failure == failure


def test_continuation_after_a_finished_message_is_stray() -> None:
    messages, failure = read(masked(TEXT, b"a") + masked(FIN, b"b") + masked(FIN, b"c"))
    assert messages == [(TEXT, b"ab")]
    assert failure == (1002, "continuation without a message to continue")


# ---- properties ----

DATA = st.tuples(st.sampled_from([BINARY]), st.binary(max_size=300)) | st.tuples(
    st.sampled_from([TEXT]), st.text(max_size=200).map(str.encode)
)
CONTROL = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
MASKS = st.binary(min_size=4, max_size=4)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Messages, fragmented at random with control frames between, and the order in which they must come out."""
    stream, expected = b"", []
    for opcode, payload in draw(st.lists(DATA | CONTROL, max_size=6)):
        cuts = [] if opcode in (PING, PONG) else sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        edges = [0, *cuts, len(payload)]
        for number in range(len(edges) - 1):
            first = (opcode if number == 0 else CONTINUATION) | (FIN if number == len(edges) - 2 else 0)
            stream += masked(first, payload[edges[number] : edges[number + 1]], draw(MASKS))
            if number < len(edges) - 2 and draw(st.booleans()):
                control = draw(CONTROL)
                stream += masked(FIN | control[0], control[1])
                expected.append(control)
        expected.append((opcode, payload))
    return stream, expected


def feed_in_pieces(stream: bytes, cuts: list[int], deflate: Inflater | None = None):
    reader = FrameReader(LIMIT, deflate)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    messages = [message for start, end in pairwise(edges) for message in reader.feed(stream[start:end])]
    return messages, reader.failure


@given(streams(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cut_of_a_stream_gives_the_same_messages(case: tuple[bytes, list], cuts: list[int]) -> None:
    stream, expected = case
    assert read(stream) == (expected, None)
    assert feed_in_pieces(stream, cuts) == (expected, None)


HOSTILE = st.lists(
    st.binary(max_size=40)
    | st.builds(masked, st.integers(0, 255), st.binary(max_size=140))
    | st.builds(masked, st.sampled_from([0x01, 0x81, 0x02, 0x82, 0x00, 0x80, 0x89, 0xC1]), st.binary(max_size=20)),
    max_size=8,
).map(b"".join)


@given(HOSTILE, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_random_bytes_never_raise_and_fail_the_same_however_cut(data: bytes, cuts: list[int], deflate: bool) -> None:
    inflater = Inflater() if deflate else None
    whole = read(data, deflate=inflater)
    assert feed_in_pieces(data, cuts, inflater) == whole
    assert whole[1] is None or whole[1][0] in (1002, 1007, 1009)


@given(st.sampled_from([TEXT, BINARY, PING, PONG]), st.binary(max_size=125), st.binary(max_size=70_000))
def test_frames_of_a_stock_client_are_read(opcode: int, short: bytes, long: bytes) -> None:
    payload = short if opcode in (PING, PONG) else long
    if opcode == TEXT:
        payload = payload.decode("latin-1").encode()
    stream = peer.Frame(peer.Opcode(opcode), payload).serialize(mask=True)
    assert read(stream, limit=200_000) == ([(opcode, payload)], None)


@given(st.binary(max_size=300), MASKS)
def test_both_ways_of_unmasking_agree(payload: bytes, mask: bytes) -> None:
    expected = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    assert framing._unmask(payload, mask) == framing._unmask_in_python(payload, mask) == expected


# ---- frames we build ----


def parsed_by_client(stream: bytes, extensions: list | None = None) -> peer.Frame:
    at = 0

    def read_exact(size: int):
        nonlocal at
        at += size
        piece = stream[at - size : at]
        assert len(piece) == size
        return piece
        yield

    parser = peer.Frame.parse(read_exact, mask=False, extensions=extensions)
    try:
        next(parser)
    except StopIteration as done:
        assert at == len(stream)
        frame: peer.Frame = done.value
        frame.check()
        return frame
    raise AssertionError("the frame is incomplete")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
def test_built_data_frames_are_read_by_a_stock_client(size: int) -> None:
    text = parsed_by_client(framing.text_frame(b"x" * size))
    assert (text.opcode, bytes(text.data), text.fin, text.rsv1) == (peer.Opcode.TEXT, b"x" * size, True, False)
    binary = parsed_by_client(framing.binary_frame(b"\xff" * size))
    assert (binary.opcode, bytes(binary.data), binary.fin) == (peer.Opcode.BINARY, b"\xff" * size, True)


@pytest.mark.parametrize(("build", "opcode"), [(framing.ping_frame, PING), (framing.pong_frame, PONG)])
def test_built_control_frames_are_read_by_a_stock_client(build, opcode: int) -> None:
    frame = parsed_by_client(build(b"p" * 125))
    assert (frame.opcode, bytes(frame.data)) == (opcode, b"p" * 125)
    assert parsed_by_client(build()).data == b""
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        build(b"p" * 126)


@given(st.sampled_from(CLOSE_CODES_THAT_MAY_BE_SENT), st.text(max_size=200))
def test_a_close_reason_is_cut_between_characters(code: int, reason: str) -> None:
    frame = parsed_by_client(framing.close_frame(code, reason))
    got_code, got_reason = framing.parse_close(bytes(frame.data))
    assert got_code == code == peer.Close.parse(bytes(frame.data)).code
    assert reason.startswith(got_reason)
    assert len(got_reason.encode()) <= 123
    assert got_reason == reason or len(got_reason.encode()) >= 120


def test_close_without_a_code_is_empty() -> None:
    assert framing.close_frame(None) == framing.close_frame(None, "ignored") == b"\x88\x00"
    assert framing.parse_close(b"") == (None, "")


def test_parse_close_refuses_what_a_reader_refuses() -> None:
    for body, code in ((b"\x03", 1002), (b"\x03\xed", 1002), (b"\x03\xe8\xff", 1007)):
        with pytest.raises(SockudoError) as refusal:
            framing.parse_close(body)
        assert refusal.value.spec.ws == code


# ---- compression ----


@pytest.mark.parametrize("step", [0, 1, 3])
def test_compressed_messages_whole_and_in_fragments(step: int) -> None:
    body = compress(b"hello " * 50)
    stream = (
        masked(FIN | RSV1 | TEXT, body)
        + masked(RSV1 | BINARY, body[:5])
        + masked(FIN | PING, b"p")
        + masked(FIN, body[5:])
        + masked(FIN | TEXT, b"plain")
    )
    expected = [(TEXT, b"hello " * 50), (PING, b"p"), (BINARY, b"hello " * 50), (TEXT, b"plain")]
    assert read(stream, deflate=Inflater(), step=step) == (expected, None)


REFUSED_COMPRESSED = {
    "bit on a continuation": (1002, masked(RSV1 | TEXT, b"x") + masked(FIN | RSV1, b"x")),
    "bit on a control frame": (1002, masked(FIN | RSV1 | PING, b"x")),
    "another reserved bit": (1002, masked(FIN | RSV1 | 0x20 | TEXT, compress(b"x"))),
    "garbage": (1002, masked(FIN | RSV1 | TEXT, b"\xff\xff\xff")),
    "not UTF-8": (1007, masked(FIN | RSV1 | TEXT, compress(b"\xff"))),
    "bomb": (1009, masked(FIN | RSV1 | BINARY, compress(b"\0" * 100_000))),
    "one over the limit": (1009, masked(FIN | RSV1 | BINARY, compress(b"x" * (LIMIT + 1)))),
}


@pytest.mark.parametrize("case", REFUSED_COMPRESSED)
def test_refused_compressed(case: str) -> None:
    code, stream = REFUSED_COMPRESSED[case]
    messages, failure = read(stream, deflate=Inflater())
    assert messages == []
    assert failure is not None
    assert failure[0] == code


def test_a_stock_client_reads_compressed_frames_and_is_read() -> None:
    extension = PerMessageDeflate(True, True, 12, 15)
    frame = parsed_by_client(DEFLATED_WEBSOCKET.text(b"hello " * 50), [extension])
    assert bytes(frame.data) == b"hello " * 50
    stream = peer.Frame(peer.Opcode.TEXT, b"news " * 50).serialize(mask=True, extensions=[extension])
    assert read(stream, deflate=Inflater()) == ([(TEXT, b"news " * 50)], None)


# ---- memory and work ----


def test_an_idle_reader_holds_nothing_but_itself() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(masked(FIN | TEXT, b"hello"))
    reader.feed(masked(TEXT, b"x" * 500)[:200])
    assert reader._buffer is not None
    reader.feed(masked(TEXT, b"x" * 500)[200:])
    reader.feed(masked(FIN, b"y"))
    assert reader._buffer is None
    assert reader._message is None
    assert not hasattr(reader, "__dict__")
    assert sys.getsizeof(reader) < 150


def test_what_a_peer_can_make_the_reader_hold_is_bounded_by_the_limit() -> None:
    """A declared length reserves nothing, and thousands of empty or tiny fragments do not pile up objects."""
    limit = 64 * 1024
    reader = FrameReader(limit)
    fragments = masked(CONTINUATION) * 2000 + masked(CONTINUATION, b"x") * 2000
    tracemalloc.start()
    try:
        reader.feed(masked(TEXT))
        for _ in range(4):
            reader.feed(fragments)
        reader.feed(b"\x00\xfe\x40\x00" + MASK)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.failure is None
    assert held < 2 * limit


def test_a_trickle_copies_each_byte_a_bounded_number_of_times() -> None:
    """Bytes of one large frame are appended, never copied again as a whole until the frame is complete."""
    reader = FrameReader(64 * 1024)
    stream = masked(FIN | BINARY, b"x" * 60_000)
    reader.feed(stream[:20])
    buffer = reader._buffer
    for at in range(20, len(stream) - 1):
        reader.feed(stream[at : at + 1])
        assert reader._buffer is buffer
    assert reader.feed(stream[-1:]) == [(BINARY, b"x" * 60_000)]
