"""What is installed is locked: each range of pyproject.toml has one version in the lock files, and each file a hash."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = PYPROJECT["optional-dependencies"]
TESTS = [line for line in EXTRAS["dev"] if not line.startswith("sockudo[")]
DRIVERS = [line for extra in ("postgres", "mysql", "redis", "opentelemetry") for line in EXTRAS[extra]]

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)


def locked(name: str) -> dict[str, list[str]]:
    """The versions that ``requirements/NAME.txt`` pins, by package; several where they differ by platform."""
    versions: dict[str, list[str]] = {}
    for package, version in _PIN.findall((PROJECT / "requirements" / f"{name}.txt").read_text()):
        versions.setdefault(package.replace("_", "-").lower(), []).append(version)
    return versions


@pytest.mark.parametrize(
    ("lock", "lines"),
    [
        ("server", PYPROJECT["dependencies"] + DRIVERS),
        (
            "dev",
            PYPROJECT["dependencies"] + DRIVERS + TESTS,
        ),
        ("tools", (PROJECT / "requirements/tools.in").read_text().splitlines()),
    ],
)
def test_each_range_is_locked_within_itself(lock: str, lines: list[str]) -> None:
    pins = locked(lock)
    for line in lines:
        if line and not line.startswith("#"):
            wanted = Requirement(line)
            versions = pins.get(wanted.name.replace("_", "-").lower(), [])
            assert versions, f"requirements/{lock}.txt lacks {wanted.name}: run scripts/lock"
            assert all(version in wanted.specifier for version in versions), f"{line}: locked is {versions}"


@pytest.mark.parametrize("lock", ["server", "dev", "tools"])
def test_each_locked_package_has_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=[a-z])", (PROJECT / "requirements" / f"{lock}.txt").read_text(), flags=re.IGNORECASE)
    bare = [entry.splitlines()[0] for entry in entries if _PIN.match(entry) and "--hash=sha256:" not in entry]
    assert bare == []


def test_a_package_has_one_version_in_all_lock_files() -> None:
    everything = locked("dev")
    for lock in ("server", "tools"):
        differing = {name: pins for name, pins in locked(lock).items() if everything.get(name) != pins}
        assert differing == {}


NPM = [
    "tests/clients",
    "tests/unit/protocol/delta/javascript",
    *(f"benchmarks/peers/{peer}" for peer in ("uws", "ws", "bun")),
]


@pytest.mark.parametrize("folder", NPM)
def test_what_npm_installs_is_locked(folder: str) -> None:
    packages = json.loads((PROJECT / folder / "package-lock.json").read_text())["packages"]
    names = {name: lock for name, lock in packages.items() if name}
    assert set(packages[""]["dependencies"]) <= {name.removeprefix("node_modules/") for name in names}
    assert all(lock["integrity"].startswith("sha512-") for lock in names.values())
    assert not any("resolved" in lock for lock in names.values())  # the address of a registry


def test_the_image_is_built_from_files_that_docker_is_given() -> None:
    """A COPY of what .dockerignore leaves out fails; the plug-in and the drivers were missing in the image once."""
    given = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.*)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied <= given
    assert {"plugins", "requirements", "src"} <= copied
    assert all((PROJECT / name).exists() for name in copied)
