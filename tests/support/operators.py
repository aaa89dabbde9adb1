"""An operator at the dashboard of a server: with a browser's means (cookie, forms) or a program's (the API)."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

from support.server import Reply, ServerProcess

__all__ = ["PASSWORD", "Operator", "Page", "dashboard_config"]

PASSWORD = "correct horse battery staple"

_TICKED = frozenset({"checkbox", "radio"})


def dashboard_config(**more: Any) -> dict[str, Any]:
    """A configuration with a password for the dashboard, and apps in a store that lasts instead of the file."""
    return {
        "dashboard": {"password": PASSWORD},
        "app_manager": {"driver": "sqlite", "array": {"apps": []}},
        **more,
    }


class _Reader(HTMLParser):
    """Forms of a page, by their action, with what each field holds; and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, list[tuple[str, str]]]] = []
        self.words: list[str] = []
        self._select: str | None = None
        self._area: str | None = None
        self._chosen = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self.forms.append((given.get("action", ""), []))
        elif tag == "select":
            self._select, self._chosen = name, False
        elif tag == "option" and self._select is not None:
            if "selected" in given or not self._chosen:
                self._put(self._select, given.get("value", ""), replace=self._chosen)
                self._chosen = True
        elif tag == "textarea":
            self._area = name
            self._put(name, "")
        elif tag == "input" and name and ("checked" in given or given.get("type") not in _TICKED):
            self._put(name, given.get("value", "on" if given.get("type") in _TICKED else ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        if self._area is not None and self.forms:
            fields = self.forms[-1][1]
            name, value = fields[-1]
            fields[-1] = (name, value + data)
        else:
            self.words.append(data)

    def _put(self, name: str, value: str, *, replace: bool = False) -> None:
        if self.forms:
            fields = self.forms[-1][1]
            if replace:
                fields.pop()
            fields.append((name, value))


class Page:
    """A page as a browser without a script has it."""

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.source = reply.text
        self._read = _Reader(reply.text)

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return " ".join(" ".join(self._read.words).split())

    def form(self, action: str) -> list[tuple[str, str]]:
        """The fields of the form with this action, filled in as the page has them."""
        found = [fields for each, fields in self._read.forms if each == action]
        assert found, f"no form {action} among {[each for each, _ in self._read.forms]}"
        return list(found[0])

    def tags(self, pattern: str) -> list[str]:
        """Tags of the source that fit the pattern."""
        return [html.unescape(each) for each in re.findall(pattern, self.source)]


class Operator:
    """Logged in at a server. Pages go with the cookie, the API with the password."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        reply = self._request("POST", "/dashboard/login", urlencode({"password": PASSWORD}).encode(), {})
        assert reply.status == 303, f"login: {reply.status} {reply.text}"
        self.cookie = reply.headers["set-cookie"].partition(";")[0]

    def _request(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        kind = (
            {} if body is None or "Content-Type" in headers else {"Content-Type": "application/x-www-form-urlencoded"}
        )
        return self.server.request(
            method, target, body=body, headers={**kind, **headers}, port=self.server.metrics_port
        )

    def api(
        self, method: str, path: str, body: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Any:
        """What ``/dashboard/api/v1`` answers; insists on the status."""
        raw = None if body is None else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {PASSWORD}", "Content-Type": "application/json", **(headers or {})}
        reply = self._request(method, f"/dashboard/api/v1{path}", raw, sent)
        assert reply.status == status, f"{method} {path}: {reply.status} {reply.text}"
        return reply.json()

    def page(self, path: str, *, status: int = 200) -> Page:
        """A page."""
        reply = self._request("GET", path, None, {"Cookie": self.cookie})
        assert reply.status == status, f"{path}: {reply.status} {reply.text[:2000]}"
        return Page(reply)

    def submit(
        self,
        page: Page,
        action: str,
        fields: Mapping[str, str | Sequence[str] | None] | None = None,
        *,
        status: int | None = None,
    ) -> Page:
        """Sends a form of the page with some fields filled in otherwise, None for a box that is not ticked.

        Follows to the page that it leads to; with a ``status``, insists on it instead.
        """
        changed = dict(fields or {})
        sent = [(name, value) for name, value in page.form(action) if name not in changed]
        for name, value in changed.items():
            values = [] if value is None else [value] if isinstance(value, str) else list(value)
            sent += [(name, each) for each in values]
        reply = self._request("POST", action, urlencode(sent).encode(), {"Cookie": self.cookie})
        if status is not None:
            assert reply.status == status, f"{action}: {reply.status} {reply.text[:2000]}"
            return Page(reply)
        assert reply.status == 303, f"{action}: {reply.status} {Page(reply).text[:2000]}"
        return self.page(reply.headers["location"])
