"""What a field of an app record means and which numbers it takes; and plain values to the structs of a record: types,
bounds and unknown names (spec: platform § 2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import structs

from sockudo.config.keys import U32
from sockudo.config.problems import nearest
from sockudo.config.values import read_bool, read_number, read_text

__all__ = ["APP_FIELDS", "AppField", "Shaper", "field_default"]


class AppField(msgspec.Struct, frozen=True):
    """One field. ``low`` and ``high`` bound a number, both included."""

    meaning: str
    low: int = 0
    high: int = U32


_SERVERS = "the server's default"
_WIDER = "the app's, else the server's"
_MANY = 2**53


def _history(path: str, wider: str) -> dict[str, AppField]:
    return {
        f"{path}.rewind_enabled": AppField(f"A subscription may begin with earlier messages; null = {wider}"),
        f"{path}.retention_window_seconds": AppField(
            f"How long a message is stored, in seconds; null = {wider}", low=1
        ),
        f"{path}.max_messages_per_channel": AppField(
            f"Messages stored of a channel; 0 = no limit, null = {wider}", high=_MANY
        ),
        f"{path}.max_bytes_per_channel": AppField(
            f"Bytes stored of a channel; 0 = no limit, null = {wider}", high=_MANY
        ),
    }


def _presence_history(path: str, wider: str) -> dict[str, AppField]:
    return {
        f"{path}.enabled": AppField(f"Who comes to and leaves presence channels is stored; null = {wider}"),
        f"{path}.retention_window_seconds": AppField(
            f"How long one of these events is stored, in seconds; null = {wider}", low=1
        ),
        f"{path}.max_events_per_channel": AppField(
            f"Events stored of a channel; 0 = no limit, null = {wider}", high=_MANY
        ),
        f"{path}.max_bytes_per_channel": AppField(
            f"Bytes stored of a channel; 0 = no limit, null = {wider}", high=_MANY
        ),
    }


APP_FIELDS: Mapping[str, AppField] = {
    "id": AppField("Stands in the paths of the HTTP API"),
    "key": AppField("Public name: clients connect with it, publishers sign with it"),
    "secret": AppField("Signs requests and channel authorizations; never leaves the server"),
    "previous_secret": AppField("The secret before, which is accepted for a while after a rotation; null = none"),
    "previous_secret.secret": AppField("It; what the server signs itself has the new one"),
    "previous_secret.until": AppField("When it ends, in Unix seconds"),
    "enabled": AppField("A disabled app takes neither connections nor requests"),
    "policy.limits.max_connections": AppField("Connections of the app; 0 = no limit"),
    "policy.limits.max_client_events_per_second": AppField("Client events of one connection in a window; 0 = no limit"),
    "policy.limits.decay_seconds": AppField("That window, in seconds", low=1),
    "policy.limits.terminate_on_limit": AppField("Over that limit the connection is closed, not only refused"),
    "policy.limits.message_rate_limit.enabled": AppField("Every message of a connection is counted"),
    "policy.limits.message_rate_limit.max_attempts": AppField("Messages of one connection in a window", low=1),
    "policy.limits.message_rate_limit.decay_seconds": AppField("That window, in seconds", low=1),
    "policy.limits.message_rate_limit.terminate_on_limit": AppField("Over that limit the connection is closed"),
    "policy.limits.max_backend_events_per_second": AppField("Events published over HTTP; null or 0 = no limit"),
    "policy.limits.max_read_requests_per_second": AppField("Queries over HTTP; null or 0 = no limit"),
    "policy.limits.max_presence_members_per_channel": AppField(f"Members of a presence channel; null = {_SERVERS}"),
    "policy.limits.max_presence_member_size_in_kb": AppField(f"Size of a member's user_info; null = {_SERVERS}"),
    "policy.limits.max_channel_name_length": AppField(f"Longest channel name; null = {_SERVERS}"),
    "policy.limits.max_event_channels_at_once": AppField(f"Channels of one publish; null = {_SERVERS}"),
    "policy.limits.max_event_name_length": AppField(f"Longest event name; null = {_SERVERS}"),
    "policy.limits.max_event_payload_in_kb": AppField(f"Largest data of an event; null = {_SERVERS}"),
    "policy.limits.max_event_batch_size": AppField(f"Events of one batch; null = {_SERVERS}"),
    "policy.features.enable_client_messages": AppField("Clients may send client events"),
    "policy.features.enable_user_authentication": AppField(
        "Clients may sign in; a connection that authorizes nothing is closed"
    ),
    "policy.features.enable_watchlist_events": AppField(
        "Signed-in users get events when users on their watchlist come and go"
    ),
    "policy.features.enable_subscription_count": AppField("Subscribers get the number of subscriptions"),
    "policy.features.enable_subscription_error": AppField("A refused subscribe is answered on the channel as well"),
    "policy.channels.allowed_origins": AppField("Origin patterns of pages that may connect; none = every page"),
    "policy.channels.annotations_enabled": AppField("Kept; no effect in this version"),
    "policy.channels.channel_delta_compression": AppField(
        "Map from channel patterns to how differences are made; see below"
    ),
    "policy.channels.v1_recovery": AppField(
        "Protocol V1 too: messages carry a serial in an optional field, and a client that asks may resume with "
        "`pusher:resume`; null = false"
    ),
    "policy.channels.channel_namespaces": AppField("Rules for channels named `name:…`; see below"),
    "policy.channels.channel_namespaces.name": AppField("The namespace, without `:`"),
    "policy.channels.channel_namespaces.channel_name_pattern": AppField(
        "Regular expression that the channel name must contain"
    ),
    "policy.channels.channel_namespaces.max_channel_name_length": AppField("In place of the app's limit", low=1),
    "policy.channels.channel_namespaces.annotations_enabled": AppField("Kept; no effect in this version"),
    "policy.channels.channel_namespaces.allow_user_limited_channels": AppField(
        "Channels for listed users; protocol V2 only"
    ),
    "policy.channels.channel_namespaces.allow_subscribe_for_client": AppField("Protocol V2 only; false denies"),
    "policy.channels.channel_namespaces.allow_publish_for_client": AppField("Protocol V2 only; false denies"),
    "policy.channels.channel_namespaces.allow_presence_for_client": AppField("Protocol V2 only; false denies"),
    **_history("policy.channels.channel_namespaces.history", _WIDER),
    **_presence_history("policy.channels.channel_namespaces.presence_history", _WIDER),
    "policy.webhooks": AppField("Endpoints that get events; see Webhooks in `docs/webhooks.md`"),
    "policy.idempotency.enabled": AppField(f"Idempotency keys are honoured; null = {_SERVERS}"),
    "policy.idempotency.ttl_seconds": AppField(f"How long a key is remembered, in seconds; null = {_SERVERS}", low=1),
    "policy.connection_recovery.enabled": AppField(f"Channels keep their last messages; null = {_SERVERS}"),
    "policy.connection_recovery.buffer_ttl_seconds": AppField(
        f"How long a message is kept there, in seconds; null = {_SERVERS}", low=1
    ),
    "policy.connection_recovery.max_buffer_size": AppField(f"Messages that a channel keeps; null = {_SERVERS}", low=1),
    "policy.history.enabled": AppField(f"Messages are stored; null = {_SERVERS}"),
    **_history("policy.history", _SERVERS),
    **_presence_history("policy.presence_history", _SERVERS),
}
"""Every field by its dotted path."""


# ---- shape ----


_INDEX = re.compile(r"\[\d+\]")
_FLAT_PREFIX = re.compile(r"^policy\.(?:(?:limits|features|channels)\.)?")


class Shaper:
    """Reads one record. What is wrong goes to ``problems`` under ``label``, and the field gets its default.

    ``flat`` says that the record is in the legacy form, so that fields are named the way they stand there.
    """

    def __init__(self, label: str, problems: list[str], *, flat: bool) -> None:
        self._label = label
        self._problems = problems
        self._flat = flat

    def refuse(self, path: str, text: str) -> None:
        """Notes a problem with a field."""
        shown = _FLAT_PREFIX.sub("", path) if self._flat else path
        self._problems.append(f"{self._label}: {shown} {text}")

    def struct(self, struct: type[msgspec.Struct], raw: object, path: str) -> Any:
        """A struct from an object; null is an empty one."""
        if raw is not None and not isinstance(raw, Mapping):
            self.refuse(path, "is not an object")
        given = raw if isinstance(raw, Mapping) else {}
        fields = _fields(struct)
        for name in given:
            if name not in fields:
                guess = nearest(str(name), fields)
                self.refuse(f"{path}.{name}", "is not known" + (f"; did you mean '{guess}'?" if guess else ""))
        return struct(
            **{
                name: self.value(hint, given.get(name), default, f"{path}.{name}")
                for name, (hint, default) in fields.items()
            }
        )

    def value(self, hint: Any, raw: Any, default: Any, path: str) -> Any:
        """A value of the hinted type; null is the default."""
        if raw is None:
            return default
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(hint, raw, path)
        if get_origin(hint) is tuple:
            return self._tuple(get_args(hint)[0], raw, path)
        try:
            return _scalar(hint, raw, path)
        except ValueError as error:
            self.refuse(path, f"= {raw!r} {error}")
            return default

    def _tuple(self, item: Any, raw: Any, path: str) -> tuple[Any, ...]:
        if isinstance(raw, str) and item is str:
            raw = [part.strip() for part in raw.split(",")]
        if not isinstance(raw, (list, tuple)):
            self.refuse(path, "is not a list")
            return ()
        if item is str:
            return tuple(self.value(item, part, "", path) for part in raw)
        empty: Any = {}
        return tuple(
            self.value(item, empty if part is None else part, empty, f"{path}[{number}]")
            for number, part in enumerate(raw)
        )


@cache
def _fields(struct: type[msgspec.Struct]) -> Mapping[str, tuple[Any, Any]]:
    """Type and default of each field; a required one has the empty text for a default, which the rules refuse."""
    return {
        field.name: (_present(field.type), "" if field.default is msgspec.NODEFAULT else field.default)
        for field in structs.fields(struct)
    }


def field_default(struct: type[msgspec.Struct], path: str) -> Any:
    """The default of a field by its dotted path below ``struct``; ``msgspec.NODEFAULT`` when it is required."""
    name, _, rest = path.partition(".")
    field = next(field for field in structs.fields(struct) if field.name == name)
    if not rest:
        return field.default
    hint = _present(field.type)
    return field_default(get_args(hint)[0] if get_origin(hint) is tuple else hint, rest)


def _present(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _scalar(hint: Any, raw: Any, path: str) -> Any:
    if hint is bool:
        return read_bool(raw)
    if hint is int:
        bounds = APP_FIELDS[_INDEX.sub("", path)]
        return read_number(raw, bounds.low, bounds.high)
    if hint is str:
        return read_text(raw)
    if not isinstance(raw, Mapping):
        raise ValueError("is not an object")
    return dict(raw)
