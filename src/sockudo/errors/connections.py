"""What is refused of connections and their frames (spec: websocket § 9)."""

from __future__ import annotations

from sockudo.errors.spec import row

__all__ = [
    "AUTH_DEADLINE",
    "CHANNEL_AUTH_INVALID",
    "CHANNEL_AUTH_MISSING",
    "CLIENT_EVENT",
    "CLIENT_EVENT_CHANNEL",
    "CLIENT_RATE",
    "CLIENT_RATE_CLOSE",
    "CONNECTION_CUT",
    "EVENT_NAME_INVALID",
    "FORCE_RECONNECT",
    "INVALID_TEXT",
    "MALFORMED_FRAME",
    "MESSAGE_TOO_BIG",
    "META_NEEDS_V2",
    "MISSING_FIELD",
    "NOT_ON_V1",
    "ORIGIN_NOT_ALLOWED",
    "OVER_CAPACITY",
    "OVER_QUOTA",
    "PONG_TIMEOUT",
    "PRESENCE_DATA",
    "PRESENCE_FULL",
    "PRESENCE_MEMBER",
    "PRESENCE_OTHER_USER",
    "PROTOCOL_VIOLATION",
    "SERVER_SHUTDOWN",
    "SIGNIN_REFUSED",
    "SLOW_CONSUMER",
    "TERMINATED",
    "TOKEN_NEEDS_V2",
    "TOO_MANY_CHANNELS",
    "TOO_MANY_FILTERS",
    "TOO_MANY_PATTERNS",
    "UNKNOWN_APP",
    "UPGRADE_INVALID",
    "UPGRADE_QUERY",
    "WATCHLIST_TOO_LONG",
    "WILDCARD_NEEDS_V2",
]

# ---- the upgrade ----

UPGRADE_INVALID = row(
    "upgrade_invalid",
    "This is not a valid WebSocket handshake.",
    code="invalid_input",
    http=400,
    causes=("a proxy that does not pass Upgrade and Connection on", "a page opened in the browser's address bar"),
    remedy="Connect with a WebSocket client; let the proxy pass Upgrade, Connection and Sec-WebSocket-* headers.",
)
UPGRADE_QUERY = row(
    "upgrade_query",
    "A query parameter of the connection URL is not valid.",
    code="invalid_input",
    http=400,
    causes=("protocol is not a number", "an unknown format or append_mode", "a parameter given twice"),
    remedy="Fix the parameter that the text names.",
)
UNKNOWN_APP = row(
    "unknown_app",
    "Application does not exist",
    ws=4001,
    closes=True,
    causes=("the key of another environment or of Pusher's own cloud", "the client points at the wrong host"),
    remedy="Give the client the app's key; compare it with `sockudo apps list`.",
)
OVER_QUOTA = row(
    "over_quota",
    "Application is over adapter quota",
    ws=4004,
    closes=True,
    causes=("more connections than the app's max_connections",),
    remedy="Raise the app's max_connections.",
)
TOKEN_NEEDS_V2 = row(
    "token_needs_v2",
    "Authentication error: capability tokens need protocol V2",
    ws=4009,
    closes=True,
    causes=("the connection URL of a Pusher client carries a parameter named token",),
    remedy="Connect with protocol=2, or leave the token out.",
)
ORIGIN_NOT_ALLOWED = row(
    "origin_not_allowed",
    "Origin not allowed",
    ws=4009,
    closes=True,
    causes=("the page's origin is not in the app's allowed_origins", "a client that sends no Origin header"),
    remedy="Add the page's origin to allowed_origins, with scheme and port as the browser sends them. A client that is "
    "no browser sends none: have it send one that is allowed, or give it an app without allowed_origins.",
)
OVER_CAPACITY = row(
    "over_capacity",
    "Over capacity",
    ws=4100,
    retry=True,
    closes=True,
    causes=("the server is at max_connections", "the process has no descriptors for more connections"),
    remedy="Raise max_connections, or where the text names descriptors the hard limit of the process (LimitNOFILE= of "
    "the systemd unit, --ulimit nofile= of Docker); or add servers. Clients come back by themselves, later.",
)

# ---- the life of a connection ----

