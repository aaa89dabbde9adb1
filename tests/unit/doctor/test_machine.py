"""Reading ``/proc``: who listens, and what a process may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockudo.doctor.machine import Machine, who_has

ROW = "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0"
LIMITS = "Limit               Soft Limit    Hard Limit   Units\nMax open files      {soft}        65536        files\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Process 42 is a server on 127.0.0.1:6001 and on a Unix socket, 43 something else on [::]:9601."""
    rows = [ROW.format(address="0100007F:1771", state="0A", inode="5001")]
    rows.append(ROW.format(address="0100007F:1771", state="01", inode="5002"))
    six = [ROW.format(address="00000000000000000000000000000000:2581", state="0A", inode="6001")]
    files = {
        "net/tcp": "head\n" + "\n".join(rows) + "\n",
        "net/tcp6": "head\n" + "\n".join(six) + "\n",
        "net/unix": "head\n0000: 00000002 00000000 00010000 0001 01 7001 /run/sockudo.sock\n",
        "stat": "cpu 1\nbtime 1767225600\n",
        "42/cmdline": "/opt/sockudo/bin/python\0-m\0sockudo\0serve\0",
        "42/limits": LIMITS.format(soft="1024"),
        "42/stat": "42 (py) thon) " + " ".join(["S", *["0"] * 18, "200"]) + " 0 0",
        "43/cmdline": "nginx\0",
        "43/limits": LIMITS.format(soft="unlimited"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for pid, inodes in (("42", ["5001", "7001"]), ("43", ["6001"])):
        (tmp_path / pid / "fd").mkdir()
        for number, inode in enumerate(inodes):
            (tmp_path / pid / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
    (tmp_path / "42" / "fd" / "9").symlink_to("/var/lib/sockudo/apps.sqlite3")
    (tmp_path / "42" / "cwd").symlink_to("/var/lib/sockudo")
    return tmp_path


def test_where_somebody_listens(proc: Path) -> None:
    machine = Machine(proc)
    assert machine.addresses(6001) == ["127.0.0.1"]
    assert machine.addresses(9601) == ["::"]
    assert machine.addresses(80) == []


@pytest.mark.parametrize("place", [6001, Path("/run/sockudo.sock")])
def test_the_server_behind_a_port_or_a_socket(proc: Path, place: int | Path) -> None:
    found = Machine(proc).server_at(place)
    assert found is not None
    assert (found.pid, found.descriptors, found.open) == (42, 1024, 3)
    assert found.folder == Path("/var/lib/sockudo")
    assert found.user == proc.stat().st_uid
    assert found.started_at is not None
    assert found.started_at > 1767225600


def test_another_program_is_not_taken_for_the_server(proc: Path) -> None:
    assert Machine(proc).server_at(9601) is None
    assert Machine(proc).server_at(80) is None


def test_what_is_hidden_is_not_known(tmp_path: Path) -> None:
    assert Machine(tmp_path).addresses(6001) == []
    assert Machine(tmp_path).server_at(6001) is None


def test_whoever_listens_is_found(proc: Path) -> None:
    machine = Machine(proc)
    assert [found.pid for port in (6001, 9601) if (found := machine.owner_of(port)) is not None] == [42, 43]
    assert machine.owner_of(7001) is None


def test_nothing_is_said_of_no_port() -> None:
    assert who_has(None, "--port") == {}
