"""The client for browsers by itself: its decoders against the server's encoders, hostile servers, its size."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import nacl.secret
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.node import Node
from clients.web import BUILT, Site, in_node
from sockudo.client import binary
from sockudo.protocol import msgpack, protobuf
from sockudo.protocol.delta import fossil, vcdiff
from sockudo.protocol.frames import Frame
from support.server import STREAMS, ServerProcess, start_server
from unit.protocol.strategies import FRAMES

MOST = 12 * 1024
CODERS = {"msgpack": (msgpack.encode, binary.from_msgpack), "protobuf": (protobuf.encode, binary.from_protobuf)}

CLIENT = """
  const { default: Sockudo } = await import(built + "/sockudo.mjs")
  class Server {
    static all = []
    sent = []
    constructor() {
      Server.all.push(this)
      const data = JSON.stringify({ socket_id: "1.1", activity_timeout: 120 })
      queueMicrotask(() => this.say({ event: "sockudo:connection_established", data }))
    }
    say(frame) { this.raw(JSON.stringify(frame)) }
    raw(data) { this.onmessage?.({ data }) }
    send(text) { this.sent.push(JSON.parse(text)) }
    close() { this.closed = true }
  }
  const client = new Sockudo("key", { url: "http://server.test", WebSocket: Server, ...options })
  const problems = []
  client.connection.bind("error", (error) => problems.push(error.type))
  await client.connected()
  const server = Server.all[0]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(STREAMS) as running:
        yield running


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def alone(node: Node, code: str, arg: Any = None, **options: Any) -> Any:
    """What JavaScript makes of a ``client`` of a ``server`` that says whatever the test wants."""
    run = in_node(node)
    return run(f"async ([built, options, arg]) => {{ {CLIENT} {code} }}", [BUILT.as_uri(), options, arg])


def part(node: Node, name: str, code: str, arg: Any) -> Any:
    load = f"const part = await import(built + '/sockudo-{name}.mjs')"
    helper = "const bytes = (text) => Uint8Array.from(Buffer.from(text, 'base64'))"
    return in_node(node)(f"async ([built, arg]) => {{ {load}; {helper}; {code} }}", [BUILT.as_uri(), arg])


@pytest.mark.parametrize("name", ["sockudo.js", "sockudo.mjs"])
def test_size(name: str) -> None:
    assert len(gzip.compress((BUILT / name).read_bytes(), 9)) <= MOST


def test_classic_script_is_a_global_and_what_require_gives(web_node: Node) -> None:
    script = json.dumps(str(BUILT / "sockudo.js"))
    code = f"""() => {{
      const vm = require("node:vm")
      const page = vm.createContext({{}})
      vm.runInContext(require("node:fs").readFileSync({script}, "utf8"), page)
      return [typeof page.Sockudo, typeof require({script}), page.Sockudo.Pusher === page.Sockudo]
    }}"""
    assert in_node(web_node)(code, None) == ["function", "function", True]


# ---- decoders ----


@pytest.mark.parametrize("wire", CODERS)
@given(frames=st.lists(FRAMES, max_size=20))
def test_frames_in_binary_formats(web_node: Node, wire: str, frames: list[Frame]) -> None:
    encode, decode = CODERS[wire]
    payloads = [encode(_readable(frame)) for frame in frames]
    expected = [
        msgspec.json.encode({name: value for name, value in decode(payload).items() if value is not None})
        for payload in payloads
    ]
    code = f"return arg.map((each) => part.{wire}.decode(bytes(each)))"
    found = part(web_node, "binary", code, [text(payload) for payload in payloads])
    assert _numbers(json.dumps(found)) == [_numbers(each) for each in expected]


def _numbers(content: str | bytes) -> Any:
    """JSON with the numbers that JavaScript has."""
    return json.loads(content, parse_int=float)


def _readable(frame: Frame) -> Frame:
    """With a serial that JavaScript has a number for."""
    return frame if frame.serial is None else msgspec.structs.replace(frame, serial=frame.serial % 2**53)


@pytest.mark.parametrize("wire", CODERS)
@given(payloads=st.lists(st.binary(max_size=60), max_size=30), frame=FRAMES, cut=st.integers(0, 200))
def test_garbage_in_binary_formats_is_refused(
    web_node: Node, wire: str, payloads: list[bytes], frame: Frame, cut: int
) -> None:
    """Whatever comes, it is a frame or an exception, at once."""
    whole = CODERS[wire][0](frame)
    code = f"""return arg.map((each) => {{
      try {{ return typeof part.{wire}.decode(bytes(each)).event }} catch (error) {{ return error.name }}
    }})"""
    found = part(web_node, "binary", code, [text(payload) for payload in [*payloads, whole[: cut % len(whole)]]])
    assert set(found) <= {"string", "TypeError", "RangeError", "SyntaxError"}


