"""What only protocol V2 and channels that keep their past refuse (spec: websocket § 10 to 16; history § 3.4)."""

from __future__ import annotations

from sockudo.errors.spec import row

__all__ = [
    "ANNOTATIONS_DISABLED",
    "CAPABILITIES_INVALID",
    "CAPABILITY_DENIED",
    "CONTINUITY_UNVERIFIABLE",
    "FILTER_INVALID",
    "HISTORY_BUSY",
    "HISTORY_DEGRADED",
    "HISTORY_DISABLED",
    "HISTORY_NOT_SUBSCRIBED",
    "HISTORY_QUERY",
    "HISTORY_TOO_MANY",
    "HISTORY_UNAVAILABLE",
    "IDLE_TIMEOUT",
    "MESSAGE_NOT_FOUND",
    "MESSAGE_TOO_LONG",
    "MUTATION_DENIED",
    "NAMESPACE_DENIED",
    "PERSISTENCE_UNAVAILABLE",
    "POSITION_EXPIRED",
    "PRESENCE_UPDATE_RATE",
    "PRESENCE_UPDATE_REFUSED",
    "PRESENCE_UPDATE_TOO_LARGE",
    "RECOVERY_DISABLED",
    "RECOVERY_EMPTY",
    "REWIND_DISABLED",
    "REWIND_NEEDS_V2",
    "STREAM_OWNER_UNAVAILABLE",
    "STREAM_RESET",
    "TOKEN_EXPIRED",
    "TOKEN_REFRESH_REFUSED",
    "TOKEN_REFUSED",
    "TOKEN_REVOKED",
    "TOKEN_UNVERIFIED",
    "USER_LIMITED",
    "VERSION_CONFLICT",
    "VERSION_SOCKET",
]

# ---- protocol V2: subscriptions, tokens, presence updates ----

FILTER_INVALID = row(
    "filter_invalid",
    "The filter of a subscription is not valid.",
    ws=4000,
    causes=("an unknown comparison or a node with both op and key", "more nodes, values or events than allowed"),
    remedy="The text says which part is wrong: events, a tag node or the expression.",
)
NAMESPACE_DENIED = row(
    "namespace_denied",
    "The namespace does not allow this to clients.",
    ws=4009,
    causes=("allow_subscribe_for_client, allow_publish_for_client or allow_presence_for_client is false",),
    remedy="Change the switches of the namespace, or use another channel.",
)
USER_LIMITED = row(
    "user_limited",
    "The channel is limited to users this connection is not.",
    ws=4009,
    causes=("not signed in", "signed in as a user that the channel's name does not list"),
    remedy="Sign in, or connect with a token, as one of the users listed after # in the channel's name.",
)
CAPABILITY_DENIED = row(
    "capability_denied",
    "The connection is not allowed to do this on the channel.",
    ws=4009,
    causes=("the token or the sign-in grants the operation on other channels only",),
    remedy="Grant the operation for a pattern that matches the channel.",
)
CAPABILITIES_INVALID = row(
    "capabilities_invalid",
    "The capabilities in user_data are not an object of arrays of patterns.",
    ws=4009,
    remedy="Send operation names with arrays of channel patterns.",
)
TOKEN_REFUSED = row(
    "token_refused",
    "The capability token was refused.",
    ws=4009,
    closes=True,
    causes=("it has expired", "it is signed with another secret", "its kid is another app's key", "it was revoked"),
    remedy="Make a new token, for example with `sockudo token create`; the text says what is wrong with this one.",
)
TOKEN_REFRESH_REFUSED = row(
    "token_refresh_refused",
    "The new capability token was refused; the old one stays.",
    ws=4009,
    causes=("it has expired", "it is for another client_id", "it is signed with another secret"),
    remedy="Make a new token for the same client_id; the text says what is wrong with this one.",
)
TOKEN_EXPIRED = row(
    "token_expired",
    "capability token expired",
    ws=4009,
    closes=True,
    causes=("the client did not refresh its token within the grace period after token_expired",),
    remedy="Send sockudo:auth with a new token before the old one ends.",
    event_code=40142,
)
TOKEN_REVOKED = row(
    "token_revoked",
    "capability token revoked",
    ws=4009,
    closes=True,
    causes=("the backend revoked the token or its client_id",),
    remedy="Connect with a new token.",
    event_code=40160,
)
TOKEN_UNVERIFIED = row(
    "token_unverified",
    "Whether the token was revoked could not be found out.",
    ws=4100,
    closes=True,
    retry=True,
    remedy="Connect again; the server's log says what failed.",
)
PRESENCE_UPDATE_REFUSED = row(
    "presence_update_refused",
    "The presence update was refused.",
    ws=104009,
    causes=("no presence channel", "not a member of the channel"),
    remedy="Join the presence channel first; the text says what was wrong.",
)
PRESENCE_UPDATE_TOO_LARGE = row(
    "presence_update_too_large",
    "The new user_info is larger than 1024 bytes.",
    ws=40009,
    remedy="Keep user_info within 1024 bytes of JSON.",
)
PRESENCE_UPDATE_RATE = row(
    "presence_update_rate",
    "Too many presence updates.",
    ws=4301,
    retry=True,
    remedy="Send at most presence.update_rate_limit_per_member_per_second updates a second.",
)
IDLE_TIMEOUT = row(
    "idle_timeout",
    "Connection idle timeout",
    ws=1001,
    retry=True,
    closes=True,
    causes=(
        "nothing came from the client for websocket.idle_timeout seconds, not even an answer to a ping",
        "native pings are off (websocket.ping_interval), and the client sends nothing",
    ),
    remedy="Clients come back by themselves. Where it happens again and again, have the client answer WebSocket pings, "
    "keep native pings on, or raise websocket.idle_timeout.",
)