SERVER_SHUTDOWN = row(
    "server_shutdown",
    "Server shutting down",
    ws=4200,
    retry=True,
    closes=True,
    remedy="Nothing: clients reconnect at once.",
)
FORCE_RECONNECT = row(
    "force_reconnect",
    "Force reconnect requested by the app.",
    ws=4200,
    retry=True,
    closes=True,
    remedy="Nothing: clients reconnect at once.",
)
CONNECTION_CUT = row(
    "connection_cut",
    "The connection ended without a close frame; no server sends this code, browsers and libraries report it.",
    ws=1006,
    closes=True,
    retry=True,
    causes=(
        "a proxy or load balancer that cuts silent connections: they end after the same time each, often 60 s",
        "a proxy that was reloaded, or a process that was killed: many connections end at once",
        "the client's own network: a phone that changes it, a laptop that slept",
        "an upgrade that failed: the connection was never open, and the HTTP status has the reason",
    ),
    remedy="Set the proxy's read timeout above 150 s (nginx: proxy_read_timeout). `sockudo doctor --idle 155` tries "
    "it; `sockudo tail` shows what the server saw.",
)
TERMINATED = row(
    "terminated",
    "You got disconnected by the app.",
    ws=4009,
    closes=True,
    causes=("the app's backend called terminate_connections for this user",),
    remedy="Sign in again, if the app lets you.",
)
PONG_TIMEOUT = row(
    "pong_timeout",
    "Pong reply not received in time",
    ws=4201,
    retry=True,
    closes=True,
    causes=(
        "a device that went to sleep or lost its network",
        "a client that never answers pings: a library of its own, or a page that blocks for longer",
    ),
    remedy="A device that was away reconnects by itself. A client that ends like this again and again does not answer: "
    "have it send pusher:pong for each pusher:ping.",
)
SLOW_CONSUMER = row(
    "slow_consumer",
    "Client buffer full, disconnecting slow consumer",
    ws=4100,
    retry=True,
    closes=True,
    causes=("a client that reads more slowly than its channels are published to",),
    remedy="Publish less, or raise websocket.max_messages; the client comes back by itself.",
)
AUTH_DEADLINE = row(
    "auth_deadline",
    "Connection not authorized within timeout.",
    ws=4009,
    closes=True,
    causes=("an app with user authentication and a client that neither signs in nor joins a protected channel",),
    remedy="Sign in after connecting (pusher.signin()), or raise user_authentication_timeout.",
)

# ---- frames from clients ----

