"""What was accepted and can hardly have been meant, noticed for operators at next to no cost.

A publish costs a few comparisons. What takes longer, and the entry itself, comes at most once a minute for each doubt
and name; names that are compared with others, at most twenty times a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from sockudo import errors
from sockudo.errors import ErrorSpec
from sockudo.hub.app_state import AppState
from sockudo.inspector.entry import Entry
from sockudo.inspector.misnamed import similar_name
from sockudo.protocol.names import ChannelKind

__all__ = ["Doubts"]

_PAUSE: Final = 60.0
_MOST: Final = 1000
_LOOKS_A_SECOND: Final = 20
_SHOWN: Final = 200
_SOCKET_ID: Final = re.compile(r"[0-9]+\.[0-9]+")

_decode: Final = msgspec.json.Decoder().decode

# How the text of JSON begins that holds an object or an array as text.
_ENCODED: Final = ('"{', '"[')


class Doubts:
    """``note`` takes entries; ``time`` are seconds of any clock."""

    def __init__(self, note: Callable[[Entry], None], time: Callable[[], float]) -> None:
        self._note = note
        self._time = time
        # When each is noted again; all are forgotten when there are too many.
        self._quiet: dict[tuple[str, str | None, str], float] = {}
        self._second = 0
        self._looks = 0

    def published(self, state: AppState, channel: str, kind: ChannelKind, event: str, data: object) -> None:
        """A backend published this."""
        if event[:1] == ".":
            text = f"the event is called '{event[:_SHOWN]}', with a dot at its beginning"
            self._tell(errors.EVENT_LEADING_DOT, state.app_id, event, text, channel=channel, event=event)
        if isinstance(data, str):
            if data[:2] in _ENCODED:
                self._encoded(state, channel, event, data)
            if kind.encrypted and not ("ciphertext" in data and "nonce" in data):
                text = "data has neither nonce nor ciphertext"
                self._tell(errors.NOT_ENCRYPTED, state.app_id, channel, text, channel=channel, event=event)
        if not kind.user and not state.subscription_count(channel):
            self._unheard(state, channel, event)

    def excluded(self, app_id: str, socket_id: str, channel: str | None) -> None:
        """A publish is not for this socket, which is not there."""
        if _SOCKET_ID.fullmatch(socket_id) is None:
            text = f"socket_id is '{socket_id[:_SHOWN]}'"
            self._tell(errors.SOCKET_ID_UNUSABLE, app_id, socket_id, text, channel=channel)

    def ignored(self, app_id: str, event: str, channel: str | None, socket_id: str, address: str) -> None:
        """A client sent an event that means nothing; its name is the client's, so an app has one at a time."""
        text = f"the event '{event[:_SHOWN]}' was ignored"
        spec = errors.CLIENT_PREFIX_MISSING
        self._tell(spec, app_id, "", text, channel=channel, event=event[:_SHOWN], socket_id=socket_id, address=address)

    def preflight(self, header: str, origin: str | None) -> None:
        """A browser asked whether it may send this header, and may not."""
        text = f"the header '{header[:_SHOWN]}' is not in cors.allowed_headers"
        self._tell(errors.CORS_HEADER, None, "", text, origin=origin and origin[:_SHOWN])

    def _encoded(self, state: AppState, channel: str, event: str, data: str) -> None:
        try:
            inner = _decode(data)
            if not isinstance(inner, str) or not isinstance(_decode(inner), dict | list):
                return
        except (msgspec.DecodeError, UnicodeError):
            return
        text = "data is a JSON text that holds another one"
        self._tell(errors.DATA_ENCODED_TWICE, state.app_id, event, text, channel=channel, event=event)

    def _unheard(self, state: AppState, channel: str, event: str) -> None:
        second = int(self._time())
        if second != self._second:
            self._second, self._looks = second, 0
        if self._looks >= _LOOKS_A_SECOND:
            return
        self._looks += 1
        other = similar_name(state, channel)
        if other is None or state.matches_pattern(channel):
            return
        text = f"no client is subscribed to {channel}, and {state.subscription_count(other)} to {other}"
        self._tell(errors.CHANNEL_NEAR_MISS, state.app_id, channel, text, channel=channel, event=event)

    def _tell(
        self,
        spec: ErrorSpec,
        app_id: str | None,
        about: str,
        text: str,
        *,
        channel: str | None = None,
        event: str | None = None,
        socket_id: str | None = None,
        address: str | None = None,
        origin: str | None = None,
    ) -> None:
        key = (spec.slug, app_id, about)
        now = self._time()
        if now < self._quiet.get(key, 0.0):
            return
        if len(self._quiet) >= _MOST:
            self._quiet.clear()
        self._quiet[key] = now + _PAUSE
        entry = Entry(
            int(now * 1000),
            "doubtful",
            app_id,
            channel,
            socket_id,
            address=address,
            event=event,
            error=spec.slug,
            text=text,
            origin=origin,
        )
        self._note(entry)
