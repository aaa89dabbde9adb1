"""Changes of messages, from what is asked for to what is answered (spec: messages § 4 and 7)."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.policies import VersionsPolicy
from sockudo.base.message_records import NOTHING, Change, Mutation, Refusal
from sockudo.errors import SockudoError
from sockudo.hub import AppState
from sockudo.publishing.publisher import Publisher
from sockudo.publishing.versioned import serials_of

__all__ = ["ChangeRequest", "Changes", "operation_of"]

_encode = msgspec.json.Encoder(order="deterministic").encode


class ChangeRequest(msgspec.Struct, frozen=True):
    """What is asked for. A field that is UNSET stays as it is, one that is None is removed.

    ``client_id`` is in whose name; with an ``owner`` only that client's own message may be changed. ``actor`` is the
    client that asks, None for the app's backend.
    """

    action: Change
    message_serial: str
    name: str | UnsetType | None = UNSET
    data: str | msgspec.Raw | UnsetType | None = UNSET
    extras: dict[str, Any] | UnsetType | None = UNSET
    client_id: str | None = None
    owner: str | UnsetType | None = UNSET
    actor: str | None = None
    description: str | None = None
    metadata: msgspec.Raw = NOTHING
    op_id: str | None = None


class Changes:
    """Applies changes through the one `Publisher`."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def apply(self, app: LiveApp, state: AppState, channel: str, request: ChangeRequest) -> dict[str, Any]:
        """Changes a message and returns the answer, once it is stored and was delivered.

        Raises errors.MESSAGE_NOT_FOUND, errors.MUTATION_DENIED, errors.VERSION_CONFLICT, errors.INVALID_INPUT for an
        append to data that are no text, errors.MESSAGE_TOO_LONG, and what `Publisher.change` does.
        """
        key, mark = (None, b"") if request.op_id is None else operation_of(app.id, channel, request)
        pending = self._publisher.change(app, state, channel, self._mutation(request), key, mark)
        outcome = await asyncio.shield(pending)
        if outcome.conflict:
            raise errors.VERSION_CONFLICT(f"op_id '{request.op_id}' was already used for another {request.action}")
        if outcome.refused is not None:
            versions = None if app.streams is None else app.streams.versions_of(channel)
            raise _refusal(outcome.refused, channel, request, versions)
        version = outcome.version
        if version is None:
            latest = await self._publisher.history.service.messages.at(app.id, channel, outcome.position.serial)
            if latest is None:
                raise _not_found(channel, request)
            version = latest.version
        serials = serials_of(version, outcome.position)
        return {
            "channel": channel,
            "message_serial": request.message_serial,
            "action": request.action,
            "accepted": True,
            "version_serial": serials["version_serial"],
            "history_serial": serials["history_serial"],
            "delivery_serial": serials["delivery_serial"],
            "status": "duplicate" if outcome.repeated else "applied",
        }

    def _mutation(self, request: ChangeRequest) -> Mutation:
        serial, now_ms = self._publisher.serials.next()
        return Mutation(
            request.action,
            request.message_serial,
            serial,
            now_ms,
            request.name,
            request.data,
            request.extras,
            request.client_id,
            request.description,
            request.metadata,
            request.owner,
        )


def operation_of(app_id: str, channel: str, request: ChangeRequest) -> tuple[str, bytes]:
    """The key of an operation, and the fingerprint of what it does."""
    parts = (app_id, channel, request.message_serial, f"message.{request.action}", request.op_id or "")
    digest = hashlib.sha256("".join(f"{part}\0" for part in parts).encode(errors="surrogatepass"))
    content = {
        name: "\0" if value is None else bytes(value).decode() if isinstance(value, msgspec.Raw) else value
        for name in request.__struct_fields__
        if name not in {"op_id", "owner"} and (value := getattr(request, name)) is not UNSET
    }
    mark = hashlib.sha256(_encode([app_id, channel, content]))
    return f"idempotency:mutation:v1:{digest.hexdigest()}", mark.digest()


def _refusal(refused: Refusal, channel: str, request: ChangeRequest, versions: VersionsPolicy | None) -> SockudoError:
    match refused:
        case "unknown":
            return _not_found(channel, request)
        case "not_owner":
            return errors.MUTATION_DENIED()
        case "too_long" if versions is not None:
            most = f"{versions.max_message_bytes:,} bytes"
            return errors.MESSAGE_TOO_LONG(f"With this {request.action} the data of the message exceed {most}")
        case "too_often" if versions is not None:
            return errors.MESSAGE_TOO_LONG(
                f"The message has {versions.max_appends:,} appends already, the most there may be"
            )
        case _:
            return errors.INVALID_INPUT("append needs a message whose data are text; replace them with an update")


def _not_found(channel: str, request: ChangeRequest) -> SockudoError:
    return errors.MESSAGE_NOT_FOUND(f"Channel '{channel}' has no message '{request.message_serial}'")
