"""Whether a connection may join a protected channel, or be the user it claims to be (spec: websocket § 6.3 and 8.1)."""

from __future__ import annotations

from sockudo.apps.live import LiveApp

__all__ = ["channel_message", "check_channel_auth", "check_user_auth"]


def check_channel_auth(app: LiveApp, socket_id: str, channel: str, auth: str, channel_data: str | None) -> bool:
    """Whether ``auth`` is ``key:signature`` for this very connection, channel and ``channel_data``.

    ``channel_data`` is the exact text received on a presence channel; other channels do not sign any. A presence
    channel without it is signed like a private one, which is what a signed-in client sends.
    """
    return _is_auth(app, channel_message(socket_id, channel, channel_data), auth)


def check_user_auth(app: LiveApp, socket_id: str, auth: str, user_data: str) -> bool:
    """Whether ``auth`` is ``key:signature`` for this very connection and ``user_data``, as it was received."""
    return _is_auth(app, f"{socket_id}::user::{user_data}".encode("utf-8", "surrogatepass"), auth)


def channel_message(socket_id: str, channel: str, channel_data: str | None) -> bytes:
    """What a backend signs to let a connection join a channel."""
    if channel_data is not None and channel.startswith("presence-"):
        return f"{socket_id}:{channel}:{channel_data}".encode("utf-8", "surrogatepass")
    return f"{socket_id}:{channel}".encode("utf-8", "surrogatepass")


def _is_auth(app: LiveApp, message: bytes, auth: str) -> bool:
    key, _, signature = auth.rpartition(":")
    return app.signer.matches(message, signature) and key == app.key
