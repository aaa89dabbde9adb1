"""Following what happens on a server, as a page or a program does: an event stream, read in a thread of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from support.server import ServerProcess
from support.signing import Credentials, signed_query
from support.waiting import PATIENCE, Mailbox

__all__ = ["EntryStream", "fits", "signed_stream"]


def fits(entry: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an entry has these values."""
    return all(entry.get(name) == value for name, value in wanted.items())


class EntryStream:
    """One stream, past its hello. ``entries`` are those of all pieces in order; ``skipped`` is what was left out."""

    def __init__(
        self, server: ServerProcess, target: str, *, port: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.entries: Mailbox[dict[str, Any]] = Mailbox("the stream")
        self.events: Mailbox[tuple[str, dict[str, Any]]] = Mailbox("the stream's events")
        self.skipped = 0
        self.comments = 0
        self.ended = threading.Event()
        self._connection = http.client.HTTPConnection(server.host, port or server.port, timeout=60)
        self._connection.request("GET", target, headers=dict(headers or {}))
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        assert self.status == 200, (self.status, self._response.read())
        assert self.headers["content-type"].startswith("text/event-stream")
        self._thread.start()
        self.hello = self.events.next(lambda event: event[0] == "hello", "hello")[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Goes away without a word."""
        if self._connection.sock is not None:
            with contextlib.suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def entry(self, **wanted: Any) -> dict[str, Any]:
        """The next entry with these values."""
        return self.entries.next(lambda entry: fits(entry, wanted), f"an entry with {wanted}")

    def end(self) -> dict[str, Any]:
        """The last event, after which the server has ended the stream."""
        data = self.events.next(lambda event: event[0] == "end", "the end")[1]
        assert self.ended.wait(PATIENCE), "the stream goes on after its end"
        return data

    def _read(self) -> None:
        event, data = "", ""
        try:
            while line := self._response.readline():
                text = line.decode().removesuffix("\n")
                if text.startswith(":"):
                    self.comments += 1
                elif text.startswith("event: "):
                    event = text.removeprefix("event: ")
                elif text.startswith("data: "):
                    data = text.removeprefix("data: ")
                elif not text and event:
                    self._take(event, json.loads(data))
                    event = data = ""
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            # Closed by the test in the middle of a read.
            pass
        finally:
            self.ended.set()

    def _take(self, event: str, data: dict[str, Any]) -> None:
        if event == "entries":
            self.skipped += data["skipped"]
            for entry in data["entries"]:
                self.entries.put(entry)
        self.events.put((event, data))


def signed_stream(server: ServerProcess, app: Credentials | None = None, **selection: str) -> EntryStream:
    """The stream of an app on the public port."""
    who = app or server.app
    path = f"/apps/{who.id}/inspector/stream"
    return EntryStream(server, f"{path}?{signed_query(who, 'GET', path, params=selection)}")
