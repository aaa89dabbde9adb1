from __future__ import annotations

import json
import re

from typer.testing import CliRunner

from sockudo.client.browser_files import browser_build
from sockudo.server.commands import app

runner = CliRunner()
BUILD = browser_build()
URL = "https://realtime.example.com"


def test_the_tag_to_paste_has_the_version_and_its_integrity() -> None:
    said = runner.invoke(app, ["client", "--url", f"{URL}/"]).stdout
    [tag] = re.findall(r"<script [^>]*integrity[^>]*></script>", said)
    assert f'src="{URL}/client/{BUILD.version}/sockudo.js"' in tag
    assert f'integrity="{BUILD.files["sockudo.js"]}"' in tag
    # Without it a browser does not check what comes from another origin, and loads nothing.
    assert 'crossorigin="anonymous"' in tag
    assert f'<script src="{URL}/client/sockudo.js"></script>' in said


def test_json_has_every_file() -> None:
    found = json.loads(runner.invoke(app, ["client", "--url", URL, "--json"]).stdout)
    assert found["version"] == BUILD.version
    assert {name: each["integrity"] for name, each in found["files"].items()} == BUILD.files
    assert found["files"]["sockudo.mjs"]["url"] == f"{URL}/client/{BUILD.version}/sockudo.mjs"


def test_what_is_no_address_is_refused() -> None:
    assert runner.invoke(app, ["client", "--url", "ftp://example.com"]).exit_code == 2
