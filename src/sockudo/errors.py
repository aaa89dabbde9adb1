"""Every refusal of the server, in one table (contract 10 § 9, 20 § 3, 00).

An `ErrorSpec` is one row: what is sent over HTTP, what over WebSocket, whether trying again can help, what it means,
what usually causes it and what to do. Calling a row makes the exception to raise::

    raise errors.EVENT_NAME_TOO_LONG(f"Event name '{name}' exceeds maximum length of {limit}")

The HTTP body, the error frame, the metric label, the log line, ``sockudo explain`` and ``docs/errors.md`` are all made
from the row. A slug declared twice fails at import. `SockudoError` is the only exception the layers above raise on
purpose; foreign exceptions are mapped at the border of their adapter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CATALOGUE", "ErrorSpec", "SockudoError"]


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the error catalogue.

    ``slug`` is ours and unique: the anchor in the error reference. ``code`` is the stable word in an HTTP body and may
    be shared by rows that tell causes apart. ``status`` is the HTTP status, ``ws`` the number in an error frame; either
    is None where the error cannot arise on that side. ``closes`` says that the WebSocket connection ends with it.
    """

    slug: str
    code: str
    status: int | None
    ws: int | None
    retry: bool
    closes: bool
    meaning: str
    causes: tuple[str, ...]
    remedy: str
    # The number that AI-transport errors carry besides their word (contract 20 § 3.1).
    ai_code: int | None = None

    def __call__(
        self, text: str | None = None, *, retry_after: int | None = None, likely_cause: str | None = None
    ) -> SockudoError:
        """The exception for this row; ``text`` says what was wrong with this very request."""
        return SockudoError(self, text or self.meaning, retry_after, likely_cause)


class SockudoError(Exception):
    """A refusal with its row of the catalogue. ``retry_after`` is in whole seconds.

    ``likely_cause`` is for the operator alone and never sent to who was refused.
    """

    __slots__ = ("likely_cause", "retry_after", "spec", "text")

    def __init__(
        self, spec: ErrorSpec, text: str, retry_after: int | None = None, likely_cause: str | None = None
    ) -> None:
        super().__init__(text)
        self.spec = spec
        self.text = text
        self.retry_after = retry_after
        self.likely_cause = likely_cause

    def body(self) -> dict[str, Any]:
        """The HTTP error envelope (contract 00): error, code, status and where to read more."""
        body = {
            "error": self.text,
            "code": self.spec.code,
            "status": self.spec.status or 500,
            "docs": f"errors.md#{self.spec.slug}",
        }
        if self.spec.ai_code is not None:
            body["ai_code"] = self.spec.ai_code
        return body


CATALOGUE: Final[dict[str, ErrorSpec]] = {}


def _row(
    slug: str,
    meaning: str,
    *,
    code: str | None = None,
    http: int | None = None,
    ws: int | None = None,
    retry: bool = False,
    closes: bool = False,
    causes: tuple[str, ...] = (),
    remedy: str,
    ai_code: int | None = None,
) -> ErrorSpec:
    if slug in CATALOGUE:
        raise ValueError(f"error slug declared twice: {slug}")
    spec = ErrorSpec(slug, code or slug, http, ws, retry, closes, meaning, causes, remedy, ai_code)
    CATALOGUE[slug] = spec
    return spec


# ---- who is asking (HTTP) ----

AUTH_PARAMETERS = _row(
    "auth_parameters",
    "The query string lacks the authentication parameters, or repeats one.",
    code="invalid_input",
    http=400,
    causes=("the URL was called without signing it", "a proxy dropped the query string"),
    remedy="Sign the request with the app's key and secret; every Pusher server SDK does it for you.",
)
UNKNOWN_KEY = _row(
    "unknown_key",
    "No app has this auth_key.",
    code="auth_failed",
    http=401,
    causes=("the key of another environment", "id, key and secret mixed up", "the app was removed"),
    remedy="Compare the key with `sockudo apps list`, or with the credentials the server printed when it started.",
)
APP_MISMATCH = _row(
    "app_mismatch",
    "The auth_key belongs to another app than the one in the path.",
    code="auth_failed",
    http=401,
    causes=("app id and key come from two different apps",),
    remedy="Take app id, key and secret from the same app.",
)
TIMESTAMP_INVALID = _row(
    "timestamp_invalid",
    "auth_timestamp is missing or not a whole number of seconds.",
    code="auth_failed",
    http=401,
    causes=("milliseconds instead of seconds", "a client that signs by hand"),
    remedy="Send Unix time in seconds as auth_timestamp and sign it with the other parameters.",
)
TIMESTAMP_STALE = _row(
    "timestamp_stale",
    "auth_timestamp is more than 600 seconds away from the server's clock.",
    code="auth_failed",
    http=401,
    causes=("a clock that runs wrong", "a request kept in a queue and sent later", "milliseconds instead of seconds"),
    remedy="Synchronise the clocks (NTP) and sign the request when it is sent, not when it is queued.",
)
BODY_HASH_MISMATCH = _row(
    "body_hash_mismatch",
    "body_md5 is not the MD5 of the body that arrived.",
    code="auth_failed",
    http=401,
    causes=("the body was serialized again after signing", "a proxy rewrote the body"),
    remedy="Sign exactly the bytes that are sent.",
)
BODY_HASH_MISSING = _row(
    "body_hash_missing",
    "A POST with a body must carry body_md5.",
    code="auth_failed",
    http=401,
    causes=("a client that signs by hand and left body_md5 out",),
    remedy="Add body_md5, the lower-case hex MD5 of the body, and sign it with the other parameters.",
)
SIGNATURE_MISMATCH = _row(
    "signature_mismatch",
    "auth_signature is missing or does not match the request.",
    code="auth_failed",
    http=401,
    causes=("a wrong secret", "parameters changed after signing", "a proxy that rewrites the path"),
    remedy="Check the secret; then that method, path and query reach the server as they were signed.",
)
APP_NOT_FOUND = _row(
    "app_not_found",
    "No app has the id in the path.",
    http=404,
    causes=("a mistyped app id", "the key used in place of the id"),
    remedy="Compare the id with `sockudo apps list`.",
)
APP_EXISTS = _row(
    "app_exists",
    "Another app has the id that the new one was to get.",
    http=409,
    causes=("the app was added before", "somebody else added one with this id at the same time"),
    remedy="Choose another id, leave it out to have one made, or change the app that is there.",
)
APP_KEY_TAKEN = _row(
    "app_key_taken",
    "Another app has the key that this one was to get; keys are unique.",
    http=409,
    causes=("a record that was copied together with its key",),
    remedy="Choose another key, or leave it out to have one made.",
)
APP_CHANGED = _row(
    "app_changed",
    "The app was changed by somebody else since it was read.",
    http=412,
    causes=("two operators at work on one app", "a page or a reply that is older than the last change"),
    remedy="Read the app again, see what changed, and make the change once more.",
)
APPS_READ_ONLY = _row(
    "apps_read_only",
    "The server only serves the apps that its configuration names; they cannot be changed while it runs.",
    http=409,
    causes=('app_manager.driver is "memory", which keeps nothing', "the server was started with --dev"),
    remedy="Change the file that the text names and send the server SIGHUP, or set app_manager.driver to a store.",
)
APP_DISABLED = _row(
    "app_disabled",
    "The app is disabled.",
    http=403,
    ws=4003,
    closes=True,
    causes=("`sockudo apps disable` or enabled = false", "`enabled` was left out of the app's record"),
    remedy="Enable the app: `sockudo apps enable ID`, or enabled = true in the configuration.",
)

