"""Messages that change as a history stores them (spec: messages § 2 and 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from sockudo import errors
from sockudo.apps.policies import VersionsPolicy
from sockudo.base.message_records import Data, Mutation, Version, log_of
from sockudo.base.stream_records import Append, Committed, Create, Position
from sockudo.base.tasks import end_tasks
from sockudo.errors import SockudoError
from sockudo.hub.streams.versions import with_data
from sockudo.protocol.frames import Frame

__all__ = ["Changing", "as_change", "as_create", "data_of", "serials_of", "unchangeable"]

# Keys of operations count as long as versions do; for ever is a time that fits into every store.
_FOR_EVER: Final = 1 << 60

_log = structlog.get_logger("sockudo.publishing")

_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode


def as_create(
    append: Append, frame: Frame, versions: VersionsPolicy, serial: tuple[str, int], owner: str | None
) -> Append:
    """An append of a message that can change, from that of one that cannot; ``owner`` is the client that publishes."""
    name, now_ms = serial
    version = Version(
        "create",
        name,
        name,
        now_ms,
        name=frame.event,
        extras=frame.extras,
        owner=owner,
        user_id=frame.user_id,
        client_id=owner,
        tags=frame.tags,
        message_id=frame.message_id,
    )
    return replace(
        append,
        channel=log_of(append.channel),
        message=append.message[:-1] + b',"message_serial":' + _encode(name) + b"}",
        retention=versions.retention,
        change=Create(with_data(version, data_of(frame.data)), append.channel, append.retention),
    )


def data_of(data: Data) -> Data:
    """Data as a version has them: a JSON string is text, and JSON null is none."""
    if not isinstance(data, msgspec.Raw):
        return data
    text = bytes(data)
    if text.startswith(b'"'):
        return _decode_text(text)
    return None if text in {b"", b"null"} else data


def as_change(
    app_id: str, channel: str, mutation: Mutation, versions: VersionsPolicy, now_ms: int, key: str | None, mark: bytes
) -> Append:
    """An append of a change to a message."""
    mutation = replace(mutation, most_bytes=versions.max_message_bytes, most_appends=versions.max_appends)
    data = mutation.data
    # What waits to be stored is counted by its size; the store makes the row.
    weight = data.encode(errors="surrogatepass") if isinstance(data, str) else bytes(data) if data else b""
    return Append(
        app_id,
        log_of(channel),
        weight,
        mutation.version_serial,
        None,
        now_ms,
        versions.retention,
        key=key,
        fingerprint=mark,
        key_ttl_ms=versions.retention.window_ms or _FOR_EVER,
        change=mutation,
    )


def serials_of(version: Version, place: Position) -> dict[str, str | int]:
    """What a publisher learns of a version that was stored."""
    return {
        "acknowledgement_id": version.version_serial,
        "message_serial": version.message_serial,
        "history_serial": version.history_serial,
        "delivery_serial": place.serial,
        "version_serial": version.version_serial,
    }


def unchangeable(channel: str) -> SockudoError:
    """Why the messages of a channel cannot change."""
    return errors.FEATURE_DISABLED(
        f"Messages of channel '{channel}' cannot change: that needs versioned_messages.enabled, and a history: "
        "history.enabled, for the server or the app"
    )


class Changing:
    """Changes that are being stored without all of their text, and what is being read for those who want it."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], asyncio.Future[Committed]] = {}
        self._reading: set[asyncio.Task[None]] = set()

    def note(
        self, app_id: str, channel: str, pending: asyncio.Future[Committed], whole: bool
    ) -> asyncio.Future[Committed]:
        """A change is being stored, ``whole`` with all of its text; returns it."""
        if not whole:
            key = app_id, channel
            self._newest[key] = pending
            pending.add_done_callback(lambda done: self._done(key, done))
        return pending

    def _done(self, key: tuple[str, str], done: asyncio.Future[Committed]) -> None:
        if self._newest.get(key) is done:
            del self._newest[key]

    async def settled(self, app_id: str, channel: str) -> None:
        """Returns once every change has been delivered that was on its way without all of its text."""
        pending = self._newest.get((app_id, channel))
        if pending is not None:
            await asyncio.wait({pending})

    def read(self, reading: Coroutine[Any, Any, None]) -> None:
        """Reads what has to come from the store; what fails is read with the next one."""
        task = asyncio.get_running_loop().create_task(_read(reading))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def close(self) -> None:
        """Gives up what is being read."""
        await end_tasks(list(self._reading))


async def _read(reading: Coroutine[Any, Any, None]) -> None:
    try:
        await reading
    except SockudoError as problem:
        _log.warning("changes of other nodes cannot be read", reason=problem.text)
