"""Values in force, as rows, as a tree and as a file that can be read again."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

from sockudo.config import Loaded
from sockudo.config.schema import declared
from sockudo.config.show import MASK, as_toml, as_tree, rows

Load = Callable[..., Loaded]

APPS = """
[[app_manager.array.apps]]
id = "a"
key = "k"
secret = "very-hidden"
enabled = true
[app_manager.array.apps.policy.channels]
allowed_origins = ["https://a.test"]
channel_delta_compression = { "p*" = "fossil" }
[[app_manager.array.apps]]
id = "b"
key = "q\\"uote"
secret = "also-hidden"
enabled = false
"""


def without_none(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {key: without_none(value) for key, value in tree.items() if value is not None}


def test_every_key_has_a_row_with_its_origin(loaded: Load) -> None:
    found = {path: (value, origin) for path, value, origin in rows(loaded("port = 7", env={"HOST": "::1"}))}
    assert set(found) == set(declared())
    assert found["port"] == (7, "sockudo.toml")
    assert found["host"] == ("::1", "HOST")
    assert found["mode"] == ("production", "default")


def test_secrets_are_masked(loaded: Load) -> None:
    got = loaded(APPS)
    shown = repr(as_tree(got)) + as_toml(got) + repr(list(rows(got)))
    assert "hidden" not in shown
    assert [app["secret"] for app in as_tree(got)["app_manager"]["array"]["apps"]] == [MASK, MASK]


def test_what_webhooks_are_called_with_is_masked(loaded: Load) -> None:
    got = loaded(
        """
[[app_manager.array.apps]]
id = "a"
key = "k"
secret = "s"
[[app_manager.array.apps.policy.webhooks]]
url = "https://ops:pass-word@hooks.example/in?token=query-token"
event_types = ["channel_occupied"]
headers = { Authorization = "Bearer header-token" }
"""
    )
    [app] = as_tree(got)["app_manager"]["array"]["apps"]
    [webhook] = app["policy"]["webhooks"]
    assert webhook["url"] == "https://hooks.example/in?token=…"
    assert webhook["headers"] == {"Authorization": MASK}
    for text in (as_toml(got), str(as_tree(got))):
        assert not any(secret in text for secret in ("pass-word", "query-token", "header-token"))


def test_passwords_are_masked_where_there_are_some(loaded: Load) -> None:
    got = loaded('[database.postgres]\npassword = "very-hidden"')
    assert "hidden" not in as_toml(got)
    database = as_tree(got)["database"]
    assert (database["postgres"]["password"], database["mysql"]["password"]) == (MASK, "")


def test_the_toml_form_is_the_tree(loaded: Load) -> None:
    got = loaded(APPS, env={"LOG_OUTPUT_FORMAT": "json", "SOCKUDO_DATA_DIR": 'a "b" \\ \x7f\t'})
    text = as_toml(got)
    tree = as_tree(got)
    assert tomllib.loads(text) == without_none(tree)
    assert "# max_bytes is not set" in text
    assert 'log_format = "json" # LOG_OUTPUT_FORMAT' in text


def test_the_toml_form_loads_again(loaded: Load) -> None:
    first = loaded("port = 7\n[websocket]\nmax_bytes = 9000")
    second = loaded(as_toml(first))
    assert second.settings == first.settings
