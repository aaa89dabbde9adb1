"""The rules of the house that can be read off the source: who may import whom, who may touch a driver, what is long.

Which room imports which is the table of docs/design.md; a room that has no row there fails, so a new one gets its place
on purpose.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"

HOUSE = Path(__file__).parent.parent / "docs" / "design.md"
ROW = re.compile(r"^\| `(\w+)/` \| [^|]+ \| ([\w ]*) \|$", re.MULTILINE)
IMPORTS = {room: frozenset(names.split()) for room, names in ROW.findall(HOUSE.read_text(encoding="utf-8"))}
"""Room → the rooms that it may import."""

OUTSIDE = frozenset({"__init__", "__main__"})
"""The two files at the top of the package, which stand in no room."""

OWNERS = {
    "sqlite3": {"jobs", "storage", "drivers", "push", "webhooks"},
    "sqlalchemy": {"jobs", "storage", "drivers", "push", "webhooks"},
    "psycopg": {"storage"},
    "pymysql": {"storage"},
    "redis": {"storage"},
    "hiredis": {"storage"},
    "google.protobuf": {"protocol"},
    "jmespath": {"protocol"},
    "jwt": {"auth", "push"},
    "opentelemetry": {"tracing"},
    "prometheus_client": {"monitoring"},
    "uvicorn": {"edge", "server"},
    "starlette": {"dashboard", "edge", "monitoring", "push", "server", "webhooks"},
    "jinja2": {"dashboard"},
    "httptools": {"edge", "outbound", "server", "testing"},
    "cryptography": {"drivers", "push", "testing"},
    "h2": {"outbound", "testing"},
    "http_ece": {"push"},
    "hpack": {"outbound"},
    "httpcore": {"outbound"},
    "uvloop": {"server", "testing"},
    "typer": {"cli", "push", "server", "webhooks"},
    "rich": {"cli", "push"},
    "httpx": {"client", "cli", "doctor", "testing"},
    "websockets": {"client", "cli", "testing"},
    "websockets.speedups": {"protocol"},
}
"""Package → the only rooms that may import it; of several names that fit, the longest counts."""

NO_WAITING = frozenset({"protocol", "hub", "inspector"})
"""Rooms of plain synchronous code: no event loop, no clock, no input or output."""

OUTSIDE_WORLD = frozenset({"asyncio", "socket", "ssl", "subprocess", "threading", "time", "datetime", "selectors"})

PRINTERS = frozenset({"cli", "server"})

LONGEST = 423
FLOORS = 9
WINGS = {"push": {"server"}, "webhooks": {"server"}}
"""By room: the only ones that may import it; see the chapter on wings in docs/design.md."""
GENERATED = "_pb2"
"""How the names of modules end that a compiler writes."""


@dataclass(frozen=True)
class Module:
    """One source file, parsed. ``room`` is the first name below the package."""

    name: str
    path: Path
    lines: Sequence[str]
    tree: ast.Module

    @property
    def room(self) -> str:
        return [*self.name.split("."), "__init__"][1]

    @property
    def is_package(self) -> bool:
        return self.path.stem == "__init__"

    @functools.cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """The whole tree; walking it anew for each rule would take longer than parsing it."""
        return tuple(ast.walk(self.tree))

    @functools.cached_property
    def imports(self) -> Sequence[tuple[int, str]]:
        """Line and full name of everything imported, inside functions too; ``from a import b`` counts as ``a.b``."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        kept = parts[: len(parts) - node.level + (1 if self.is_package else 0)]
        return ".".join([*kept, *([node.module] if node.module else [])])