# ---- streams: history, recovery, rewind ----

HISTORY_UNAVAILABLE = row(
    "history_unavailable",
    "The history store cannot be reached.",
    code="service_unavailable",
    http=503,
    ws=4000,
    retry=True,
    causes=(
        "the database is down or unreachable",
        "its disk is full",
        "it may only be read: a standby, or set so",
        "it took longer than write_timeout_ms",
    ),
    remedy="Nothing was published; try again after Retry-After seconds. The text and the log name what failed. "
    "Operators make room on a full disk, and name a database that takes writes in place of one that may only be read.",
)
HISTORY_DEGRADED = row(
    "history_degraded",
    "The durable stream of the channel is degraded.",
    code="service_unavailable",
    http=503,
    ws=4000,
    retry=True,
    causes=("the store failed and has not been seen healthy since",),
    remedy="Try again after Retry-After seconds; it heals by itself once the store answers. A manual cure is a reset.",
)
HISTORY_BUSY = row(
    "history_busy",
    "Too many publishes wait for the history store.",
    code="backpressure",
    http=503,
    ws=4100,
    retry=True,
    causes=("more publishes than history.writer_queue_capacity wait for their commit",),
    remedy="Try again after Retry-After seconds, publish in batches, or use a faster store.",
)
STREAM_OWNER_UNAVAILABLE = row(
    "stream_owner_unavailable",
    "The node that numbers the channel does not answer.",
    code="service_unavailable",
    http=503,
    ws=4000,
    retry=True,
    causes=(
        "a node has died or stands still, and the others do not know it yet",
        "what joins the nodes is away or slow",
        "pings of this node do not come back through the bus, so that the others may take it for dead",
    ),
    remedy="Try again after Retry-After seconds, with an idempotency key: the message may have been published. "
    "A history makes the channel independent of single nodes.",
)
HISTORY_DISABLED = row(
    "history_disabled",
    "Durable history is disabled for the channel.",
    code="feature_disabled",
    http=403,
    ws=4300,
    causes=("history.enabled is off for the server or the app",),
    remedy="Switch history on, for the server or for the app.",
)
HISTORY_QUERY = row(
    "history_query",
    "A parameter of a history request is not valid.",
    code="invalid_input",
    http=400,
    ws=4000,
    causes=("a cursor of another channel, direction or range", "a limit of 0", "a range that ends before it starts"),
    remedy="The text says which parameter; take cursors only from next_cursor, with the other parameters unchanged.",
)
HISTORY_NOT_SUBSCRIBED = row(
    "history_not_subscribed",
    "The connection is not subscribed to the channel whose history it asks for.",
    ws=4301,
    remedy="Subscribe to exactly this channel first.",
)
HISTORY_TOO_MANY = row(
    "history_too_many",
    "Client event error: Too many concurrent channel_history requests for this connection",
    ws=4301,
    retry=True,
    remedy="Wait for one answer before asking again; two may be under way.",
)
REWIND_DISABLED = row(
    "rewind_disabled",
    "Channel rewind is disabled by policy.",
    ws=4300,
    causes=("history.enabled or history.rewind_enabled is off for the channel", "a wildcard subscription"),
    remedy="Switch history and rewind on for the app or the namespace.",
)
REWIND_NEEDS_V2 = row(
    "rewind_needs_v2",
    "Channel error: Channel rewind is only supported on protocol V2",
    ws=4300,
    remedy="Connect with protocol=2.",
)
ANNOTATIONS_DISABLED = row(
    "annotations_disabled",
    "Annotations are not enabled for the channel.",
    ws=4300,
    remedy="Leave ANNOTATION_SUBSCRIBE out of modes.",
)
MESSAGE_NOT_FOUND = row(
    "message_not_found",
    "The channel has no message with this serial.",
    http=404,
    causes=(
        "the serial is of another channel or app",
        "the message was published before messages could change",
        "its versions are past versioned_messages.retention_window_seconds",
    ),
    remedy="Take the message_serial from the reply to the publish, from extras.headers, or from a page of the history.",
)
MESSAGE_TOO_LONG = row(
    "message_too_long",
    "The message cannot grow any more.",
    code="payload_too_large",
    http=413,
    causes=("a text that is appended to without an end", "many small appends to one message"),
    remedy="Go on in a new message, join appends before you send them, or raise versioned_messages.max_message_bytes "
    "or versioned_messages.max_appends_per_message.",
    ai_code=40009,
)
MUTATION_DENIED = row(
    "mutation_denied",
    "mutations not permitted on this channel",
    code="mutable_not_permitted",
    http=403,
    causes=(
        "the connection of socket_id has no message_…_any or message_…_own capability for the channel",
        "with message_…_own: the message was created by another client id, or by a backend",
        "a token without publish",
    ),
    remedy="Grant the capability to the connection, or leave socket_id out: the backend may change every message.",
    ai_code=93002,
)
VERSION_CONFLICT = row(
    "version_conflict",
    "The op_id was already used for another change of the message.",
    http=409,
    causes=("an op_id that is not unique per change",),
    remedy="Make a new op_id for each change and reuse it only to repeat that change.",
)
VERSION_SOCKET = row(
    "version_socket",
    "The connection named by socket_id cannot change messages.",
    code="auth_failed",
    http=401,
    causes=(
        "it is not connected to this node",
        "it is on protocol V1",
        "client_id is given and the connection is not signed in, or as another user",
    ),
    remedy="Send the request to the node of the connection, which is on V2 and signed in, or leave socket_id out.",
    reason="socket_id",
)
RECOVERY_DISABLED = row(
    "recovery_disabled",
    "Connection recovery is not enabled",
    ws=4301,
    remedy="Switch connection_recovery.enabled on for the server and the app.",
)
RECOVERY_EMPTY = row(
    "recovery_empty",
    "No channel recovery positions provided",
    ws=4302,
    remedy="Send channel_positions with at least one channel.",
)
STREAM_RESET = row(
    "stream_reset",
    "Recovery failed: the channel has another stream than the position is from.",
    causes=(
        "the history was reset",
        "the store was wiped or restored",
        "a restart without durable history",
        "a position from another server or environment",
    ),
    remedy="Rebuild the channel's state and subscribe again; positions of the old stream are worth nothing.",
)
POSITION_EXPIRED = row(
    "position_expired",
    "Recovery failed: messages after the position are not kept any more.",
    causes=("retention or a purge removed them", "the buffer expired and history is off", "too many were missed"),
    remedy="Rebuild the channel's state; raise the retention or connection_recovery.max_buffer_size.",
)
CONTINUITY_UNVERIFIABLE = row(
    "continuity_unverifiable",
    "Recovery failed: that nothing is missing could not be proven.",
    causes=(
        "a position ahead of the stream",
        "a position from another server or environment",
        "a position without a stream_id",
        "a channel that was not authorized",
    ),
    remedy="Rebuild the channel's state and subscribe again.",
)
PERSISTENCE_UNAVAILABLE = row(
    "persistence_unavailable",
    "Recovery failed: the store could not be read.",
    retry=True,
    causes=("the database is down", "the stream is degraded"),
    remedy="Rebuild the channel's state, or try again once the store is back.",
)
