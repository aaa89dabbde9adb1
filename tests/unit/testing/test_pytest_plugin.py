"""Fixtures and asynchronous tests in the way of an application that has pytest alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

APPLICATION = """
import asyncio
import os

import pytest


@pytest.fixture(scope="session")
def sockudo_config():
    return {"activity_timeout": 7}


def test_one_server_for_all(sockudo_server, sockudo_client):
    assert sockudo_client.subscribe("orders")
    os.environ["FIRST"] = sockudo_server.url


def test_the_environment(sockudo_server, sockudo_environment):
    assert os.environ["FIRST"] == sockudo_server.url
    assert os.environ["PUSHER_PORT"] == str(sockudo_server.port)


async def test_asynchronous(sockudo_server):
    assert "PUSHER_PORT" not in os.environ
    async with sockudo_server.client() as client:
        assert client.socket.activity_timeout == 7


@pytest.mark.parametrize("seconds", [0])
async def test_asynchronous_with_parameters(seconds):
    await asyncio.sleep(seconds)


async def test_that_fails():
    await asyncio.sleep(0)
    assert 1 == 2
"""


def test_an_application_with_pytest_alone(tmp_path: Path) -> None:
    (tmp_path / "test_application.py").write_text(APPLICATION)
    command = (sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider")
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "FAILED test_application.py::test_that_fails" in run.stdout
    assert "1 failed, 4 passed" in run.stdout, run.stdout + run.stderr


def test_pytest_asyncio_runs_its_own_tests(tmp_path: Path) -> None:
    (tmp_path / "test_application.py").write_text(
        "import asyncio\nasync def test_loop():\n    assert asyncio.get_running_loop()\n"
    )
    command = (sys.executable, "-P", "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider")
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "1 passed" in run.stdout, run.stdout + run.stderr
