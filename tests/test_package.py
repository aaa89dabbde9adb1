"""The wheel, installed alone in another folder, is the whole server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from support.server import start_server

PROJECT = Path(__file__).parent.parent
INSTALLED_ALREADY = Path(sysconfig.get_path("purelib"))


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that has to succeed, away from the project and from its paths."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PIP_NO_INDEX"] = "1"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, PROJECT)
    run(sys.executable, *build, cwd=folder)
    [built] = folder.glob("sockudo-*.whl")
    return built


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; the packages it needs are borrowed from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("home") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    install = ("-m", "pip", "--python", python, "install", "--quiet", "--no-compile", "--no-deps", wheel)
    run(sys.executable, *install, cwd=folder.parent)
    # A path in a .pth file brings packages, but no .pth files of its own: the project itself stays out of reach.
    packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder.parent).strip()
    )
    (packages / "borrowed.pth").write_text(f"{INSTALLED_ALREADY}\n")
    return folder


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"sockudo"}
    assert "sockudo/py.typed" in names
    assert "sockudo/cli/__init__.py" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert [name for name in names if "__pycache__" in name] == []


def test_the_dashboard_comes_with_its_templates_files_and_their_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = PROJECT / "src"
    package = source / "sockudo"
    folders = (
        "client/browser",
        "dashboard/static",
        "dashboard/templates",
        "push/dashboard/templates",
        "webhooks/dashboard/templates",
    )
    kept = [path for folder in folders for path in (package / folder).rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert all(any((package / folder).rglob("*.*")) for folder in folders)
    assert {path.relative_to(source).as_posix() for path in kept} <= names
    vendor = "sockudo/dashboard/static/vendor"
    assert {f"{vendor}/htmx/LICENSE", f"{vendor}/uplot/LICENSE"} <= names


def test_command_runs_from_the_wheel(home: Path, tmp_path: Path) -> None:
    where = run(home / "bin" / "python", "-c", "import sockudo; print(sockudo.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(home)
    about = run(home / "bin" / "python", "-c", "import sockudo; print(sockudo.__version__)", cwd=tmp_path)
    assert about.strip() in run(home / "bin" / "sockudo", "version", cwd=tmp_path)
    assert "serve" in run(home / "bin" / "sockudo", "--help", cwd=tmp_path)


def test_plugins_come_with_it(home: Path) -> None:
    plugins = home / "share" / "sockudo" / "plugins"
    [script] = plugins.rglob("*.js")
    assert script.read_bytes() == (PROJECT / "plugins" / script.relative_to(plugins)).read_bytes()


def test_server_runs_from_the_wheel(home: Path) -> None:
    with start_server(command=[str(home / "bin" / "sockudo")]) as server:
        assert server.request("GET", "/up").text == "OK"
        server.publish("news", "hello", "{}")
        login = server.request("GET", "/dashboard/login", port=server.metrics_port)
        assert (login.status, "Log in" in login.text) == (200, True)
        [style] = re.findall(r'href="([^"]+dashboard\.css)"', login.text)
        assert server.request("GET", style, port=server.metrics_port).status == 200
