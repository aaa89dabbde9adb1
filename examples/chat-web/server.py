"""The backend of the chat: serves the page, and publishes what it sends. Only this side has the secret.

    python server.py [PORT]

Reads SOCKUDO_URL, SOCKUDO_APP_ID, SOCKUDO_APP_KEY and SOCKUDO_APP_SECRET, whose defaults are those of
`sockudo serve --dev`. Needs nothing but Python.
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

FILES = {"/": ("index.html", "text/html; charset=utf-8"), "/chat.js": ("chat.js", "text/javascript; charset=utf-8")}
LARGEST = 8192
UNREACHABLE = 503


def publish(said: dict[str, Any]) -> int:
    """Publishes a line; the status of Sockudo's answer. The key of a line that is sent again makes it the same one."""
    body = {"channel": "chat", "name": "said", "data": json.dumps(said), "idempotency_key": said["id"]}
    content = json.dumps(body).encode()
    path = f"/apps/{APP_ID}/events"
    query = (
        f"auth_key={KEY}&auth_timestamp={int(time.time())}&auth_version=1.0"
        f"&body_md5={hashlib.md5(content, usedforsecurity=False).hexdigest()}"
    )
    signature = hmac.new(SECRET.encode(), f"POST\n{path}\n{query}".encode(), hashlib.sha256).hexdigest()
    where = urlsplit(SOCKUDO)
    kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
    try:
        with closing(kind(where.hostname or "", where.port, timeout=10)) as connection:
            target = f"{path}?{query}&auth_signature={signature}"
            connection.request("POST", target, content, {"Content-Type": "application/json"})
            return connection.getresponse().status
    except (OSError, HTTPException):
        return UNREACHABLE


def line(sent: Any) -> dict[str, str] | None:
    """What a page has said, if that is what it sent: a stranger may send anything."""
    data = sent.get("data") if isinstance(sent, dict) else None
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in ("id", "name", "text")):
        return None
    return {name: data[name] for name in ("id", "name", "text")} if 0 < len(data["id"]) <= 100 else None


class Backend(BaseHTTPRequestHandler):
    """The page and its script, and `POST /publish`."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/config.json":
            self.reply(200, json.dumps({"url": SOCKUDO, "key": KEY}).encode(), "application/json")
        elif path in FILES:
            name, media_type = FILES[path]
            self.reply(200, (HERE / name).read_bytes(), media_type)
        else:
            self.reply(404, b"{}", "application/json")

    def do_POST(self) -> None:
        # Pages of other origins cannot send this type.
        is_json = self.headers.get("Content-Type") == "application/json"
        size = int(self.headers.get("Content-Length") or 0)
        if self.path != "/publish" or not is_json or not 0 < size <= LARGEST:
            self.close_connection = True
            self.reply(400, b"{}", "application/json")
            return
        try:
            said = line(json.loads(self.rfile.read(size)))
        except ValueError:
            said = None
        self.reply(publish(said) if said else 400, b"{}", "application/json")

    def reply(self, status: int, content: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    port = int(sys.argv[1]) if sys.argv[1:] else 8080
    with ThreadingHTTPServer(("127.0.0.1", port), Backend) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