MALFORMED_FRAME = row(
    "malformed_frame",
    "The frame is not a JSON object of the protocol.",
    ws=4000,
    causes=("text that is not JSON", "a field of the wrong type or given twice"),
    remedy='Send {"event": …, "channel": …, "data": …}.',
)
EVENT_NAME_INVALID = row(
    "event_name_invalid",
    "The event name is missing, empty or too long.",
    ws=4000,
    remedy="Name the event; the text says what is wrong with it.",
)
MISSING_FIELD = row(
    "missing_field",
    "The frame lacks a field that its event needs, or the field has the wrong type.",
    ws=4000,
    remedy="Add the field that the text names.",
)
CHANNEL_AUTH_MISSING = row(
    "channel_auth_missing",
    "Authentication error: Authentication signature required for this channel",
    ws=4009,
    causes=("a private or presence channel without an authorizer",),
    remedy="Configure the client's channel authorization endpoint.",
)
CHANNEL_AUTH_INVALID = row(
    "channel_auth_invalid",
    "Authentication error: Channel requires authentication",
    ws=4009,
    causes=(
        "the backend signs with another secret",
        "the signature was made for another socket_id or channel",
        "channel_data was changed or serialized again after signing",
    ),
    remedy="Sign with the app's own secret exactly the socket_id, channel and channel_data that the client sends.",
    seen_in="The page Why?, `sockudo tail --problems` and the server's log name the likely mistake.",
)
PRESENCE_DATA = row(
    "presence_data",
    "channel_data of a presence channel is missing or not valid.",
    ws=4000,
    causes=(
        "the authorization endpoint answers without channel_data",
        "it answers true in place of the member's data: Laravel's callback of a presence channel returns an array",
    ),
    remedy="Answer with channel_data, a JSON text that holds user_id and, if you like, user_info.",
)
PRESENCE_MEMBER = row(
    "presence_member",
    "The presence member is not allowed.",
    ws=4300,
    causes=("no user_id, or one over 128 bytes", "user_info over the app's limit"),
    remedy="Send a user_id of 1 to 128 bytes and a small user_info.",
)
PRESENCE_OTHER_USER = row(
    "presence_other_user",
    "Authentication error: already joined as another user",
    ws=4009,
    causes=("a second subscribe to the same presence channel under another user_id",),
    remedy="Unsubscribe first, or use a second connection.",
)
PRESENCE_FULL = row(
    "presence_full",
    "Over capacity",
    ws=4100,
    causes=("the presence channel has as many members as the app allows",),
    remedy="Raise max_presence_members_per_channel.",
)
TOO_MANY_CHANNELS = row(
    "too_many_channels",
    "The connection is subscribed to as many channels as one may be.",
    ws=4300,
    causes=("a client that never unsubscribes", "a subscription per item where one channel for all would do"),
    remedy="Unsubscribe from channels that are not needed, use several connections, or raise "
    "websocket.max_channels_per_connection.",
)
TOO_MANY_PATTERNS = row(
    "too_many_patterns",
    "The connection is subscribed to as many patterns as one may be.",
    ws=4300,
    causes=("a pattern per item where a shorter one would match them all",),
    remedy="Use fewer and wider patterns, subscribe to channels by name, or raise "
    "websocket.max_patterns_per_connection.",
)
TOO_MANY_FILTERS = row(
    "too_many_filters",
    "The connection has as many subscriptions with a filter as one may have.",
    ws=4300,
    causes=("a filtered subscription per item",),
    remedy="Publish to narrower channels instead of filtering wide ones, or raise "
    "websocket.max_filters_per_connection.",
)
WILDCARD_NEEDS_V2 = row(
    "wildcard_needs_v2",
    "Channel error: Wildcard subscriptions are only supported on protocol V2",
    ws=4300,
    remedy="Connect with protocol=2, or subscribe to the channels by name.",
)
META_NEEDS_V2 = row(
    "meta_needs_v2",
    "Channel error: Metachannel subscriptions are only supported on protocol V2",
    ws=4300,
    remedy="Connect with protocol=2, or ask the HTTP API for the channel's occupancy.",
)
NOT_ON_V1 = row(
    "not_on_v1",
    "This action needs protocol V2.",
    ws=4000,
    remedy="Connect with protocol=2, as Sockudo's own clients do.",
)
CLIENT_EVENT = row(
    "client_event",
    "The client event was refused.",
    ws=4301,
    causes=(
        "client events are not enabled for the app",
        "the channel is not private or presence, or is encrypted or a cache channel",
        "the sender is not subscribed to the channel",
        "the data is too large",
    ),
    remedy="The text says which of these it was. Where they are not enabled, the app's enable_client_messages switches "
    "them on; the sender has to be subscribed, and the data within max_event_payload_in_kb.",
)
CLIENT_EVENT_CHANNEL = row(
    "client_event_channel",
    "Client events are for private and presence channels alone.",
    ws=4301,
    causes=(
        "a public channel, where senders are not authenticated",
        "an encrypted or a cache channel, a pattern or a [meta] channel",
    ),
    remedy="Use a channel whose name begins with private- or presence-, and subscribe to it before sending.",
)
CLIENT_RATE = row(
    "client_rate",
    "Client event rejected due to rate limit",
    ws=4301,
    retry=True,
    causes=("more frames per second than the app allows",),
    remedy="Send less often; the limits are max_client_events_per_second and message_rate_limit.",
)
CLIENT_RATE_CLOSE = row(
    "client_rate_close",
    "Connection closed due to client event rate limit",
    ws=4301,
    closes=True,
    causes=("the app closes connections that send too often (terminate_on_limit)",),
    remedy="Send less often.",
)
SIGNIN_REFUSED = row(
    "signin_refused",
    "The sign-in was refused.",
    ws=4009,
    causes=(
        "user authentication is not enabled for the app",
        "the signature is wrong or made for another socket_id",
        "user_data has no id",
    ),
    remedy="The text says which of these it was; enable_user_authentication switches sign-in on.",
)
WATCHLIST_TOO_LONG = row(
    "watchlist_too_long",
    "The watchlist has more than 100 users.",
    ws=4302,
    remedy="Watch at most 100 users.",
)

# ---- WebSocket framing: close frames without an error frame ----

PROTOCOL_VIOLATION = row(
    "protocol_violation",
    "The peer broke the WebSocket protocol.",
    ws=1002,
    closes=True,
    causes=("a client that does not mask its frames", "a proxy that alters the stream"),
    remedy="Use a WebSocket library that follows RFC 6455.",
)
INVALID_TEXT = row(
    "invalid_text",
    "A text frame is not UTF-8.",
    ws=1007,
    closes=True,
    remedy="Send text as UTF-8; JSON connections take text or UTF-8 in binary frames.",
)
MESSAGE_TOO_BIG = row(
    "message_too_big",
    "The message is larger than the server accepts.",
    ws=1009,
    closes=True,
    remedy="Send less at once, or raise websocket_max_payload_kb.",
)
