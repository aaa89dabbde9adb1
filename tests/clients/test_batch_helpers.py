"""The backends that docs/browser.md gives for many channels in one request, as they stand there, in their languages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sockudo.client.auth import Credentials, channel_auth
from support.parts import cannot_run

PAGE = (Path(__file__).parents[2] / "docs" / "browser.md").read_text(encoding="utf-8")
APP = Credentials("1001", "app-key", 'secret"$\\')
NAMES = ["private-a", "presence-b:ä", "private-forbidden", *(f"private-{number}" for number in range(100))]
GIVEN = json.dumps(
    {"app": {"key": APP.key, "secret": APP.secret}, "user": {"id": "ana", "info": {"name": "Ána/1"}}, "names": NAMES}
)

# Each reads GIVEN and a socket id, and writes what the backend answers.
CALLS = {
    "python": """
import sys
given = json.loads(sys.argv[1])
may = lambda user, name: user["id"] == "ana" and "forbidden" not in name
print(json.dumps(authorize(given["app"], sys.argv[2], given["names"], given["user"], may)))
""",
    "js": """
const given = JSON.parse(process.argv[1])
const may = (user, name) => user.id === "ana" && !name.includes("forbidden")
console.log(JSON.stringify(authorize(given.app, process.argv[2], given.names, given.user, may)))
""",
    "php": """
$given = json_decode($argv[1], true);
$may = fn ($user, $name) => $user['id'] === 'ana' && !str_contains($name, 'forbidden');
echo json_encode(authorize($given['app'], $argv[2], $given['names'], $given['user'], $may));
""",
    "ruby": """
given = JSON.parse(ARGV[0], symbolize_names: true)
puts authorize(given[:app], ARGV[1], given[:names], given[:user]) { |user, name|
  user[:id] == "ana" && !name.include?("forbidden")
}.to_json
""",
}
COMMANDS = {
    "python": ("python3", "-c"),
    "js": ("node", "--eval"),
    "php": ("php", "-r"),
    "ruby": ("ruby", "-e"),
}


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.partition("## Many channels in one request")[2], re.DOTALL)
    return str(found[0])


def answered(language: str, socket_id: str) -> subprocess.CompletedProcess[str]:
    program, switch = COMMANDS[language]
    found = shutil.which(program)
    if found is None:
        cannot_run(
            f"the backend of docs/browser.md in {language}",
            f"{program} is not installed (apt-get install php-cli ruby)",
        )
    command = [
        found,
        switch,
        block(language) + CALLS[language],
        *(["--"] if language in ("php", "ruby") else []),
        GIVEN,
        socket_id,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def is_signed(name: str, answer: dict[str, Any]) -> bool:
    return bool(answer["auth"] == channel_auth(APP, "12.34", name, answer.get("channel_data")))


@pytest.mark.parametrize("language", COMMANDS)
def test_backend_answers_for_each_channel(language: str) -> None:
    done = answered(language, "12.34")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert list(answers) == NAMES[:100]
    assert answers["private-forbidden"] == {"error": "not for you", "status": 403}
    assert json.loads(answers["presence-b:ä"]["channel_data"]) == {"user_id": "ana", "user_info": {"name": "Ána/1"}}
    signed = {name: answer for name, answer in answers.items() if name != "private-forbidden"}
    assert all(is_signed(name, answer) for name, answer in signed.items())
    assert [name for name, answer in signed.items() if "channel_data" in answer] == ["presence-b:ä"]


@pytest.mark.parametrize("socket_id", ["12.34:presence-vault", "12.34\n", "", "12"])
@pytest.mark.parametrize("language", COMMANDS)
def test_backend_signs_for_socket_ids_alone(language: str, socket_id: str) -> None:
    """Text that is no socket id could make a signature for another channel."""
    done = answered(language, socket_id)
    assert done.returncode != 0
    assert "not a socket id" in done.stdout + done.stderr