@given(base=st.binary(min_size=2, max_size=300), edits=st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=20))))
def test_deltas(web_node: Node, base: bytes, edits: list[tuple[int, bytes]]) -> None:
    target = base * 2
    for at, piece in edits:
        target = target[: at % (len(target) + 1)] + piece + target[at % (len(target) + 1) :]
    cases = [[text(fossil.encode(base, target)), text(vcdiff.encode(base, target))], text(base)]
    code = """const [deltas, base] = arg
      const made = [part.fossil, part.vcdiff].map((decode, at) => decode(bytes(base), bytes(deltas[at])))
      return made.map((each) => Buffer.from(each).toString("base64"))"""
    assert part(web_node, "deltas", code, cases) == [text(target)] * 2


@given(deltas=st.lists(st.binary(max_size=60), max_size=30))
def test_garbage_for_deltas_is_refused(web_node: Node, deltas: list[bytes]) -> None:
    code = """return arg.flatMap((each) => [part.fossil, part.vcdiff].map((decode) => {
      try {
        return decode(new Uint8Array(50), bytes(each)).length <= 2 ** 24
      } catch (error) {
        return error.constructor === part.MalformedDelta
      }
    }))"""
    headed = [bytes.fromhex("d6c3c40000") + each for each in deltas]
    assert set(part(web_node, "deltas", code, [text(each) for each in [*deltas, *headed, b""]])) == {True}


@given(message=st.binary(max_size=300).map(lambda content: content.hex()), key=st.binary(min_size=32, max_size=32))
def test_encrypted_text(web_node: Node, message: str, key: bytes) -> None:
    sealed = nacl.secret.SecretBox(key).encrypt(message.encode(), bytes(range(24)))
    data = {"nonce": text(sealed.nonce), "ciphertext": text(sealed.ciphertext)}
    code = "return [part.open(arg[0], arg[1]), part.open(arg[0], arg[2])]"
    other = bytes([key[0] ^ 1, *key[1:]])
    assert part(web_node, "encryption", code, [data, text(key), text(other)]) == [message, None]


# ---- hostile servers ----

