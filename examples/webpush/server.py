"""The backend of the example: serves the page, and registers its browser at Sockudo. Only this side has the secret.

    python server.py [PORT]

Reads VAPID_PUBLIC_KEY (what `sockudo push vapid` made), and SOCKUDO_URL, SOCKUDO_APP_ID, SOCKUDO_APP_KEY and
SOCKUDO_APP_SECRET, whose defaults are those of `sockudo serve --dev`. Needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).parent
SOCKUDO = os.environ.get("SOCKUDO_URL", "http://127.0.0.1:6001")
APP_ID = os.environ.get("SOCKUDO_APP_ID", "1001")
KEY = os.environ.get("SOCKUDO_APP_KEY", "app-key")
SECRET = os.environ.get("SOCKUDO_APP_SECRET", "app-secret")
PUBLIC_KEY = os.environ.get("VAPID_PUBLIC_KEY", "")

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/worker.js": ("worker.js", "text/javascript; charset=utf-8"),
}
LARGEST = 8192


class RefusedError(Exception):
    """What Sockudo answered instead of doing it."""


def ask(method: str, path: str, body: Any) -> Any:
    """One signed request to Sockudo, as any of its SDKs makes it."""
    content = json.dumps(body).encode()
    path = f"/apps/{APP_ID}/push{path}"
    query = (
        f"auth_key={KEY}&auth_timestamp={int(time.time())}&auth_version=1.0"
        f"&body_md5={hashlib.md5(content, usedforsecurity=False).hexdigest()}"
    )
    signature = hmac.new(SECRET.encode(), f"{method}\n{path}\n{query}".encode(), hashlib.sha256).hexdigest()
    where = urlsplit(SOCKUDO)
    kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
    with closing(kind(where.hostname or "", where.port, timeout=10)) as connection:
        target = f"{path}?{query}&auth_signature={signature}"
        connection.request(method, target, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
    if answer.status >= 300:
        raise RefusedError(said["error"])
    return said


def register(given: dict[str, Any]) -> dict[str, str]:
    """Makes the browser's subscription a device, on a channel of its user.

    In an application the user is the one who is logged in, never what the page says.
    """
    subscription, user = given["subscription"], "ana"
    device = "browser-" + hashlib.sha256(subscription["endpoint"].encode()).hexdigest()[:16]
    ask(
        "POST",
        "/deviceRegistrations",
        {
            "id": device,
            "clientId": user,
            "formFactor": "desktop",
            "platform": "browser",
            "timezone": given.get("timezone") or "UTC",
            "locale": given.get("locale") or "en",
            "push": {
                "recipient": {
                    "transportType": "web",
                    "endpoint": subscription["endpoint"],
                    "p256dh": subscription["keys"]["p256dh"],
                    "auth": subscription["keys"]["auth"],
                }
            },
        },
    )
    ask("POST", "/channelSubscriptions", {"channel": "news", "deviceId": device})
    return {"device": device, "client": user, "channel": "news"}


def notify() -> Any:
    """What an event of the application would do: everybody on the channel is notified."""
    payload = {"title": "It works", "body": "From your backend, over Sockudo.", "templateData": {"url": "/#read"}}
    return ask("POST", "/publish", {"recipients": [{"type": "channel", "channel": "news"}], "payload": payload})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/key":
            self.reply(200, {"publicKey": PUBLIC_KEY})
        elif self.path in FILES:
            name, kind = FILES[self.path]
            self.send(200, (HERE / name).read_bytes(), kind)
        else:
            self.reply(404, {"error": "nothing is here"})

    def do_POST(self) -> None:
        try:
            # Pages of other sites cannot send this header without being asked whether they may.
            if self.headers.get("X-Example") != "1":
                self.reply(403, {"error": "not from the page"})
                return
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), LARGEST))
            if self.path == "/register":
                self.reply(200, register(json.loads(body)))
            elif self.path == "/notify":
                self.reply(200, notify())
            else:
                self.reply(404, {"error": "nothing is here"})
        except RefusedError as refusal:
            self.reply(502, {"error": f"Sockudo refused: {refusal}"})
        except (OSError, HTTPException) as problem:
            self.reply(502, {"error": f"Sockudo cannot be reached at {SOCKUDO}: {problem}"})
        except (KeyError, TypeError, ValueError):
            self.reply(400, {"error": "that is no subscription"})

    def reply(self, status: int, value: Any) -> None:
        self.send(status, json.dumps(value).encode(), "application/json")

    def send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    if not PUBLIC_KEY:
        sys.exit("VAPID_PUBLIC_KEY is not set: make a pair with `sockudo push vapid`.")
    port = int(sys.argv[1]) if sys.argv[1:] else 8080
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"http://localhost:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
