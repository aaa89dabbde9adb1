"""The servers that are compared: how each is built, started and named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.settings import BUILD, HERE, PYTHON, ROOT
from benchmarks.tools import Missing, output_of, run

__all__ = ["PEERS", "Command", "Peer", "sockudo_config"]

Command = tuple[list[str], dict[str, str]]

_BUN = "node_modules/@oven/bun-linux-x64/bin/bun"
_NCHAN = Path(os.environ.get("NCHAN_MODULE", "/usr/lib/nginx/modules/ngx_nchan_module.so"))
_APP = {"id": "app-id", "key": "app-key", "secret": "app-secret", "enabled": True}


@dataclass(frozen=True)
class Peer:
    """A server to compare.

    ``protocol`` is what the load generator speaks to it; publishes go to its port plus ``publish_offset``. ``start``
    gets the port and an empty folder and returns command and environment. ``build`` raises Missing when this
    machine cannot run it. Only ``loads`` are measured, when given.
    """

    name: str
    protocol: str
    start: Callable[[int, Path], Command]
    build: Callable[[], None]
    version: Callable[[], str]
    publish_offset: int = 0
    ready_path: str | None = None
    loads: tuple[str, ...] = ()


def _nothing() -> None:
    return None


def _python_package(name: str) -> str:
    return output_of(PYTHON, "-c", f"import importlib.metadata as m; print(m.version('{name}'))")


# ---- ours ----


def sockudo_config(port: int) -> dict[str, object]:
    """The configuration of the server as it is measured: one app, metrics on the next port, no limits per address."""
    return {
        "host": "127.0.0.1",
        "port": port,
        "rate_limiter": {"enabled": False},
        "app_manager": {"driver": "memory", "array": {"apps": [_APP]}},
        "metrics": {"enabled": True, "host": "127.0.0.1", "port": port + 1},
    }


def _start_sockudo(port: int, folder: Path) -> Command:
    (folder / "config.json").write_text(json.dumps(sockudo_config(port)))
    return [str(ROOT / ".venv/bin/sockudo"), "serve", "--config", str(folder / "config.json")], {}


def _build_sockudo() -> None:
    if not os.access(ROOT / ".venv/bin/sockudo", os.X_OK):
        raise Missing("the server is not installed: python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'")


def _sockudo_version() -> str:
    commit = output_of("git", "-C", ROOT, "rev-parse", "--short", "HEAD")
    libraries = ", ".join(f"{name} {_python_package(name)}" for name in ("uvloop", "uvicorn", "httptools", "msgspec"))
    return f"this server, {_python_package('sockudo')} ({commit or 'no commit'}), {output_of(PYTHON, '-V')}, {libraries}"


# ---- the Rust implementation ----


def _reference() -> str:
    return os.environ.get("REFERENCE_BIN", "")


def _start_reference(port: int, folder: Path) -> Command:
    policy: dict[str, object] = {"limits": {}, "features": {}, "channels": {}}
    config = {
        **sockudo_config(port),
        "mode": "production",
        "shutdown_grace_period": 1,
        "adapter": {"driver": "local"},
        "cache": {"driver": "memory"},
        "queue": {"driver": "memory"},
        "rate_limiter": {"enabled": False, "driver": "memory"},
        "app_manager": {
            "driver": "memory",
            "cache": {"enabled": False, "ttl": 300},
            "array": {"apps": [{**_APP, "policy": policy}]},
        },
        "metrics": {"enabled": True, "driver": "prometheus", "host": "127.0.0.1", "port": port + 1},
        "push": {
            "storage_driver": "memory",
            "queue_driver": "memory",
            "allow_memory_drivers": True,
            "credential_encryption_key": "bench-push-key",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    quiet = {"RUST_LOG": "error", "LOG_COLORS_ENABLED": "false"}
    push = {"PUSH_ALLOW_MEMORY_DRIVERS": "true", "PUSH_CREDENTIAL_ENCRYPTION_KEY": "bench-push-key"}
    return [_reference(), "--config", str(folder / "config.json")], {**quiet, **push}


def _build_reference() -> None:
    if not os.access(_reference(), os.X_OK):
        raise Missing("set REFERENCE_BIN to the binary of Sockudo's Rust implementation")


def _reference_version() -> str:
    return "Sockudo (Rust) " + (output_of(_reference(), "--version").split() or ["?"])[-1] + ", its defaults"


# ---- the others ----


def _npm_builder(name: str) -> Callable[[], None]:
    def build() -> None:
        source, folder = HERE / "peers" / name, BUILD / name
        hint = "install Node and npm (Debian: apt install nodejs npm)"
        if not shutil.which("node"):
            raise Missing(f"node is missing: {hint}")
        locked = (source / "package-lock.json").read_bytes()
        stamp = folder / "node_modules" / ".installed-from"
        if not stamp.exists() or stamp.read_bytes() != locked:
            folder.mkdir(exist_ok=True)
            for file in ("package.json", "package-lock.json"):
                shutil.copy(source / file, folder / file)
            run("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", hint=hint, cwd=folder)
            stamp.write_bytes(locked)

    return build


def _node_starter(name: str) -> Callable[[int, Path], Command]:
    program = str(HERE / "peers" / name / "server.cjs")
    return lambda port, folder: (["node", program], {"NODE_PATH": str(BUILD / name / "node_modules")})


def _node_version(name: str, title: str) -> Callable[[], str]:
    [version] = json.loads((HERE / "peers" / name / "package.json").read_text())["dependencies"].values()
    return lambda: f"{title} {version}, node {output_of('node', '--version')}"


def _start_bun(port: int, folder: Path) -> Command:
    return [str(BUILD / "bun" / _BUN), str(HERE / "peers/bun/server.js")], {}


def _python_starter(name: str) -> Callable[[int, Path], Command]:
    program = str(HERE / "peers" / name / "server.py")
    return lambda port, folder: ([str(PYTHON), program], {})


def _build_centrifuge() -> None:
    if not (BUILD / "centrifuge").exists():
        hint = "install Go, at least the version that peers/centrifuge/go.mod names"
        run("go", "build", "-o", BUILD / "centrifuge", ".", hint=hint, cwd=HERE / "peers/centrifuge")


def _centrifuge_version() -> str:
    lines = (HERE / "peers/centrifuge/go.mod").read_text().splitlines()
    library = next(line.split()[-1] for line in lines if "centrifugal/centrifuge v" in line)
    return f"centrifuge {library}, {' '.join(output_of('go', 'version').split()[2:3])}"


def _build_nchan() -> None:
    if not (shutil.which("nginx") and _NCHAN.exists()):
        raise Missing("install nginx with nchan (Debian: apt install libnginx-mod-nchan) or set NCHAN_MODULE")


def _start_nchan(port: int, folder: Path) -> Command:
    template = (HERE / "peers/nchan/nginx.conf.in").read_text()
    filled = template.replace("@PORT@", str(port)).replace("@DIR@", str(folder)).replace("@MODULE@", str(_NCHAN))
    (folder / "nginx.conf").write_text(filled)
    folder.chmod(0o777)  # the worker runs as nobody when root starts it
    return ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], {}


def _nchan_version() -> str:
    package = output_of("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan")
    return f"nchan {package or '?'}, {output_of('nginx', '-v').split(': ')[-1]}"


_ALL = [
    Peer("sockudo", "pusher", _start_sockudo, _build_sockudo, _sockudo_version, ready_path="/live"),
    Peer("uws", "plain", _node_starter("uws"), _npm_builder("uws"), _node_version("uws", "uWebSockets.js")),
    Peer("bun", "plain", _start_bun, _npm_builder("bun"), lambda: f"Bun {output_of(BUILD / 'bun' / _BUN, '--version')}"),
    Peer("starlette", "pusher", _python_starter("starlette"), _nothing, lambda: f"Starlette {_python_package('starlette')}, one route that checks the signature, on uvicorn {_python_package('uvicorn')} (httptools, uvloop)", loads=("publish",)),
    Peer("ws", "plain", _node_starter("ws"), _npm_builder("ws"), _node_version("ws", "ws")),
    Peer("websockets", "plain", _python_starter("websockets"), _nothing, lambda: f"websockets {_python_package('websockets')}, {output_of(PYTHON, '-V')}", publish_offset=1),
    Peer("centrifuge", "centrifuge", lambda port, folder: ([str(BUILD / "centrifuge")], {"GOMAXPROCS": "1"}), _build_centrifuge, _centrifuge_version),
    Peer("nchan", "nchan", _start_nchan, _build_nchan, _nchan_version),
    Peer("reference", "pusher", _start_reference, _build_reference, _reference_version),
]

PEERS = {peer.name: peer for peer in _ALL}
