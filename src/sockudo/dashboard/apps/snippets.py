"""Code to paste for an app: a client in a page, and backends that publish."""

from __future__ import annotations

import html
import json
import shlex
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from sockudo.config.apps import App
from sockudo.dashboard.board import Board

__all__ = ["EVERYWHERE", "Snippet", "chat", "snippets"]

SECRET = "YOUR-SECRET"  # noqa: S105 - what stands in its place

EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
"""Addresses to listen on that are none to connect to."""
_CHANNEL, _EVENT = "my-channel", "my-event"
_MAIN = "Clients and HTTP API"


class Snippet(NamedTuple):
    """``name`` is an id within the page."""

    name: str
    title: str
    code: str
    secret: bool = False


def snippets(board: Board, app: App, reached: str, *, reveal: bool) -> list[Snippet]:
    """For this server, under the name by which the operator's browser has reached it."""
    secure, host, port = _address(board, reached)
    secret = app.secret if reveal else SECRET
    return [
        Snippet("javascript", "JavaScript, in a page", _javascript(app, _url(host, port, secure=secure))),
        Snippet(
            "python", "Python, in a backend (pusher)", _python(app, secret, host, port, secure=secure), secret=True
        ),
        Snippet("curl", "A shell, with curl", _curl(app, secret, host, port, secure=secure), secret=True),
    ]


def _address(board: Board, reached: str) -> tuple[bool, str, int]:
    """TLS or not, host and port of the main listener."""
    settings = board.settings
    url = urlsplit(next((where for what, where in board.listeners if what == _MAIN), ""))
    try:
        name = urlsplit(f"//{reached}").hostname
    except ValueError:
        name = None
    host = settings.host if settings.host not in EVERYWHERE else name or "127.0.0.1"
    return settings.ssl.enabled, host, (url.port if url.scheme != "unix" else None) or settings.port


def chat(board: Board, app: App, reached: str) -> Snippet:
    """A whole chat to paste into an empty page. It signs for itself, as only a secret that everybody knows allows."""
    secure, host, port = _address(board, reached)
    url = _url(host, port, secure=secure)
    code = f"""\
<script type="module">
  import Sockudo from {_script(f"{url}/client/sockudo.mjs")}

  document.body.innerHTML = "<form><input name=text placeholder=Message autocomplete=off></form><ul></ul>"
  const form = document.querySelector("form"), list = document.querySelector("ul")

  // In production your backend signs, and no page has the secret: docs/browser.md.
  const bytes = (text) => new TextEncoder().encode(text)
  async function sign({{ socketId, channelName }}, done) {{
    const hmac = {{ name: "HMAC", hash: "SHA-256" }}
    const key = await crypto.subtle.importKey("raw", bytes({_script(app.secret)}), hmac, false, ["sign"])
    const signature = new Uint8Array(await crypto.subtle.sign(hmac, key, bytes(`${{socketId}}:${{channelName}}`)))
    const hex = [...signature].map((byte) => byte.toString(16).padStart(2, "0")).join("")
    done(null, {{ auth: {_script(f"{app.key}:")} + hex }})
  }}

  const sockudo = new Sockudo({_script(app.key)}, {{
    url: {_script(url)}, channelAuthorization: {{ customHandler: sign }},
  }})
  const room = sockudo.subscribe("private-chat", {{ rewind: 100 }})
  room.bind("client-said", ({{ id, text: textContent }}) => {{
    if (document.getElementById(id)) return
    list.append(Object.assign(document.createElement("li"), {{ id, textContent }}))
  }})
  room.bind("gap", () => location.reload())

  form.onsubmit = async (event) => {{
    event.preventDefault()
    const said = {{ id: crypto.randomUUID(), text: form.text.value }}
    form.reset()
    const isTaken = () => room.publish("client-said", said).then(() => true, ({{ code }}) => code !== 1006)
    // The line broke before the answer: the same again, which its id makes known.
    while (!(await isTaken())) await room.subscribed()
  }}
</script>"""
    return Snippet("chat", "A chat that loses nothing, in a page", code, secret=True)


def _url(host: str, port: int, *, secure: bool) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}"


def _javascript(app: App, url: str) -> str:
    return f"""\
<script src="{html.escape(f"{url}/client/sockudo.js")}"></script>
<script>
  const sockudo = new Sockudo({_script(app.key)})
  sockudo.subscribe("{_CHANNEL}").bind("{_EVENT}", (data) => console.log(data))
</script>"""


def _script(text: str) -> str:
    # What ends a script must not stand in one.
    return json.dumps(text).replace("</", "<\\/")


def _python(app: App, secret: str, host: str, port: int, *, secure: bool) -> str:
    note = (
        ""
        if app.id.isdecimal()
        else "# This SDK takes app ids that are numbers only; make an app with such an id for it.\n"
    )
    return f"""\
import pusher

{note}client = pusher.Pusher(
    app_id={app.id!r}, key={app.key!r}, secret={secret!r},
    host={host!r}, port={port}, ssl={secure},
)
client.trigger("{_CHANNEL}", "{_EVENT}", {{"hello": "world"}})"""


def _curl(app: App, secret: str, host: str, port: int, *, secure: bool) -> str:
    url = _url(host, port, secure=secure)
    body = json.dumps({"name": _EVENT, "channel": _CHANNEL, "data": json.dumps({"hello": "world"})})
    path = f"/apps/{quote(app.id, safe='')}/events"
    return f"""\
SECRET={shlex.quote(secret)}
BODY={shlex.quote(body)}
MD5=$(printf %s "$BODY" | openssl dgst -md5 -r | cut -d' ' -f1)
QUERY="auth_key="{shlex.quote(quote(app.key, safe=""))}"&auth_timestamp=$(date +%s)&auth_version=1.0&body_md5=$MD5"
TO_SIGN=$(printf 'POST\\n%s\\n%s' {shlex.quote(path)} "$QUERY")
SIGNATURE=$(printf %s "$TO_SIGN" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d' ' -f1)
curl -sS -H 'Content-Type: application/json' -d "$BODY" \\
  {shlex.quote(url + path)}"?$QUERY&auth_signature=$SIGNATURE\""""