# ---- what is asked (HTTP) ----

NOT_FOUND = _row(
    "not_found",
    "There is nothing at this path.",
    http=404,
    causes=("a mistyped path", "a route of a feature that this version does not have"),
    remedy="Compare the path with the HTTP API reference; paths are case-sensitive.",
)
METHOD_NOT_ALLOWED = _row(
    "method_not_allowed",
    "The path exists, but not for this method.",
    http=405,
    causes=("GET instead of POST",),
    remedy="Use one of the methods in the Allow header.",
)
UNSUPPORTED_MEDIA_TYPE = _row(
    "unsupported_media_type",
    "This endpoint expects a JSON body.",
    code="invalid_input",
    http=415,
    causes=("no Content-Type header", "a form instead of JSON"),
    remedy="Send Content-Type: application/json.",
)
MALFORMED_JSON = _row(
    "malformed_json",
    "The body is not JSON.",
    code="invalid_input",
    http=400,
    causes=("an empty or cut-off body", "a body in another encoding than UTF-8"),
    remedy="Send one JSON object in UTF-8.",
)
WRONG_SHAPE = _row(
    "wrong_shape",
    "The body is JSON of the wrong shape.",
    code="invalid_input",
    http=422,
    causes=("a field of the wrong type", "a required field left out", "a field given twice"),
    remedy="The text names the field and what it must be.",
)
INVALID_INPUT = _row(
    "invalid_input",
    "A value in the request is not allowed.",
    http=400,
    causes=("see the text: it names the field, the limit and the value",),
    remedy="Change the value that the text names.",
)
CHANNEL_NAME = _row(
    "channel_name",
    "The channel name is not allowed.",
    code="invalid_input",
    http=400,
    ws=4300,
    causes=("a character outside A-Z a-z 0-9 _ - = @ , ; . : #", "a name that is too long or empty"),
    remedy="Use an allowed name; the text names the characters or the limit.",
)
MISSING_CHANNEL = _row(
    "missing_channel_info",
    "Request must contain 'channels' (list) or 'channel' (string)",
    http=400,
    causes=("an empty list of channels",),
    remedy="Name at least one channel.",
)
LIMIT_EXCEEDED = _row(
    "limit_exceeded",
    "The request is over one of the app's limits.",
    http=400,
    causes=("too many channels or events in one request", "an event name that is too long"),
    remedy="Split the request, or raise the limit that the text names.",
)
EVENT_TOO_LARGE = _row(
    "payload_too_large",
    "The event's data is larger than the app allows.",
    http=413,
    causes=("a document sent through the channel",),
    remedy="Send a reference instead of the document, or raise max_event_payload_in_kb.",
)
BODY_TOO_LARGE = _row(
    "body_too_large",
    "The request body is larger than the server accepts.",
    code="payload_too_large",
    http=413,
    causes=("a batch that is too large",),
    remedy="Split the request, or raise http_api.request_limit_in_mb.",
)
URI_TOO_LONG = _row(
    "uri_too_long",
    "The request target is longer than the server accepts.",
    http=414,
    remedy="Shorten the path and the query.",
)
HEADERS_TOO_LARGE = _row(
    "headers_too_large",
    "The request has too many headers, or they are too large.",
    http=431,
    causes=("cookies of another application on the same domain",),
    remedy="Send fewer and smaller headers.",
)
MALFORMED_REQUEST = _row(
    "malformed_request",
    "This is not a valid HTTP/1.1 request.",
    code="invalid_input",
    http=400,
    causes=("HTTPS spoken to a plain port", "no Host header, or two", "both Content-Length and Transfer-Encoding"),
    remedy="Speak HTTP/1.1, with one Host header and one way of giving the length.",
)
REQUEST_TIMEOUT = _row(
    "request_timeout",
    "The request did not arrive in time.",
    http=408,
    retry=True,
    causes=("a connection that stalls",),
    remedy="Send the request again.",
)
RATE_LIMITED = _row(
    "rate_limited",
    "Too many requests.",
    http=429,
    retry=True,
    causes=("more requests from this address than the server allows", "more than the app's own limit per second"),
    remedy="Wait for Retry-After seconds; batch events; or raise the limit that the text names.",
)
IDEMPOTENCY_CONFLICT = _row(
    "idempotency_conflict",
    "The idempotency key was already used with a different payload.",
    http=409,
    causes=("a key that is not unique per event",),
    remedy="Make a new key for each new event and reuse it only to repeat that event.",
)
IDEMPOTENCY_RUNNING = _row(
    "idempotency_running",
    "A publish with this idempotency key is still in progress.",
    code="backpressure",
    http=503,
    retry=True,
    causes=("a retry sent before the first try was answered",),
    remedy="Try again after Retry-After seconds with the same key.",
)
AI_EVENT_NOT_PERMITTED = _row(
    "ai_event_not_permitted",
    "AI events and AI metadata need a channel of the AI transport.",
    http=403,
    causes=("an event name that is reserved for AI transport, such as ai-input",),
    remedy="Use another event name, or leave extras.ai out.",
    ai_code=104003,
)
FEATURE_DISABLED = _row(
    "feature_disabled",
    "The feature is switched off.",
    http=403,
    remedy="Switch the feature on for the app or the server.",
)
SERVICE_UNAVAILABLE = _row(
    "service_unavailable",
    "A part that the server needs for this request does not answer.",
    http=503,
    retry=True,
    remedy="Try again; look at /up and the log for the part that fails.",
)
WATCHERS_FULL = _row(
    "watchers_full",
    "As many people watch the server already as may at once.",
    code="backpressure",
    http=503,
    retry=True,
    causes=("pages of the inspector left open", "`sockudo tail` running in many places"),
    remedy="Close a page of the inspector or end a `sockudo tail`; its place is free a moment later.",
)
DRAINING = _row(
    "draining",
    "The server is shutting down.",
    code="service_unavailable",
    http=503,
    retry=True,
    remedy="Connect again: another instance, or this one after its restart, will answer.",
)
INTERNAL_ERROR = _row(
    "internal_error",
    "Internal server error",
    http=500,
    ws=4000,
    retry=True,
    causes=("a defect of the server",),
    remedy="Look for the id of the answer in the server's log and report it.",
)

