"""Where our HTTP connection leans on uvicorn's internals. A new version that moves them fails here, by name.

After a change of uvicorn: read the differences of ``protocols/http/httptools_impl.py`` against what is listed here,
then move the range in pyproject.toml.
"""

from __future__ import annotations

import ast
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sockudo.edge import http_connection, http_protocol
from sockudo.edge.http_protocol import HttpProtocol
from support.edge import EdgeNode, RecordingTransport, request

METHODS = {
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "eof_received": [],
    "data_received": ["data"],
    "on_message_begin": [],
    "on_url": ["url"],
    "on_header": ["name", "value"],
    "on_headers_complete": [],
    "on_body": ["body"],
    "on_message_complete": [],
    "on_response_complete": [],
    "pause_writing": [],
    "resume_writing": [],
    "shutdown": [],
    "send_400_response": ["msg"],
    "handle_websocket_upgrade": [],
    "timeout_keep_alive_handler": [],
    "_get_upgrade": [],
    "_should_upgrade": [],
    "_should_upgrade_to_ws": [],
    "_unsupported_upgrade_warning": [],
    "_unset_keepalive_if_required": [],
    "_start_asgi_task": ["cycle", "app"],
}
"""Every method of uvicorn's class with its parameters: a new one may be a callback that we have to know."""


def classes() -> list[ast.ClassDef]:
    """Ours, from uvicorn's down."""
    sought = ((http_connection, "HttpConnection"), (http_protocol, "HttpProtocol"))
    return [
        node
        for module, name in sought
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]


def attributes(owner: str) -> set[str]:
    """Names that our classes read or set as ``owner.name``."""
    return {
        part.attr
        for node in classes()
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == owner
    }


def ours() -> set[str]:
    """What our classes define themselves: functions, class attributes, and what the constructor sets."""
    found: set[str] = set()
    for node in classes():
        for part in node.body:
            if isinstance(part, ast.FunctionDef):
                found.add(part.name)
            targets = [part.target] if isinstance(part, ast.AnnAssign) else getattr(part, "targets", [])
            found.update(target.id for target in targets if isinstance(target, ast.Name))
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                assigned = [each for each in ast.walk(part) if isinstance(each, ast.Assign | ast.AnnAssign)]
                for each in assigned:
                    target = each.target if isinstance(each, ast.AnnAssign) else each.targets[0]
                    if isinstance(target, ast.Attribute):
                        found.add(target.attr)
    return found


def test_the_installed_version_is_in_the_range_we_ask_for() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    [wanted] = [text for text in project["dependencies"] if text.startswith("uvicorn")]
    assert wanted == "uvicorn>=0.54,<0.55", "the range changed: look at this file's lists again"
    assert version("uvicorn").split(".")[:2] == ["0", "54"]


def test_its_constructor() -> None:
    parameters = list(inspect.signature(HttpToolsProtocol.__init__).parameters)
    assert parameters == ["self", "config", "server_state", "app_state", "_loop"]


def test_its_methods() -> None:
    found = {
        name: list(inspect.signature(member).parameters)[1:]
        for name, member in vars(HttpToolsProtocol).items()
        if inspect.isfunction(member) and name != "__init__"
    }
    assert found == METHODS


def test_what_we_override_is_there() -> None:
    overridden = {name for name in ours() if name.startswith(("on_", "data_", "send_", "_should_", "_get_"))}
    assert overridden <= METHODS.keys()
    assert overridden == {
        "data_received",
        "on_message_begin",
        "on_url",
        "on_header",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
        "send_400_response",
        "_should_upgrade",
    }


async def test_every_attribute_that_we_use_and_do_not_make_is_uvicorns(node: EdgeNode) -> None:
    base = HttpToolsProtocol(node.edge.uvicorn, node.edge.state, {})
    base.connection_made(RecordingTransport())
    base.on_message_begin()
    borrowed = attributes("self") - ours()
    assert borrowed
    assert {name for name in borrowed if not hasattr(base, name)} == set()


async def test_nothing_of_ours_hides_something_of_uvicorns(node: EdgeNode) -> None:
    base = HttpToolsProtocol(node.edge.uvicorn, node.edge.state, {})
    theirs = set(vars(base)) | METHODS.keys()
    # The flow control is uvicorn's, with a further reason to stop.
    assert {name for name in ours() & theirs if name not in {"__init__", "flow"}} <= METHODS.keys()


async def test_what_we_use_of_a_request_under_way(node: EdgeNode) -> None:
    wire = node.wire()
    wire.feed(request("POST", "/apps/app/events?a=%20b", {"Transfer-Encoding": "chunked"}))
    cycle = wire.http.cycle
    assert type(cycle) is RequestResponseCycle
    used = attributes("cycle")
    assert used >= {"more_body", "response_started", "disconnected", "message_event"}
    assert {name for name in used | {"response_complete"} if not hasattr(cycle, name)} == set()
    assert (cycle.more_body, cycle.response_started, cycle.response_complete, cycle.disconnected) == (True,) + (
        False,
    ) * 3
    assert cycle.keep_alive
    assert cycle.scope["raw_path"] == b"/apps/app/events"
    assert cycle.scope["query_string"] == b"a=%20b"
    wire.feed(b"0\r\n\r\n")
    assert not cycle.more_body
    await wire.settle()
    assert (cycle.response_started, cycle.response_complete) == (True, True)


async def test_a_request_that_waits_its_turn_is_in_the_pipeline(node: EdgeNode) -> None:
    wire = node.wire()
    wire.feed(request("GET", "/live") * 3)
    assert len(wire.http.pipeline) == 2
    await wire.settle()
    assert len(wire.http.pipeline) == 0
    assert len(wire.replies()) == 3


async def test_what_is_shared_between_connections(node: EdgeNode) -> None:
    state = ServerState()
    assert (state.connections, state.tasks, state.default_headers) == (set(), set(), [])
    wire = node.wire()
    assert node.edge.state.connections == {wire.http}
    wire.feed(request("GET", "/live"))
    assert len(node.edge.state.tasks) == 1
    await wire.settle()
    assert dict(wire.reply().headers)["date"] == "Thu, 01 Jan 2026 00:16:40 GMT"
    wire.lose()
    assert node.edge.state.connections == set()


async def test_its_own_timer_between_requests_is_called_off(node: EdgeNode) -> None:
    wire = node.wire()
    await wire.ask(request("GET", "/live"))
    timer = wire.http.timeout_keep_alive_task
    assert timer is not None
    wire.feed(b"GET")
    assert timer.cancelled()
    assert wire.http.timeout_keep_alive_task is None


def test_no_other_module_leans_on_it() -> None:
    source = Path(inspect.getsourcefile(http_protocol) or "").parents[1]
    leaning = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if "httptools_impl" in path.read_text(encoding="utf-8")
    }
    assert leaning == {"edge/http_connection.py"}


@pytest.mark.parametrize("name", ["parser", "cycle", "scope", "flow"])
async def test_a_connection_that_became_a_websocket_holds_nothing(node: EdgeNode, name: str) -> None:
    wire = node.wire()
    wire.http.release()
    assert getattr(wire.http, name) is None
    assert wire.http not in node.edge.state.connections
    assert isinstance(wire.http, HttpProtocol)
