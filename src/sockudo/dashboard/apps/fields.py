"""Which fields of an app's policy stand on which tab, and how each is filled in (spec: platform § 2.1, 8.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sockudo.config import Settings
from sockudo.config.app_shape import APP_FIELDS, AppField, field_default
from sockudo.config.apps import Policy
from sockudo.config.schema import value_at

__all__ = ["TABS", "Field", "Group", "Kind", "Tab", "fields_of"]

Kind = Literal["number", "switch", "choice", "lines", "json"]
"""``switch`` is on or off, ``choice`` has the default too; ``lines`` are a list of texts, ``json`` one of objects."""

Tab = Literal["limits", "channels"]


# What the reference says of null and of its other chapters does not belong into a form.
_SPOKEN: Final = (
    (", null = the server's default", ""),
    ("; null = the server's default", ""),
    ("; null = false", ""),
    ("null or 0 = no limit", "0 = no limit"),
    ("; see below", ""),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field by its path below ``policy``; ``server`` is the setting that holds where the app says nothing."""

    path: str
    kind: Kind = "number"
    server: str | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """The field's name for people."""
        return self.name or _label_of(self.path)

    @property
    def hint(self) -> str:
        """What it means, in the words of a form."""
        text = self.about.meaning
        for spoken, better in _SPOKEN:
            text = text.replace(spoken, better)
        return text

    @property
    def about(self) -> AppField:
        """What it means and its bounds."""
        return APP_FIELDS[f"policy.{self.path}"]

    def default(self, settings: Settings) -> str:
        """What holds when nothing is given, in words; empty where that needs none."""
        value: Any = value_at(settings, self.server) if self.server else field_default(Policy, self.path)
        if self.kind == "number":
            return "no limit" if not value else f"{value:,}"
        return "on" if value else "off"


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together."""

    title: str
    fields: Sequence[Field]
    text: str = ""


_CLOSE: Final = "Close the connection over that limit"


def _switches(section: str, *names: str) -> list[Field]:
    return [Field(f"{section}.{name}", "choice") for name in names]


def _of_server(section: str, **kinds: Kind) -> list[Field]:
    names = {"enabled": "Switched on"}
    return [Field(f"{section}.{name}", kind, f"{section}.{name}", names.get(name, "")) for name, kind in kinds.items()]


TABS: Final[dict[Tab, Sequence[Group]]] = {
    "limits": (
        Group(
            "Connections and client events",
            (
                Field("limits.max_connections"),
                Field("limits.max_client_events_per_second"),
                Field("limits.decay_seconds", name="Window of client events, in seconds"),
                Field("limits.terminate_on_limit", "switch", name=_CLOSE),
            ),
        ),
        Group(
            "Every message of a connection",
            (
                Field("limits.message_rate_limit.enabled", "switch", name="Limit every message"),
                Field("limits.message_rate_limit.max_attempts", name="Messages in a window"),
                Field("limits.message_rate_limit.decay_seconds", name="Window, in seconds"),
                Field("limits.message_rate_limit.terminate_on_limit", "switch", name=_CLOSE),
            ),
        ),
        Group(
            "HTTP API",
            (
                Field("limits.max_backend_events_per_second"),
                Field("limits.max_read_requests_per_second"),
                Field("limits.max_event_channels_at_once", server="event_limits.max_channels_at_once"),
                Field("limits.max_event_batch_size", server="event_limits.max_batch_size"),
                Field("idempotency.enabled", "choice", "idempotency.enabled", "Idempotency keys"),
                Field("idempotency.ttl_seconds", "number", "idempotency.ttl_seconds", "Idempotency keys, seconds"),
            ),
        ),
        Group(
            "Sizes",
            (
                Field("limits.max_channel_name_length", server="channel_limits.max_name_length"),
                Field("limits.max_event_name_length", server="event_limits.max_name_length"),
                Field("limits.max_event_payload_in_kb", server="event_limits.max_payload_in_kb"),
                Field("limits.max_presence_members_per_channel", server="presence.max_members_per_channel"),
                Field("limits.max_presence_member_size_in_kb", server="presence.max_member_size_in_kb"),
            ),
        ),
    ),
    "channels": (
        Group(
            "Features",
            (
                Field("features.enable_client_messages", "switch"),
                *_switches(
                    "features",
                    "enable_user_authentication",
                    "enable_watchlist_events",
                    "enable_subscription_count",
                    "enable_subscription_error",
                ),
            ),
        ),
        Group("Who may connect", (Field("channels.allowed_origins", "lines"),)),
        Group(
            "Recovery of lost connections",
            (
                *_of_server("connection_recovery", enabled="choice", buffer_ttl_seconds="number"),
                *_of_server("connection_recovery", max_buffer_size="number"),
                Field("channels.v1_recovery", "choice"),
            ),
            "Channels keep their last messages in memory, for clients that come back.",
        ),
        Group(
            "History",
            _of_server(
                "history",
                enabled="choice",
                rewind_enabled="choice",
                retention_window_seconds="number",
                max_messages_per_channel="number",
                max_bytes_per_channel="number",
            ),
            "Messages are stored and can be read again.",
        ),
        Group(
            "Presence history",
            _of_server(
                "presence_history",
                enabled="choice",
                retention_window_seconds="number",
                max_events_per_channel="number",
                max_bytes_per_channel="number",
            ),
            "Who came to a presence channel and left it is stored.",
        ),
        Group(
            "Namespaces and differences",
            (Field("channels.channel_namespaces", "json"), Field("channels.channel_delta_compression", "json")),
            "As JSON, as in a configuration file.",
        ),
    ),
}
"""Everything about an app's policy but its webhooks."""


def fields_of(tab: Tab) -> Iterator[Field]:
    """Every field of a tab."""
    for group in TABS[tab]:
        yield from group.fields


def _label_of(path: str) -> str:
    words = path.rpartition(".")[2].replace("_", " ")
    for name, better in (("ttl", "TTL"), ("kb", "kB"), ("v1", "V1")):
        words = " ".join(better if word == name else word for word in words.split(" "))
    return words[0].upper() + words[1:]
