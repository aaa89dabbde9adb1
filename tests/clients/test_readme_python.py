"""The README's publish from Python, as it stands there: its server, its credentials, its call."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from support.server import start_server
from support.signing import Credentials
from support.websocket import WebSocket

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLE = re.compile(r"```sh\n(PUSHER_APP_ID=.*) scripts/serve\n```\n\n```python\n(import pusher\n.*?)```", re.DOTALL)


def test_the_publish_from_python() -> None:
    [(start, program)] = EXAMPLE.findall(README)
    variables = dict(each.split("=", 1) for each in shlex.split(start))
    app = Credentials(*(variables[f"PUSHER_APP_{part}"] for part in ("ID", "KEY", "SECRET")))
    with (
        start_server({"app_manager": {"array": {"apps": []}}}, env=variables) as server,
        WebSocket(server, app=app) as browser,
    ):
        browser.greeting()
        browser.subscribe("my-channel")
        subprocess.run([sys.executable, "-c", program.replace("6001", str(server.port))], check=True)
        event = browser.event()
        assert (event["channel"], event["event"]) == ("my-channel", "my-event")
        assert json.loads(event["data"]) == {"hello": "from Python"}
