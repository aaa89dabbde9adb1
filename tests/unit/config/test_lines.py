"""Which line of a file a problem is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sockudo.config import ConfigError, load

TOML = """\
# a comment with port = 1
prot = 7001
activity_timeout = "120s"

[history]
enabled = "maybe"
motd = \"\"\"
retention_window_seconds = 5
\"\"\"

[[app_manager.array.apps]]
id = "one"
key = "k1"
secret = "s1"
enabled = true
[app_manager.array.apps.policy.limits]
max_connections = "many"
[[app_manager.array.apps.policy.webhooks]]
url = "https://a.test"
event_types = []

[[app_manager.array.apps]]
id = "two"
kee = "k2"
key = "k2"
secret = "s2"
enabled = true
[[app_manager.array.apps.policy.webhooks]]
url = "https://a.test"
event_types = []
[[app_manager.array.apps.policy.webhooks]]
url = "https://b.test"
event_typs = []
event_types = []
"""


def lines(folder: Path, name: str, text: str) -> dict[int | None, str]:
    (folder / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path=Path(name), environ={}, cwd=folder)
    assert len(caught.value.located) == len(caught.value.problems)
    found: dict[int | None, str] = {}
    for problem in caught.value.located:
        place, _, said = problem.partition(": ")
        assert place.startswith(name)
        number = place.removeprefix(name).removeprefix(":")
        found[int(number) if number else None] = said
    return found


def test_of_toml(tmp_path: Path) -> None:
    found = lines(tmp_path, "sockudo.toml", TOML)
    rows = TOML.splitlines()
    for row, words in (
        ("prot = 7001", "'prot'"),
        ('activity_timeout = "120s"', "activity_timeout"),
        ('enabled = "maybe"', "history.enabled"),
        ('motd = """', "history.motd"),
        ('max_connections = "many"', "max_connections"),
        ('kee = "k2"', "'kee'"),
        ("event_typs = []", "'event_typs'"),
    ):
        assert words in found[rows.index(row) + 1], row
    assert len(found) == 7


def test_of_json(tmp_path: Path) -> None:
    tree = {
        "prot": 1,
        "history": {"enabled": "maybe"},
        "app_manager": {
            "array": {
                "apps": [
                    {"id": "one", "key": "k", "secret": "s", "enabled": True},
                    {"id": "two", "key": "k2", "secret": "s", "enabled": "perhaps"},
                ]
            }
        },
    }
    text = json.dumps(tree, indent=1)
    rows = text.splitlines()
    found = lines(tmp_path, "sockudo.json", text)
    assert "'prot'" in found[2]
    assert "history.enabled" in found[rows.index('  "enabled": "maybe"') + 1]
    assert "enabled" in found[rows.index('     "enabled": "perhaps"') + 1]


def test_what_is_no_key_of_the_file_has_no_line(tmp_path: Path) -> None:
    (tmp_path / "sockudo.toml").write_text("port = 7001\n")
    with pytest.raises(ConfigError) as caught:
        load(path=Path("sockudo.toml"), environ={"PORT": "x"}, cwd=tmp_path)
    assert caught.value.located == caught.value.problems