@functools.cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted((SOURCE / "sockudo").rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        text = path.read_text()
        found.append(Module(".".join(parts), path, text.splitlines(), ast.parse(text, filename=str(path))))
    return tuple(found)


def violations(problems: Iterator[str]) -> None:
    listed = list(problems)
    if listed:
        pytest.fail("\n".join(listed), pytrace=False)


def room_of(target: str) -> str | None:
    """The room a full import name points into, None outside the package."""
    parts = target.split(".")
    if parts[0] != "sockudo":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in IMPORTS else "__init__"


def test_every_room_has_its_row() -> None:
    rooms = {module.room for module in modules()} - OUTSIDE
    assert rooms == set(IMPORTS)


def test_rooms_import_along_the_list_and_all_of_it_is_used() -> None:
    def found() -> Iterator[str]:
        unused = {(room, other) for room, others in IMPORTS.items() for other in others}
        for module in modules():
            for line, target in module.imports:
                room = room_of(target)
                if room is None or room in {module.room, *OUTSIDE} or module.room in OUTSIDE:
                    continue
                unused.discard((module.room, room))
                if room not in IMPORTS[module.room]:
                    yield f"{module.path}:{line}: {module.room}/ may not import {target}"
        yield from (f"docs/design.md: {room}/ imports nothing of {other}/" for room, other in sorted(unused))

    violations(found())


def test_rooms_do_not_import_each_other() -> None:
    floors: dict[str, int] = {}

    def floor(room: str, way: tuple[str, ...]) -> int:
        if room in way:
            pytest.fail(" → ".join([*way[way.index(room) :], room]), pytrace=False)
        if room not in floors:
            floors[room] = 1 + max((floor(below, (*way, room)) for below in IMPORTS[room]), default=0)
        return floors[room]

    assert max(floor(room, ()) for room in IMPORTS) <= FLOORS


def test_wings_are_known_to_the_assembly_alone() -> None:
    assert {wing: {room for room, others in IMPORTS.items() if wing in others} for wing in WINGS} == WINGS


def test_each_package_has_its_owner() -> None:
    def owned(target: str) -> str | None:
        while target and target not in OWNERS:
            target = target.rpartition(".")[0]
        return target or None

    violations(
        f"{module.path}:{line}: only {sorted(OWNERS[package])} may import {package}"
        for module in modules()
        for line, target in module.imports
        if (package := owned(target)) is not None and module.room not in OWNERS[package]
    )


def test_protocol_and_domain_do_not_wait_and_have_no_clock() -> None:
    def found() -> Iterator[str]:
        for module in modules():
            if module.room not in NO_WAITING:
                continue
            for line, target in module.imports:
                if target.partition(".")[0] in OUTSIDE_WORLD:
                    yield f"{module.path}:{line}: {module.room}/ imports {target}"
            if module.path.stem == "ports":
                continue
            for node in module.nodes:
                if isinstance(node, (ast.AsyncFunctionDef, ast.Await)):
                    yield f"{module.path}:{node.lineno}: asynchronous code in {module.room}/"

    violations(found())


def test_nothing_imports_itself_in_a_circle() -> None:
    names = {module.name for module in modules()}

    def resolved(target: str) -> str | None:
        while target and target not in names:
            target = target.rpartition(".")[0]
        return target or None

    graph = {
        module.name: {found for _, target in module.imports if (found := resolved(target))}
        - {module.name, *(".".join(module.name.split(".")[:end]) for end in range(1, module.name.count(".") + 1))}
        for module in modules()
    }
    state: dict[str, int] = {}

    def walk(name: str, trail: tuple[str, ...]) -> Iterator[str]:
        state[name] = 1
        for target in sorted(graph[name]):
            if state.get(target) == 1 and target in trail:
                yield " → ".join([*trail[trail.index(target) :], target])
            elif target not in state:
                yield from walk(target, (*trail, target))
        state[name] = 2

    violations(cycle for name in sorted(graph) if name not in state for cycle in walk(name, (name,)))


def test_modules_stay_short() -> None:
    violations(
        f"{module.path}: {len(module.lines)} lines, at most {LONGEST}"
        for module in modules()
        if len(module.lines) > LONGEST
    )


def test_modules_say_what_they_offer_and_what_they_are_for() -> None:
    def found() -> Iterator[str]:
        for module in modules():
            if not module.tree.body:
                continue
            if ast.get_docstring(module.tree) is None:
                yield f"{module.path}: no docstring"
            private = module.path.stem.startswith("_") and not module.is_package
            private |= module.path.stem.endswith(GENERATED)
            if not private and _offers_something(module) and "__all__" not in _assigned(module.tree):
                yield f"{module.path}: no __all__"

    violations(found())


def _offers_something(module: Module) -> bool:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = {*_assigned(module.tree), *(node.name for node in module.tree.body if isinstance(node, definitions))}
    passes_on = module.is_package and any(not target.startswith("__future__") for _, target in module.imports)
    return passes_on or any(not name.startswith("_") for name in names)


def test_everything_offered_exists() -> None:
    def found() -> Iterator[str]:
        for module in modules():
            names = _assigned(module.tree)
            defined = set(names) | {
                alias.asname or alias.name.partition(".")[0]
                for node in module.nodes
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for alias in node.names
            }
            defined |= {
                node.name
                for node in module.tree.body
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            }
            offered = ast.literal_eval(names["__all__"]) if "__all__" in names else []
            if "__getattr__" in defined:
                continue
            yield from (f"{module.path}: __all__ names {name!r}" for name in offered if name not in defined)

    violations(found())


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found.update((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found


def test_packages_only_re_export() -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr, ast.If)
    violations(
        f"{module.path}:{node.lineno}: __init__.py does more than re-export"
        for module in modules()
        if module.is_package
        for node in module.tree.body
        if not isinstance(node, allowed)
    )


def test_only_commands_print() -> None:
    violations(
        f"{module.path}:{node.lineno}: print() outside the command line"
        for module in modules()
        if module.room not in PRINTERS
        for node in module.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    )


WEBSOCKET_BYTES = frozenset({"sockudo.protocol.framing", "sockudo.protocol.deflate"})
TRANSPORT_FREE = ("sockudo.hub.", "sockudo.sessions.", "sockudo.publishing.", "sockudo.protocol.delta.")


def test_nothing_behind_the_transport_knows_websocket_bytes() -> None:
    violations(
        f"{module.path}:{line}: {target}"
        for module in modules()
        if module.name.startswith(TRANSPORT_FREE)
        for line, target in module.imports
        if any(target == name or target.startswith(f"{name}.") for name in WEBSOCKET_BYTES)
    )


HUB_STATE = {"hub": {"apps"}, "state": {"channels", "connections", "metachannels", "patterns", "users"}}
HUB_STATE |= {f"_{name}": attributes for name, attributes in HUB_STATE.items()}
"""By the name that holds the hub or an app's state in it: what is read through `sockudo.hub.view` or a method."""


def test_nobody_but_the_hub_reads_its_state() -> None:
    def owner(node: ast.expr) -> str:
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        # The state that a session belongs to.
        return "state" if name == "app" and isinstance(node, ast.Attribute) else name

    violations(
        f"{module.path}:{node.lineno}: .{node.attr} of the hub"
        for module in modules()
        if module.room not in {"hub", "edge"}
        for node in module.nodes
        if isinstance(node, ast.Attribute) and node.attr in HUB_STATE.get(owner(node.value), ())
    )


def test_no_unfinished_business() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    violations(
        f"{module.path}:{number}: {line.strip()}"
        for module in modules()
        for number, line in enumerate(module.lines, 1)
        if marks.search(line)
    )
