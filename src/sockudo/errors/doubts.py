"""Requests that are accepted and probably not what their sender meant: for operators alone, never for the sender."""

from __future__ import annotations

from sockudo.errors.spec import row

__all__ = [
    "CHANNEL_NEAR_MISS",
    "CLIENT_PREFIX_MISSING",
    "CORS_HEADER",
    "DATA_ENCODED_TWICE",
    "EVENT_LEADING_DOT",
    "NOT_ENCRYPTED",
    "SOCKET_ID_UNUSABLE",
]

CHANNEL_NEAR_MISS = row(
    "channel_near_miss",
    "A message went to a channel without subscribers, and one with nearly the same name has some.",
    causes=("upper and lower case: names are case-sensitive", "a prefix such as private- on one side alone"),
    remedy="Use one spelling in the backend and in the client. The prefix is a part of the name: Echo's private('x') "
    "subscribes to private-x.",
)
EVENT_LEADING_DOT = row(
    "event_leading_dot",
    "The name of a published event begins with a dot, so clients that listen without it do not get it.",
    causes=("the dot of Laravel Echo's listen('.name') was copied to the backend",),
    remedy="Publish the name without the dot. In Echo the dot belongs to listen('.name') alone: it says that no "
    "namespace is put before the name.",
)
DATA_ENCODED_TWICE = row(
    "data_encoded_twice",
    "The data of a published event is JSON within JSON: clients get a text where they expect an object.",
    causes=("the backend encoded the data, and its SDK encoded it once more",),
    remedy="Hand the SDK the object itself; without an SDK, encode it once and send that text as data.",
)
NOT_ENCRYPTED = row(
    "not_encrypted",
    "What was published to an encrypted channel is not encrypted: clients cannot read it, and it travelled in clear.",
    causes=("the backend's SDK has no encryption master key", "a message that was published without an SDK"),
    remedy="Give the backend's SDK its encryption master key (encryption_master_key_base64), or use a private- "
    "channel.",
)
SOCKET_ID_UNUSABLE = row(
    "socket_id_unusable",
    "The socket_id of a publish is none that a connection can have, so its sender got the message, too.",
    causes=("the page asked for its socket_id before it was connected", "a missing X-Socket-ID header, made a text"),
    remedy="Send the socket_id of the connection (pusher.connection.socket_id) once it is connected; leave the field "
    "out until then.",
)
CLIENT_PREFIX_MISSING = row(
    "client_prefix_missing",
    "A client sent an event that is neither the protocol's nor a client event; it was ignored.",
    causes=("a client event without client- at the beginning of its name", "a client of another protocol"),
    remedy="Client events begin with client-: channel.trigger('client-typing', …). Echo's whisper('typing') adds it.",
)
CORS_HEADER = row(
    "cors_header",
    "A browser asked to send a header that CORS does not allow, and will not send the request.",
    causes=("a header that the page's HTTP library adds by itself, such as X-CSRF-Token",),
    remedy="Add the header to cors.allowed_headers (CORS_HEADERS), or have the page not send it.",
)
