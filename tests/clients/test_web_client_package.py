"""The client for browsers as a package: made anew from its sources it is what the server has, and it installs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clients.node import CLIENTS
from clients.web import BUILT
from support.parts import cannot_run

SOURCE = CLIENTS.parent.parent / "clients" / "js"
PART = "the build of the client for browsers"


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with what their lock file names, built."""
    npm = shutil.which("npm")
    if npm is None:
        cannot_run(PART, "node and npm are not installed (apt-get install nodejs npm)")
    folder = tmp_path_factory.mktemp("build") / "js"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    try:
        command = [npm, "ci", "--prefer-offline", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        cannot_run(PART, "npm ci took over 100 s")
    if done.returncode != 0:
        cannot_run(PART, f"npm ci failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    run(folder, npm, "run", "--silent", "build")
    return folder


def test_build_is_what_the_server_has(made: Path) -> None:
    built = {path.name: path.read_bytes() for path in (made / "dist").iterdir()}
    there = {path.name: path.read_bytes() for path in BUILT.iterdir() if path.name != "build.json"}
    assert {name: content for name, content in built.items() if there.get(name) != content} == {}
    assert set(built) == set(there)


def test_package_installs_from_a_file(made: Path, tmp_path: Path) -> None:
    npm = shutil.which("npm") or "npm"
    packed = run(made, npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(tmp_path)).split()[-1]
    run(tmp_path, npm, "install", "--offline", "--no-audit", "--no-fund", f"./{packed}")
    script = """
      import Sockudo, { Pusher, SockudoError } from "sockudo-client"
      import { fossil } from "sockudo-client/deltas"
      import { createRequire } from "node:module"
      const classic = createRequire(import.meta.url)("sockudo-client/classic")
      console.log(Sockudo === Pusher, typeof SockudoError, typeof fossil, typeof classic)
    """
    assert run(tmp_path, "node", "--input-type=module", "--eval", script).split() == ["true"] + ["function"] * 3
    page = """
      import Pusher, { type Gap, type Options, type TagFilter } from "sockudo-client"
      const options: Options = { url: "https://server.test", token: async () => "token", positions: "session" }
      const filter: TagFilter = { op: "and", nodes: [{ key: "venue", cmp: "in", vals: ["ldn"] }] }
      export async function newest(): Promise<number | undefined> {
        const news = new Pusher("key", options).subscribe("news", { filter, rewind: { seconds: 30 } })
        const channel = await news.subscribed()
        channel.bind("gap", ({ code }: Gap) => console.log(code))
        for await (const { serial } of channel.history({ limit: 1 })) return serial
        return channel.position?.serial
      }
    """
    chat = """
      import Sockudo, { type SockudoError } from "sockudo-client"
      import { SockudoProvider, useChannel, useConnectionState, useHistory, usePresence } from "sockudo-client/react"
      const client = new Sockudo("key", { url: "https://server.test", manual: true })
      export const element = SockudoProvider({ client })
      export function newest(): [number | undefined, string[], SockudoError | null, string] {
        const { messages, loadMore } = useHistory("news", { limit: 10, filter: { events: ["said"] } })
        const { channel, error } = useChannel("news", { on: { said: (data) => console.log(data) }, suspense: true })
        void loadMore()
        void channel?.publish("said", 1)
        const members = usePresence(null).members.map(({ id }) => id)
        return [messages.at(-1)?.serial, members, error, useConnectionState().state]
      }
    """
    (tmp_path / "page.ts").write_text(page)
    (tmp_path / "chat.ts").write_text(chat)
    types = tmp_path / "node_modules" / "@types"
    types.mkdir()
    for name in ("@types/react", "csstype"):
        (tmp_path / "node_modules" / name).symlink_to(made / "node_modules" / name)
    compiler = made / "node_modules" / "typescript" / "bin" / "tsc"
    strict = ["--strict", "--noEmit", "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"]
    run(tmp_path, "node", str(compiler), *strict, "page.ts", "chat.ts")
