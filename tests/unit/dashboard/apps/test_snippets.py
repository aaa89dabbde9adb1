"""Code to paste, whatever an app is called and however the server was reached."""

from __future__ import annotations

import ast
import json
import shlex
from types import SimpleNamespace
from typing import Any

import pytest

from sockudo.config import Settings
from sockudo.config.apps import App
from sockudo.config.sections.server import Ssl
from sockudo.dashboard.apps.snippets import chat, snippets

EVIL = App("a b'\"$(id)", "k</script>'\"$(id)&", "s'\"$(id)\\", True)


def board_with(**settings: Any) -> Any:
    where = "http://0.0.0.0:6001"
    return SimpleNamespace(settings=Settings(**settings), listeners=[("Clients and HTTP API", where)])


def made(app: App = EVIL, reached: str = "ws.test:9601", *, reveal: bool = True, **settings: Any) -> dict[str, str]:
    board = board_with(**settings)
    return {each.name: each.code for each in snippets(board, app, reached, reveal=reveal)}


def test_a_name_cannot_end_the_script_or_leave_its_quotes() -> None:
    code = made()
    assert code["javascript"].count("</script>") == 2
    pasted = chat(board_with(), EVIL, 'ws.test"</script>').code
    assert pasted.count("</script>") == 1
    assert f"new Sockudo({json.dumps(EVIL.key)}".replace("</", "<\\/") in pasted
    call = ast.parse(code["python"]).body[1]
    assert isinstance(call, ast.Assign)
    values = [ast.literal_eval(keyword.value) for keyword in call.value.keywords[:3]]  # type: ignore[attr-defined]
    assert values == [EVIL.id, EVIL.key, EVIL.secret]
    words = shlex.split(code["curl"].replace("\\\n", " "))
    assert f"SECRET={EVIL.secret}" in words
    assert not any("$(id)" in word for word in words if not word.startswith("SECRET="))


def test_the_secret_is_there_only_when_it_is_asked_for() -> None:
    app = App("shop", "k", "s3cr3t", True)
    assert not any("s3cr3t" in code for code in made(app, reveal=False).values())
    assert "s3cr3t" not in made(app)["javascript"]
    assert "s3cr3t" in made(app)["python"]


@pytest.mark.parametrize(
    ("reached", "host", "url"),
    [
        ("ws.test:9601", "ws.test", "http://ws.test:6001"),
        ("[::1]:9601", "::1", "http://[::1]:6001"),
        ("", "127.0.0.1", "http://127.0.0.1:6001"),
        ("[bad", "127.0.0.1", "http://127.0.0.1:6001"),
    ],
)
def test_the_address_is_the_one_that_the_browser_has_reached(reached: str, host: str, url: str) -> None:
    code = made(reached=reached)
    assert f'src="{url}/client/sockudo.js"' in code["javascript"]
    assert f"host={host!r}" in code["python"]
    assert url in code["curl"]


def test_with_tls() -> None:
    code = made(ssl=Ssl(enabled=True))
    assert 'src="https://ws.test:6001/client/sockudo.js"' in code["javascript"]
    assert "ssl=True" in code["python"]
    assert "https://ws.test:6001" in code["curl"]