GARBAGE = [
    "",
    "{",
    "null",
    "[]",
    '"text"',
    '{"event":5}',
    '{"event":"said","channel":5}',
    '{"event":"said","channel":"news","serial":"7"}',
    '{"event":"sockudo:error","data":null}',
    '{"event":"sockudo:resume_success","data":{"recovered":5}}',
    '{"event":"sockudo_internal:member_added","channel":"presence-room","data":null}',
    '{"event":"sockudo_internal:watchlist_events","data":{"events":5}}',
    '{"event":"sockudo:delta","channel":"news","data":null}',
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_frame_costs_the_connection_alone(web_node: Node, garbage: str) -> None:
    code = """
      for (const name of ["news", "presence-room"]) client.subscribe(name)
      uncaught.length = 0
      server.raw(arg)
      const { state, last_error } = client.connection
      await new Promise((resolve) => setTimeout(resolve, 20))
      client.disconnect()
      return [state, problems[0], last_error?.message, server.closed ?? false, Server.all.length, uncaught]
    """
    state, problem, message, closed, connections, uncaught = alone(web_node, code, garbage, delta=True)
    assert uncaught == []
    if garbage == GARBAGE[9]:
        # Nothing was asked for.
        assert (state, problem) == ("connected", None)
        return
    assert (state, problem, closed, connections) == ("connecting", "MessageParseError", True, 1)
    assert message.startswith("The server sent something that is no frame: ")


def test_answers_that_nobody_asked_for(web_node: Node) -> None:
    code = """
      client.subscribe("news")
      uncaught.length = 0
      for (const event of arg) {
        for (const channel of [undefined, "news", "unknown"]) {
          for (const data of [undefined, {}, "{}", "text", []]) server.say({ event, channel, data })
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
      const { state } = client.connection
      client.disconnect()
      return [state, uncaught]
    """
    events = [
        "resume_success",
        "resume_failed",
        "channel_history",
        "signin_success",
        "auth_success",
        "rewind_complete",
        "pong",
    ]
    state, uncaught = alone(web_node, code, [f"sockudo:{event}" for event in events])
    assert (state, uncaught) == ("connected", [])


def test_serials_that_go_back_are_dropped(web_node: Node) -> None:
    code = """
      const heard = []
      client.subscribe("news").bind("said", (data) => heard.push(data))
      await Promise.resolve()
      const [event, channel, stream_id] = ["sockudo_internal:subscription_succeeded", "news", "s"]
      server.say({ event, channel, data: "{}", stream_id, serial: 3 })
      for (const serial of [4, 4, 2, 5, 3, 6]) {
        server.say({ event: "said", channel, data: String(serial), stream_id, serial })
      }
      client.disconnect()
      return heard
    """
    assert alone(web_node, code) == [4, 5, 6]


def test_silent_server_is_left(web_node: Node) -> None:
    code = """
      await new Promise((resolve) => client.connection.bind("connecting", resolve))
      client.disconnect()
      return [server.sent.filter(({ event }) => event === "sockudo:ping").length, client.connection.last_error.message]
    """
    pings, message = alone(web_node, code, activityTimeout=40, pongTimeout=40)
    assert pings == 1
    assert message == "The server did not answer a ping in time"


@pytest.mark.parametrize(
    ("code", "state", "waits"),
    [(4000, "disconnected", None), (4099, "disconnected", None), (4100, "connecting", 1000), (4200, "connecting", 0),
     (4300, "disconnected", None), (4399, "disconnected", None), (1006, "connecting", 250)],
)  # fmt: skip
def test_close_codes_are_obeyed(web_node: Node, code: int, state: str, waits: int | None) -> None:
    script = """
      server.onclose({ code: arg, reason: "because" })
      const { state, last_error } = client.connection
      const began = performance.now()
      const again = await Promise.race([
        new Promise((resolve) => client.connection.bind("connected", () => resolve(performance.now() - began))),
        new Promise((resolve) => setTimeout(resolve, state === "connecting" ? 5000 : 100, null)),
      ])
      client.disconnect()
      return [state, again, last_error.message, last_error.code]
    """
    found, again, message, told = alone(web_node, script, code)
    assert (found, message, told) == (state, "because", code)
    assert (again is None) == (waits is None)
    if waits is not None:
        assert waits - 5 <= again <= 3 * waits + 400


def test_what_throws_in_a_callback_costs_nothing_else(web_node: Node) -> None:
    code = """
      const heard = []
      uncaught.length = 0
      const throws = () => { throw new Error("a mistake") }
      client.subscribe("news").bind("said", throws).bind("said", (data) => heard.push(data))
      for (const data of ["1", "2"]) server.say({ event: "said", channel: "news", data })
      await new Promise((resolve) => setTimeout(resolve, 20))
      client.disconnect()
      return [heard, uncaught]
    """
    assert alone(web_node, code) == [[1, 2], ["a mistake", "a mistake"]]


def test_place_without_a_page(web_node: Node, site: Site, server: ServerProcess, unique: str) -> None:
    """As in React Native: no document, window, navigator or location, no URL, no crypto, no events of a page."""
    code = """async ([script, node, url, auth, name]) => {
      const vm = require("node:vm")
      const { NodeSocket: WebSocket } = await import(node)
      const timers = { setTimeout, clearTimeout, setInterval, clearInterval, queueMicrotask }
      const place = vm.createContext({ ...timers, performance: { now: () => performance.now() }, WebSocket, fetch })
      vm.runInContext(require("node:fs").readFileSync(script, "utf8"), place)
      const has = ["window", "document", "navigator", "location", "crypto", "URL", "URLSearchParams"]
      const client = new place.Sockudo("app-key", { url, authEndpoint: auth })
      const channel = client.subscribe(name)
      const heard = new Promise((resolve) => channel.bind("client-said", resolve))
      await channel.subscribed()
      await channel.publish("client-said", { text: "ä" })
      const { text } = await heard
      client.disconnect()
      return [vm.runInContext(`${JSON.stringify(has)}.filter((each) => each in globalThis)`, place).length, text]
    }"""
    places = [str(BUILT / "sockudo.js"), (BUILT / "sockudo-node.mjs").as_uri()]
    auth = f"{site.origin}/auth"
    assert in_node(web_node)(code, [*places, server.url, auth, f"private-{unique}"]) == [0, "ä"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.test", "wss://a.test/app/key"),
        ("http://a.test:6001/", "ws://a.test:6001/app/key"),
        ("wss://[::1]:6001/base/?x=1#y", "wss://[::1]:6001/base/app/key"),
        ("a.test", None),
        ("ftp://a.test", None),
    ],
)
def test_address(web_node: Node, url: str, address: str | None) -> None:
    code = """async ([built, url]) => {
      const { default: Sockudo } = await import(built + "/sockudo.mjs")
      return await new Promise((resolve) => {
        class Nothing { constructor(url) { resolve(url.split("?")[0]) } close() {} }
        try { new Sockudo("key", { url, WebSocket: Nothing }) } catch { resolve(null) }
      })
    }"""
    assert in_node(web_node)(code, [BUILT.as_uri(), url]) == address