# ---- the upgrade ----

UPGRADE_INVALID = _row(
    "upgrade_invalid",
    "This is not a valid WebSocket handshake.",
    code="invalid_input",
    http=400,
    causes=("a proxy that does not pass Upgrade and Connection on", "a page opened in the browser's address bar"),
    remedy="Connect with a WebSocket client; let the proxy pass Upgrade, Connection and Sec-WebSocket-* headers.",
)
UPGRADE_QUERY = _row(
    "upgrade_query",
    "A query parameter of the connection URL is not valid.",
    code="invalid_input",
    http=400,
    causes=("protocol is not a number", "an unknown format or append_mode", "a parameter given twice"),
    remedy="Fix the parameter that the text names.",
)
UNKNOWN_APP = _row(
    "unknown_app",
    "Application does not exist",
    ws=4001,
    closes=True,
    causes=("the key of another environment or of Pusher's own cloud", "the client points at the wrong host"),
    remedy="Give the client the app's key; compare it with `sockudo apps list`.",
)
OVER_QUOTA = _row(
    "over_quota",
    "Application is over adapter quota",
    ws=4004,
    closes=True,
    causes=("more connections than the app's max_connections",),
    remedy="Raise the app's max_connections.",
)
TOKEN_NEEDS_V2 = _row(
    "token_needs_v2",
    "Authentication error: capability tokens need protocol V2",
    ws=4009,
    closes=True,
    causes=("the connection URL of a Pusher client carries a parameter named token",),
    remedy="Connect with protocol=2, or leave the token out.",
)
ORIGIN_NOT_ALLOWED = _row(
    "origin_not_allowed",
    "Origin not allowed",
    ws=4009,
    closes=True,
    causes=("the page's origin is not in the app's allowed_origins", "a client that sends no Origin header"),
    remedy="Add the origin to allowed_origins.",
)
OVER_CAPACITY = _row(
    "over_capacity",
    "Over capacity",
    ws=4100,
    retry=True,
    closes=True,
    causes=("the server is at max_connections",),
    remedy="Raise max_connections or add servers; clients come back by themselves, later.",
)

# ---- the life of a connection ----

SERVER_SHUTDOWN = _row(
    "server_shutdown",
    "Server shutting down",
    ws=4200,
    retry=True,
    closes=True,
    remedy="Nothing: clients reconnect at once.",
)
FORCE_RECONNECT = _row(
    "force_reconnect",
    "Force reconnect requested by the app.",
    ws=4200,
    retry=True,
    closes=True,
    remedy="Nothing: clients reconnect at once.",
)
TERMINATED = _row(
    "terminated",
    "You got disconnected by the app.",
    ws=4009,
    closes=True,
    causes=("the app's backend called terminate_connections for this user",),
    remedy="Sign in again, if the app lets you.",
)
PONG_TIMEOUT = _row(
    "pong_timeout",
    "Pong reply not received in time",
    ws=4201,
    retry=True,
    closes=True,
    causes=("a device that went to sleep or lost its network",),
    remedy="Nothing: clients reconnect at once.",
)
SLOW_CONSUMER = _row(
    "slow_consumer",
    "Client buffer full, disconnecting slow consumer",
    ws=4100,
    retry=True,
    closes=True,
    causes=("a client that reads more slowly than its channels are published to",),
    remedy="Publish less, or raise websocket.max_messages; the client comes back by itself.",
)
AUTH_DEADLINE = _row(
    "auth_deadline",
    "Connection not authorized within timeout.",
    ws=4009,
    closes=True,
    causes=("an app with user authentication and a client that neither signs in nor joins a protected channel",),
    remedy="Sign in after connecting (pusher.signin()), or raise user_authentication_timeout.",
)

# ---- frames from clients ----

