from __future__ import annotations

import base64
import hashlib

import pytest

from sockudo.client.browser_files import browser_build, browser_file


def test_every_file_is_what_the_build_says() -> None:
    build = browser_build()
    assert {"sockudo.js", "sockudo.mjs", "sockudo.d.ts"} <= set(build.files)
    for name, integrity in build.files.items():
        digest = hashlib.sha384(browser_file(name)).digest()
        assert integrity == f"sha384-{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("name", ["build.json", "../wire.py", "", "none.js"])
def test_there_is_no_other_file(name: str) -> None:
    with pytest.raises(KeyError):
        browser_file(name)
