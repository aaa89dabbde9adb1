"""The recovery plug-in as its users get it: installed from its folder, with require, import, a module loader, or as a
script."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from clients.node import CLIENTS, install_packages

PLUGIN = CLIENTS.parent.parent / "plugins" / "pusher-js"
SCRIPT = json.dumps((PLUGIN / "sockudo-recovery.js").read_text())


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an application that has installed the plug-in."""
    install_packages()
    folder = tmp_path_factory.mktemp("application")
    copied = shutil.copytree(PLUGIN, folder / "plugin")
    npm = shutil.which("npm") or "npm"
    # pusher-js is there already in an application, and not fetched for this test.
    install = [npm, "install", "--offline", "--legacy-peer-deps", "--no-audit", "--no-fund", "--install-links", copied]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, script: str, *, module: bool = False) -> str:
    command = ["node", f"--input-type={'module' if module else 'commonjs'}", "--eval", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_require(application: Path) -> None:
    assert run(application, "console.log(typeof require('sockudo-recovery'))") == "function"


def test_import(application: Path) -> None:
    script = "import sockudoRecovery from 'sockudo-recovery'; console.log(typeof sockudoRecovery)"
    assert run(application, script, module=True) == "function"


def test_package_holds_what_it_needs(application: Path) -> None:
    names = {path.name for path in (application / "node_modules" / "sockudo-recovery").iterdir()}
    assert names == {"README.md", "package.json", "sockudo-recovery.d.ts", "sockudo-recovery.js"}


@pytest.mark.parametrize("scope", ["{ self: globalThis }", "{}"], ids=["page or worker", "anywhere else"])
def test_script(tmp_path: Path, scope: str) -> None:
    script = f"""
      const context = require("vm").createContext({scope})
      require("vm").runInContext({SCRIPT}, context)
      const place = context.self || context
      console.log(typeof place.sockudoRecovery)
    """
    assert run(tmp_path, script) == "function"


def test_module_loader(tmp_path: Path) -> None:
    script = f"""
      let made
      const define = Object.assign((needs, make) => (made = make(...needs)), {{ amd: {{}} }})
      require("vm").runInNewContext({SCRIPT}, {{ define }})
      console.log(typeof made)
    """
    assert run(tmp_path, script) == "function"