MALFORMED_FRAME = _row(
    "malformed_frame",
    "The frame is not a JSON object of the protocol.",
    ws=4000,
    causes=("text that is not JSON", "a field of the wrong type or given twice"),
    remedy='Send {"event": …, "channel": …, "data": …}.',
)
EVENT_NAME_INVALID = _row(
    "event_name_invalid",
    "The event name is missing, empty or too long.",
    ws=4000,
    remedy="Name the event; the text says what is wrong with it.",
)
MISSING_FIELD = _row(
    "missing_field",
    "The frame lacks a field that its event needs, or the field has the wrong type.",
    ws=4000,
    remedy="Add the field that the text names.",
)
CHANNEL_AUTH_MISSING = _row(
    "channel_auth_missing",
    "Authentication error: Authentication signature required for this channel",
    ws=4009,
    causes=("a private or presence channel without an authorizer",),
    remedy="Configure the client's channel authorization endpoint.",
)
CHANNEL_AUTH_INVALID = _row(
    "channel_auth_invalid",
    "Authentication error: Channel requires authentication",
    ws=4009,
    causes=(
        "the backend signs with another secret",
        "the signature was made for another socket_id or channel",
        "channel_data was changed or serialized again after signing",
    ),
    remedy="Sign with the app's own secret exactly the socket_id, channel and channel_data that the client sends. "
    "The page Why?, `sockudo tail --problems` and the server's log name the likely mistake.",
)
PRESENCE_DATA = _row(
    "presence_data",
    "channel_data of a presence channel is missing or not valid.",
    ws=4000,
    causes=("the authorization endpoint answers without channel_data",),
    remedy="Answer with channel_data, a JSON text that holds user_id and, if you like, user_info.",
)
PRESENCE_MEMBER = _row(
    "presence_member",
    "The presence member is not allowed.",
    ws=4300,
    causes=("no user_id, or one over 128 bytes", "user_info over the app's limit"),
    remedy="Send a user_id of 1 to 128 bytes and a small user_info.",
)
PRESENCE_OTHER_USER = _row(
    "presence_other_user",
    "Authentication error: already joined as another user",
    ws=4009,
    causes=("a second subscribe to the same presence channel under another user_id",),
    remedy="Unsubscribe first, or use a second connection.",
)
PRESENCE_FULL = _row(
    "presence_full",
    "Over capacity",
    ws=4100,
    causes=("the presence channel has as many members as the app allows",),
    remedy="Raise max_presence_members_per_channel.",
)
WILDCARD_NEEDS_V2 = _row(
    "wildcard_needs_v2",
    "Channel error: Wildcard subscriptions are only supported on protocol V2",
    ws=4300,
    remedy="Connect with protocol=2, or subscribe to the channels by name.",
)
META_NEEDS_V2 = _row(
    "meta_needs_v2",
    "Channel error: Metachannel subscriptions are only supported on protocol V2",
    ws=4300,
    remedy="Connect with protocol=2, or ask the HTTP API for the channel's occupancy.",
)
NOT_ON_V1 = _row(
    "not_on_v1",
    "This action needs protocol V2.",
    ws=4000,
    remedy="Connect with protocol=2, as Sockudo's own clients do.",
)
CLIENT_EVENT = _row(
    "client_event",
    "The client event was refused.",
    ws=4301,
    causes=(
        "client events are not enabled for the app",
        "the channel is not private or presence, or is encrypted or a cache channel",
        "the sender is not subscribed to the channel",
        "the data is too large",
    ),
    remedy="The text says which of these it was; enable_client_messages switches client events on.",
)
CLIENT_RATE = _row(
    "client_rate",
    "Client event rejected due to rate limit",
    ws=4301,
    retry=True,
    causes=("more frames per second than the app allows",),
    remedy="Send less often; the limits are max_client_events_per_second and message_rate_limit.",
)
CLIENT_RATE_CLOSE = _row(
    "client_rate_close",
    "Connection closed due to client event rate limit",
    ws=4301,
    closes=True,
    causes=("the app closes connections that send too often (terminate_on_limit)",),
    remedy="Send less often.",
)
SIGNIN_REFUSED = _row(
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
WATCHLIST_TOO_LONG = _row(
    "watchlist_too_long",
    "The watchlist has more than 100 users.",
    ws=4302,
    remedy="Watch at most 100 users.",
)

# ---- protocol V2: subscriptions, tokens, presence updates ----

FILTER_INVALID = _row(
    "filter_invalid",
    "The filter of a subscription is not valid.",
    ws=4000,
    causes=("an unknown comparison or a node with both op and key", "more nodes, values or events than allowed"),
    remedy="The text says which part is wrong; contract of filters: tag nodes, events, expression.",
)
NAMESPACE_DENIED = _row(
    "namespace_denied",
    "The namespace does not allow this to clients.",
    ws=4009,
    causes=("allow_subscribe_for_client, allow_publish_for_client or allow_presence_for_client is false",),
    remedy="Change the switches of the namespace, or use another channel.",
)
USER_LIMITED = _row(
    "user_limited",
    "The channel is limited to users this connection is not.",
    ws=4009,
    causes=("not signed in", "signed in as a user that the channel's name does not list"),
    remedy="Sign in, or connect with a token, as one of the users listed after # in the channel's name.",
)
CAPABILITY_DENIED = _row(
    "capability_denied",
    "The connection is not allowed to do this on the channel.",
    ws=4009,
    causes=("the token or the sign-in grants the operation on other channels only",),
    remedy="Grant the operation for a pattern that matches the channel.",
)
CAPABILITIES_INVALID = _row(
    "capabilities_invalid",
    "The capabilities in user_data are not an object of arrays of patterns.",
    ws=4009,
    remedy="Send operation names with arrays of channel patterns.",
)
TOKEN_REFUSED = _row(
    "token_refused",
    "The capability token was refused.",
    ws=4009,
    closes=True,
    causes=("it has expired", "it is signed with another secret", "its kid is another app's key", "it was revoked"),
    remedy="Make a new token, for example with `sockudo token create`; the text says what is wrong with this one.",
)
TOKEN_REFRESH_REFUSED = _row(
    "token_refresh_refused",
    "The new capability token was refused; the old one stays.",
    ws=4009,
    causes=("it has expired", "it is for another client_id", "it is signed with another secret"),
    remedy="Make a new token for the same client_id; the text says what is wrong with this one.",
)
TOKEN_EXPIRED = _row(
    "token_expired",
    "capability token expired",
    ws=4009,
    closes=True,
    causes=("the client did not refresh its token within the grace period after token_expired",),
    remedy="Send sockudo:auth with a new token before the old one ends.",
)
TOKEN_REVOKED = _row(
    "token_revoked",
    "capability token revoked",
    ws=4009,
    closes=True,
    causes=("the backend revoked the token or its client_id",),
    remedy="Connect with a new token.",
)
TOKEN_UNVERIFIED = _row(
    "token_unverified",
    "Whether the token was revoked could not be found out.",
    ws=4100,
    closes=True,
    retry=True,
    remedy="Connect again; the server's log says what failed.",
)
PRESENCE_UPDATE_REFUSED = _row(
    "presence_update_refused",
    "The presence update was refused.",
    ws=104009,
    causes=("no presence channel", "not a member of the channel"),
    remedy="Join the presence channel first; the text says what was wrong.",
)
PRESENCE_UPDATE_TOO_LARGE = _row(
    "presence_update_too_large",
    "The new user_info is larger than 1024 bytes.",
    ws=40009,
    remedy="Keep user_info within 1024 bytes of JSON.",
)
PRESENCE_UPDATE_RATE = _row(
    "presence_update_rate",
    "Too many presence updates.",
    ws=4301,
    retry=True,
    remedy="Send at most presence.update_rate_limit_per_member_per_second updates a second.",
)
IDLE_TIMEOUT = _row(
    "idle_timeout",
    "Connection idle timeout",
    ws=1001,
    closes=True,
    causes=("nothing came from the client for websocket.idle_timeout seconds, not even an answer to a ping",),
    remedy="Keep native pings on, or raise websocket.idle_timeout.",
)

# ---- streams: history, recovery, rewind ----

HISTORY_UNAVAILABLE = _row(
    "history_unavailable",
    "The history store cannot be reached.",
    code="service_unavailable",
    http=503,
    ws=4000,
    retry=True,
    causes=("the database is down or unreachable", "its disk is full", "it took longer than write_timeout_ms"),
    remedy="Try again after Retry-After seconds; the server's log names what failed. Nothing was published.",
)
HISTORY_DEGRADED = _row(
    "history_degraded",
    "The durable stream of the channel is degraded.",
    code="service_unavailable",
    http=503,
    ws=4000,
    retry=True,
    causes=("the store failed and has not been seen healthy since",),
    remedy="Try again after Retry-After seconds; it heals by itself once the store answers. A manual cure is a reset.",
)
HISTORY_BUSY = _row(
    "history_busy",
    "Too many publishes wait for the history store.",
    code="backpressure",
    http=503,
    ws=4100,
    retry=True,
    causes=("more publishes than history.writer_queue_capacity wait for their commit",),
    remedy="Try again after Retry-After seconds, publish in batches, or use a faster store.",
)
HISTORY_DISABLED = _row(
    "history_disabled",
    "Durable history is disabled for the channel.",
    code="feature_disabled",
    http=403,
    ws=4300,
    causes=("history.enabled is off for the server or the app",),
    remedy="Switch history on, for the server or for the app.",
)
HISTORY_QUERY = _row(
    "history_query",
    "A parameter of a history request is not valid.",
    code="invalid_input",
    http=400,
    ws=4000,
    causes=("a cursor of another channel, direction or range", "a limit of 0", "a range that ends before it starts"),
    remedy="The text says which parameter; take cursors only from next_cursor, with the other parameters unchanged.",
)
HISTORY_NOT_SUBSCRIBED = _row(
    "history_not_subscribed",
    "The connection is not subscribed to the channel whose history it asks for.",
    ws=4301,
    remedy="Subscribe to exactly this channel first.",
)
HISTORY_TOO_MANY = _row(
    "history_too_many",
    "Client event error: Too many concurrent channel_history requests for this connection",
    ws=4301,
    retry=True,
    remedy="Wait for one answer before asking again; two may be under way.",
)
REWIND_DISABLED = _row(
    "rewind_disabled",
    "Channel rewind is disabled by policy.",
    ws=4300,
    causes=("history.enabled or history.rewind_enabled is off for the channel", "a wildcard subscription"),
    remedy="Switch history and rewind on for the app or the namespace.",
)
REWIND_NEEDS_V2 = _row(
    "rewind_needs_v2",
    "Channel error: Channel rewind is only supported on protocol V2",
    ws=4300,
    remedy="Connect with protocol=2.",
)
ANNOTATIONS_DISABLED = _row(
    "annotations_disabled",
    "Annotations are not enabled for the channel.",
    ws=4300,
    remedy="Leave ANNOTATION_SUBSCRIBE out of modes.",
)
RECOVERY_DISABLED = _row(
    "recovery_disabled",
    "Connection recovery is not enabled",
    ws=4301,
    remedy="Switch connection_recovery.enabled on for the server and the app.",
)
RECOVERY_EMPTY = _row(
    "recovery_empty",
    "No channel recovery positions provided",
    ws=4302,
    remedy="Send channel_positions with at least one channel.",
)
STREAM_RESET = _row(
    "stream_reset",
    "Recovery failed: the channel has another stream than the position is from.",
    causes=("the history was reset", "the store was wiped or restored", "a restart without durable history"),
    remedy="Rebuild the channel's state and subscribe again; positions of the old stream are worth nothing.",
)
POSITION_EXPIRED = _row(
    "position_expired",
    "Recovery failed: messages after the position are not kept any more.",
    causes=("retention or a purge removed them", "the buffer expired and history is off", "too many were missed"),
    remedy="Rebuild the channel's state; raise the retention or connection_recovery.max_buffer_size.",
)
CONTINUITY_UNVERIFIABLE = _row(
    "continuity_unverifiable",
    "Recovery failed: that nothing is missing could not be proven.",
    causes=("a position ahead of the stream", "a position without a stream_id", "a channel that was not authorized"),
    remedy="Rebuild the channel's state and subscribe again.",
)
PERSISTENCE_UNAVAILABLE = _row(
    "persistence_unavailable",
    "Recovery failed: the store could not be read.",
    retry=True,
    causes=("the database is down", "the stream is degraded"),
    remedy="Rebuild the channel's state, or try again once the store is back.",
)

# ---- WebSocket framing: close frames without an error frame ----

PROTOCOL_VIOLATION = _row(
    "protocol_violation",
    "The peer broke the WebSocket protocol.",
    ws=1002,
    closes=True,
    causes=("a client that does not mask its frames", "a proxy that alters the stream"),
    remedy="Use a WebSocket library that follows RFC 6455.",
)
INVALID_TEXT = _row(
    "invalid_text",
    "A text frame is not UTF-8.",
    ws=1007,
    closes=True,
    remedy="Send text as UTF-8; JSON connections take text or UTF-8 in binary frames.",
)
MESSAGE_TOO_BIG = _row(
    "message_too_big",
    "The message is larger than the server accepts.",
    ws=1009,
    closes=True,
    remedy="Send less at once, or raise websocket_max_payload_kb.",
)

# ---- webhooks: asking about them ----

WEBHOOKS_OFF = _row(
    "webhooks_off",
    "This server has no webhooks.",
    http=503,
    causes=('queue.driver is "none"',),
    remedy="Set queue.driver (QUEUE_DRIVER) to sqlite, and restart the server.",
)
DELIVERY_NOT_FOUND = _row(
    "delivery_not_found",
    "No webhook delivery of the app has this id.",
    http=404,
    causes=(
        "a mistyped id, or the id of another app's delivery",
        "it is not kept any more: queue.reliability says how many are",
        "another queue than before: another data_dir, or a queue in memory and a restart",
    ),
    remedy="Take ids from `sockudo webhooks dead`, or from the header X-Sockudo-Delivery of a request.",
)
ENDPOINT_NOT_FOUND = _row(
    "endpoint_not_found",
    "No webhook of the app has this id.",
    http=404,
    causes=("the webhook was removed", "its url, event_types or filter was changed, which makes another of it"),
    remedy="Take ids from `sockudo webhooks list`.",
)

# ---- webhooks: why an endpoint gets nothing; the codes stand in replies and in the log ----

WEBHOOK_REFUSED = _row(
    "webhook_refused",
    "The endpoint answered, and what it answered would not change: a dead letter at once.",
    code="refused",
    causes=("a redirect", "a wrong path", "an endpoint that refuses the signature, or asks for credentials"),
    remedy="`sockudo webhooks show ID` has the answer. Repair the endpoint, then `sockudo webhooks replay ID`.",
)
WEBHOOK_FAILED = _row(
    "webhook_failed",
    "The endpoint answered that it failed; it is tried again.",
    code="failed",
    retry=True,
    causes=("an error in the endpoint's own code", "a proxy in front of an endpoint that does not run"),
    remedy="Look at the endpoint's log; `sockudo webhooks show ID` has what it answered.",
)
WEBHOOK_TIME_EXHAUSTED = _row(
    "webhook_time_exhausted",
    "The endpoint failed until the time for retries was over: a dead letter.",
    code="time_exhausted",
    causes=("an endpoint that was away for longer than webhooks.retry.max_elapsed_time_ms",),
    remedy="Repair the endpoint, then `sockudo webhooks replay --endpoint ENDPOINT`.",
)
WEBHOOK_ATTEMPTS_EXHAUSTED = _row(
    "webhook_attempts_exhausted",
    "The endpoint failed as often as retry.max_attempts allows: a dead letter.",
    code="attempts_exhausted",
    remedy="Repair the endpoint, then `sockudo webhooks replay --endpoint ENDPOINT`; or allow more attempts.",
)
WEBHOOK_RETRY_DISABLED = _row(
    "webhook_retry_disabled",
    "The endpoint failed once, and retry.enabled is false: a dead letter.",
    code="retry_disabled",
    remedy="Repair the endpoint, then `sockudo webhooks replay --endpoint ENDPOINT`; or switch retries on.",
)
WEBHOOK_ENDPOINT_REMOVED = _row(
    "webhook_endpoint_removed",
    "The webhook was removed or changed before its turn came: a dead letter.",
    code="endpoint_removed",
    causes=("another url, event_types or filter makes another webhook of it",),
    remedy="Put the webhook back as it was and replay, or leave the dead letter where it is.",
)
WEBHOOK_APP_REMOVED = _row(
    "webhook_app_removed",
    "The app was removed before its webhook's turn came: a dead letter.",
    code="app_removed",
    remedy="Put the app back and replay, or leave the dead letter where it is.",
)
WEBHOOK_TIMEOUT = _row(
    "webhook_timeout",
    "The endpoint did not answer within the time limit.",
    code="timeout",
    retry=True,
    causes=("an endpoint that does its work before it answers", "a firewall that drops packets silently"),
    remedy="Answer with 200 first and work afterwards; the limit is webhooks.request_timeout_ms.",
)
WEBHOOK_URL_INVALID = _row(
    "webhook_url_invalid",
    "The webhook's url cannot be called.",
    code="url_invalid",
    remedy="Give the webhook an absolute http or https url.",
)
WEBHOOK_DNS_FAILED = _row(
    "webhook_dns_failed",
    "The name in the webhook's url cannot be resolved.",
    code="dns_failed",
    retry=True,
    causes=("a mistyped name", "a name that is known elsewhere than where the server runs", "a resolver that is down"),
    remedy="Look the name up where the server runs: getent hosts NAME.",
)
WEBHOOK_ADDRESS_REFUSED = _row(
    "webhook_address_refused",
    "The webhook's url leads to a private address, and these are not called.",
    code="address_refused",
    causes=("an endpoint on this machine or in its own network",),
    remedy="Set webhooks.allow_private_addresses (WEBHOOK_ALLOW_PRIVATE_ADDRESSES) if whoever edits apps may call it.",
)
WEBHOOK_CONNECTION_REFUSED = _row(
    "webhook_connection_refused",
    "Nothing listens at the webhook's address and port.",
    code="connection_refused",
    retry=True,
    causes=("the endpoint is not running", "a wrong port", "in a container: localhost is the container itself"),
    remedy="Start the endpoint, or correct the port.",
)
WEBHOOK_UNREACHABLE = _row(
    "webhook_unreachable",
    "There is no way from the server to the webhook's host.",
    code="unreachable",
    retry=True,
    causes=("a route or a firewall between them", "an IPv6 address and a server without IPv6"),
    remedy="Try it from the server's machine, for example with `sockudo webhooks test URL`.",
)
WEBHOOK_CONNECTION_FAILED = _row(
    "webhook_connection_failed",
    "The connection to the webhook's host could not be made.",
    code="connection_failed",
    retry=True,
    remedy="Try it from the server's machine, for example with `sockudo webhooks test URL`.",
)
WEBHOOK_TLS_FAILED = _row(
    "webhook_tls_failed",
    "The certificate of the webhook's host is not one to trust, or the host does not speak TLS.",
    code="tls_failed",
    retry=True,
    causes=(
        "a certificate that has expired, is for another name, or was signed by yourself",
        "a chain without the intermediate certificate: browsers forgive that",
        "https with the port of plain http",
    ),
    remedy="Serve the full chain. For an authority of your own, name its certificate in SSL_CERT_FILE of the server.",
)
WEBHOOK_CONNECTION_RESET = _row(
    "webhook_connection_reset",
    "The connection to the endpoint broke before there was an answer.",
    code="connection_reset",
    retry=True,
    causes=("the endpoint crashed or restarted", "a proxy in front of it that cuts connections"),
    remedy="Look at the log of the endpoint, and of the proxy in front of it.",
)
WEBHOOK_CONNECTION_CLOSED = _row(
    "webhook_connection_closed",
    "The endpoint closed the connection without an answer.",
    code="connection_closed",
    retry=True,
    causes=("the endpoint crashed or restarted", "http with the port of https"),
    remedy="Look at the log of the endpoint, and of the proxy in front of it.",
)
WEBHOOK_PROTOCOL_ERROR = _row(
    "webhook_protocol_error",
    "What the endpoint answered is not HTTP.",
    code="protocol_error",
    retry=True,
    causes=("the port of another service",),
    remedy="Correct the port in the webhook's url.",
)

# ---- the dashboard ----

LOGIN_REQUIRED = _row(
    "login_required",
    "This part of the dashboard needs a login.",
    code="auth_failed",
    http=401,
    causes=("the session ended or the server was restarted", "the password was changed", "no Authorization header"),
    remedy="Log in at /dashboard/login; programs send Authorization: Bearer with the password.",
)
PASSWORD_WRONG = _row(
    "password_wrong",
    "The password of the dashboard is wrong.",
    code="auth_failed",
    http=401,
    causes=("a password of another server", "it was changed since"),
    remedy="Use dashboard.password of the configuration, or make a new one with `sockudo dashboard password`.",
)
LOGIN_LIMITED = _row(
    "login_limited",
    "The password of the dashboard was tried too often.",
    http=429,
    retry=True,
    causes=("a program that uses an old password", "somebody who guesses"),
    remedy="Wait for Retry-After seconds; behind a proxy, set dashboard.trust_hops so that clients are told apart.",
)
CROSS_SITE = _row(
    "cross_site",
    "The request comes from a page of another origin.",
    code="forbidden",
    http=403,
    causes=("another site sent a form here", "a proxy in front that changes the Host header"),
    remedy="Use the dashboard's own pages; let a proxy pass Host on, or X-Forwarded-Host with dashboard.trust_hops.",
)
CSRF_TOKEN = _row(
    "csrf_token",
    "The request lacks the token of its session.",
    code="forbidden",
    http=403,
    causes=("a page from before the last login", "a program that uses the cookie"),
    remedy="Load the page again; programs send Authorization: Bearer instead of the cookie.",
)

# ---- push: who asks, and what for ----

PUSH_CAPABILITY_UNKNOWN = _row(
    "push_capability_unknown",
    "The capability that the request asks for does not exist.",
    code="forbidden",
    http=403,
    causes=("a mistyped X-Sockudo-Push-Capability header",),
    remedy="Send push-admin or push-subscribe, or leave the header out, which means push-admin.",
)
PUSH_CAPABILITY = _row(
    "push_capability",
    "What is asked for needs the capability push-admin.",
    code="forbidden",
    http=403,
    causes=(
        "a device asks for what only a backend may have",
        "push-subscribe without the deviceId of the device that asks",
    ),
    remedy="Ask from the backend with X-Sockudo-Push-Capability: push-admin, or for the device's own data alone.",
)
PUSH_DEVICE_UNREGISTERED = _row(
    "push_device_unregistered",
    "A device updates its registration before a backend has registered it.",
    code="forbidden",
    http=403,
    causes=("a device that was deleted, by an operator or because its token was dead", "the device id of another app"),
    remedy="Register the device from the backend with push-admin, and give the device the token of the answer.",
)
DEVICE_TOKEN_MISSING = _row(
    "device_token_missing",
    "push-subscribe needs the identity token of the device.",
    code="auth_failed",
    http=401,
    causes=("no X-Sockudo-Device-Identity-Token header", "an Authorization header of another scheme than Bearer"),
    remedy="Send the deviceIdentityToken that the registration answered once.",
)
DEVICE_TOKEN_WRONG = _row(
    "device_token_wrong",
    "The identity token is not the one of this device.",
    code="auth_failed",
    http=401,
    causes=("the token was rotated since", "the token of another device", "a deviceId that is not the token's"),
    remedy="Rotate the token from the backend (X-Sockudo-Rotate-Device-Identity-Token: 1) and store the new one.",
)
PUSH_LIMIT = _row(
    "push_limit",
    "limit is no whole number from 1 to 1000.",
    code="invalid_input",
    http=400,
    remedy="Ask for 1 to 1000 rows at a time, and follow next_cursor for the rest.",
)
PUSH_CURSOR = _row(
    "push_cursor",
    "The cursor is not one that this list gave out.",
    code="invalid_input",
    http=400,
    causes=("a cursor that was cut off or decoded on the way", "the cursor of another list or another app"),
    remedy="Pass next_cursor on exactly as it came, to the same list; or begin again without a cursor.",
)

# ---- push: devices, credentials, templates ----

DEVICE_NOT_FOUND = _row(
    "device_not_found",
    "The app has no device with this id.",
    http=404,
    causes=(
        "the device was never registered, or under another app",
        "it was deleted: by an operator, or because its provider said that its token is dead",
    ),
    remedy="Register the device again. `sockudo push devices` lists the ones there are.",
)
PROVIDER_TOKEN_INVALID = _row(
    "provider_token_invalid",
    "The address or token of a device is not one that its provider can be asked with.",
    http=400,
    causes=(
        "an endpoint or channelUri that is not https, or leads to a private address",
        "a host that PUSH_WEBPUSH_DENIED_HOSTS names, or PUSH_WEBPUSH_ALLOWED_HOSTS does not",
        "in the status of a publish: the app was removed from the device, or its token was renewed",
    ),
    remedy="Take the endpoint or token afresh from the device and register it again; a dead one is deleted by itself.",
)
CREDENTIAL_MISSING = _row(
    "credential_missing",
    "The provider cannot be asked: it is off, or there are no credentials for it.",
    http=503,
    causes=("the provider was never set up", "its variables are set but blank", "credentials of another app"),
    remedy="Switch the provider on in [push] and store its credentials: POST /apps/ID/push/credentials/PROVIDER, or "
    "the variables that the text names. No restart is needed for stored ones.",
)
CREDENTIAL_UNREADABLE = _row(
    "credential_unreadable",
    "A stored credential cannot be decrypted.",
    code="credential_missing",
    http=503,
    causes=(
        "PUSH_CREDENTIAL_ENCRYPTION_KEY is another one than when it was stored, or is not set",
        "a credential of which only the hash was kept",
    ),
    remedy="Set the key with which it was stored, or upload the credential again.",
)
ENCRYPTION_KEY_MISSING = _row(
    "encryption_key_missing",
    "Credentials are stored encrypted, and the server has no key for that.",
    code="invalid_input",
    http=400,
    causes=("PUSH_CREDENTIAL_ENCRYPTION_KEY and push.credential_encryption_key are not set",),
    remedy="Set PUSH_CREDENTIAL_ENCRYPTION_KEY to a long random text, keep it, and restart the server.",
)
TEMPLATE_NOT_FOUND = _row(
    "template_not_found",
    "The app has no push template with this id.",
    http=404,
    causes=("a mistyped id", "the template was deleted"),
    remedy="GET /apps/ID/push/templates lists them.",
)

# ---- push: publishing ----

PUSH_DISABLED = _row(
    "push_disabled",
    "No provider can take a notification now.",
    code="service_unavailable",
    http=503,
    causes=("no provider is switched on in [push]", "no provider has credentials", "a worker count of 0"),
    remedy="Switch a provider on (push.fcm_enabled …) and give it credentials; the text says what is missing.",
)
PUSH_RATE_LIMITED = _row(
    "push_rate_limited",
    "The app publishes more notifications per second than it may.",
    code="rate_limited",
    http=429,
    retry=True,
    causes=("a loop that publishes one by one", "a push rule whose event comes too often"),
    remedy="Wait for Retry-After seconds; publish to a channel instead of devices one by one; or raise "
    "push.default_quotas.acceptance_rps (PUSH_ACCEPTANCE_RATE_LIMIT) or the rule's rate_limit_per_second.",
)
PUSH_BACKPRESSURE = _row(
    "push_backpressure",
    "Too much waits in the push pipeline already.",
    code="rate_limited",
    http=429,
    retry=True,
    causes=("a provider that is slow or throttles", "more publishes than the workers can send"),
    remedy="Wait for Retry-After seconds. The metrics sockudo_push_queue_oldest_age_seconds name the stage that lags.",
)
PUSH_LIMITER_UNAVAILABLE = _row(
    "push_limiter_unavailable",
    "Whether the app may publish now cannot be found out.",
    code="backpressure",
    http=503,
    retry=True,
    remedy="Try again after Retry-After seconds.",
)
PUSH_PAYLOAD_TOO_LARGE = _row(
    "push_payload_too_large",
    "A notification is larger than its provider takes.",
    http=413,
    causes=("long texts or much templateData", "an override that carries a whole document"),
    remedy="The text names the provider, the size and the bound. Send an id, and let the app fetch the rest.",
)
SCHEDULED_PUSH_INVALID = _row(
    "scheduled_push_invalid",
    "The times of a publish cannot be kept.",
    http=400,
    causes=("expiresAtMs in the past, or not after notBeforeMs", "seconds instead of milliseconds", "no whole number"),
    remedy="Send Unix times in milliseconds: notBeforeMs in the future and expiresAtMs after it.",
)
PUSH_QUOTA_EXCEEDED = _row(
    "push_quota_exceeded",
    "The publish is larger than the app may send; nothing was sent.",
    code="quota_exceeded",
    causes=("PUSH_FANOUT_MAX, PUSH_DELIVERY_QUOTA_DAILY or a provider's ceiling", "the device's own pushRatePolicy"),
    remedy="Raise the quota that the status names, or send once with X-Sockudo-Push-Quota-Override.",
)

# ---- push: what became of it ----

PUBLISH_NOT_FOUND = _row(
    "publish_not_found",
    "The app has no push publish with this id.",
    http=404,
    causes=("a mistyped id", "it is not kept any more: push.publish_status_ttl_days", "the publish of another app"),
    remedy="Take the id from the answer to the publish; `sockudo push status` without an id lists recent ones.",
)
NO_RECIPIENTS = _row(
    "no_recipients",
    "Nobody was there to be notified.",
    causes=("no device is subscribed to the channel", "the client has no device", "the device was deleted meanwhile"),
    remedy="Look whom the target names: GET /apps/ID/push/channelSubscriptions?channel=NAME, or the client's devices.",
)
PROVIDER_THROTTLED = _row(
    "provider_throttled",
    "The provider asks for fewer requests; the notification is sent later.",
    retry=True,
    causes=("more notifications than the provider's quota", "many to one device in a short time"),
    remedy="Wait: it is tried again when the provider allows. Ask the provider for a higher quota if it stays.",
)
PROVIDER_UNAVAILABLE = _row(
    "provider_unavailable",
    "The provider does not answer, or answers that it failed; the notification is sent later.",
    retry=True,
    causes=("an outage of the provider", "a firewall between the server and the provider"),
    remedy="Wait, or look at the provider's status page; `sockudo push test PROVIDER` shows what it answers.",
)
PROVIDER_AUTH_FAILED = _row(
    "provider_auth_failed",
    "The provider refuses the app's credentials.",
    causes=("a key that was revoked or has expired", "credentials of another project, team or topic"),
    remedy="Store the right credentials; the server uses them within seconds. No device was deleted for this.",
)
PROVIDER_REJECTED = _row(
    "provider_rejected",
    "The provider refuses the notification.",
    causes=("an override that the provider does not understand", "an answer that no table knows"),
    remedy="The reason is in the status of the publish; `sockudo push test PROVIDER` shows the whole answer.",
)
PUSH_EXPIRED = _row(
    "push_expired",
    "The notification was not sent before expiresAtMs.",
    causes=("a provider that was away for so long", "an expiresAtMs that is too near"),
    remedy="Allow more time, or leave expiresAtMs out.",
)
PUSH_RETRIES_EXHAUSTED = _row(
    "push_retries_exhausted",
    "The provider failed as often, or for as long, as push.retry allows: a dead letter.",
    causes=("an outage of the provider", "throttling for longer than push.retry.max_elapsed_secs"),
    remedy="Replay the dead letter when the provider is back: `sockudo push replay ID`.",
)
DEAD_LETTER_NOT_FOUND = _row(
    "dead_letter_not_found",
    "The app has no push dead letter with this id.",
    http=404,
    causes=("a mistyped id", "it is not kept any more: push.publish_status_ttl_days"),
    remedy="`sockudo push dead-letters` lists them.",
)
DEAD_LETTER_NOT_REPLAYABLE = _row(
    "dead_letter_not_replayable",
    "The dead letter is only a note that something was given up: there is nothing to send again.",
    code="invalid_input",
    http=400,
    causes=("the provider refused the notification, which would not change",),
    remedy="Repair the cause that its reason names and publish again.",
)
