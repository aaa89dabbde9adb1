"""What is refused of an HTTP request: who asks, and what for (spec: http-api § 3)."""

from __future__ import annotations

from sockudo.errors.spec import row

__all__ = [
    "AI_EVENT_NOT_PERMITTED",
    "APPS_READ_ONLY",
    "APP_CHANGED",
    "APP_DISABLED",
    "APP_EXISTS",
    "APP_KEY_TAKEN",
    "APP_MISMATCH",
    "APP_NOT_FOUND",
    "AUTH_PARAMETERS",
    "BODIES_FULL",
    "BODY_HASH_MISMATCH",
    "BODY_HASH_MISSING",
    "BODY_TOO_LARGE",
    "CHANNEL_NAME",
    "DRAINING",
    "EVENT_TOO_LARGE",
    "FEATURE_DISABLED",
    "HEADERS_TOO_LARGE",
    "HOST_NOT_ALLOWED",
    "IDEMPOTENCY_CONFLICT",
    "IDEMPOTENCY_RUNNING",
    "INTERNAL_ERROR",
    "INVALID_INPUT",
    "LIMIT_EXCEEDED",
    "MALFORMED_JSON",
    "MALFORMED_REQUEST",
    "METHOD_NOT_ALLOWED",
    "MISSING_CHANNEL",
    "NOT_FOUND",
    "ORIGIN_NOT_LOCAL",
    "RATE_LIMITED",
    "REQUEST_TIMEOUT",
    "SERVICE_UNAVAILABLE",
    "SIGNATURE_MISMATCH",
    "TIMESTAMP_INVALID",
    "TIMESTAMP_STALE",
    "UNKNOWN_KEY",
    "UNSUPPORTED_MEDIA_TYPE",
    "URI_TOO_LONG",
    "WATCHERS_FULL",
    "WRONG_SHAPE",
]

# ---- who is asking (HTTP) ----

AUTH_PARAMETERS = row(
    "auth_parameters",
    "The query string lacks the authentication parameters, or repeats one.",
    code="invalid_input",
    http=400,
    causes=("the URL was called without signing it", "a proxy dropped the query string"),
    remedy="Sign the request with the app's key and secret; every Pusher server SDK does it for you.",
)
UNKNOWN_KEY = row(
    "unknown_key",
    "No app has this auth_key.",
    code="auth_failed",
    reason="key",
    http=401,
    causes=("the key of another environment", "id, key and secret mixed up", "the app was removed"),
    remedy="Compare the key with `sockudo apps list`, or with the credentials the server printed when it started.",
)
APP_MISMATCH = row(
    "app_mismatch",
    "The auth_key belongs to another app than the one in the path.",
    code="auth_failed",
    reason="app",
    http=401,
    causes=("app id and key come from two different apps",),
    remedy="Take app id, key and secret from the same app.",
)
TIMESTAMP_INVALID = row(
    "timestamp_invalid",
    "auth_timestamp is missing or not a whole number of seconds.",
    code="auth_failed",
    reason="timestamp",
    http=401,
    causes=("milliseconds instead of seconds", "a client that signs by hand"),
    remedy="Send Unix time in seconds as auth_timestamp and sign it with the other parameters.",
)
TIMESTAMP_STALE = row(
    "timestamp_stale",
    "auth_timestamp is more than 600 seconds away from the server's clock.",
    code="auth_failed",
    reason="timestamp",
    http=401,
    causes=("a clock that runs wrong", "a request kept in a queue and sent later", "milliseconds instead of seconds"),
    remedy="Synchronise the clocks (NTP) and sign the request when it is sent, not when it is queued.",
)
BODY_HASH_MISMATCH = row(
    "body_hash_mismatch",
    "body_md5 is not the MD5 of the body that arrived.",
    code="auth_failed",
    reason="body_md5",
    http=401,
    causes=("the body was serialized again after signing", "a proxy rewrote the body"),
    remedy="Sign exactly the bytes that are sent.",
)
BODY_HASH_MISSING = row(
    "body_hash_missing",
    "A POST with a body must carry body_md5.",
    code="auth_failed",
    reason="body_md5",
    http=401,
    causes=("a client that signs by hand and left body_md5 out",),
    remedy="Add body_md5, the lower-case hex MD5 of the body, and sign it with the other parameters.",
)
SIGNATURE_MISMATCH = row(
    "signature_mismatch",
    "auth_signature is missing or does not match the request.",
    code="auth_failed",
    reason="signature",
    http=401,
    causes=("a wrong secret", "parameters changed after signing", "a proxy that rewrites the path"),
    remedy="Check the secret; then that method, path and query reach the server as they were signed.",
)
APP_NOT_FOUND = row(
    "app_not_found",
    "No app has the id in the path.",
    http=404,
    causes=("a mistyped app id", "the key used in place of the id"),
    remedy="Compare the id with `sockudo apps list`; a server that was started with --dev has the app 1001, and those "
    "that it was given.",
)
APP_EXISTS = row(
    "app_exists",
    "Another app has the id that the new one was to get.",
    http=409,
    causes=("the app was added before", "another client added one with this id at the same time"),
    remedy="Choose another id, leave it out to have one made, or change the app that is there.",
)
APP_KEY_TAKEN = row(
    "app_key_taken",
    "Another app has the key that this one was to get; keys are unique.",
    http=409,
    causes=("a record that was copied together with its key",),
    remedy="Choose another key, or leave it out to have one made.",
)
APP_CHANGED = row(
    "app_changed",
    "The app was changed by another client since it was read.",
    http=412,
    causes=("two operators at work on one app", "a page or a reply that is older than the last change"),
    remedy="Read the app again, see what changed, and make the change once more.",
)
APPS_READ_ONLY = row(
    "apps_read_only",
    "The server only serves the apps that its configuration names; they cannot be changed while it runs.",
    http=409,
    causes=(
        'app_manager.driver is "memory", which keeps nothing',
        "joined nodes have apps of their own: what is changed here would be known to one of them",
    ),
    remedy="Change the file that the text names and send the server SIGHUP, or set app_manager.driver to a store.",
)
APP_DISABLED = row(
    "app_disabled",
    "The app is disabled.",
    http=403,
    ws=4003,
    closes=True,
    causes=("`sockudo apps disable` or enabled = false", "`enabled` was left out of the app's record"),
    remedy="Enable the app: `sockudo apps enable ID`, or enabled = true in the configuration.",
)

# ---- what is asked (HTTP) ----

NOT_FOUND = row(
    "not_found",
    "There is nothing at this path.",
    http=404,
    causes=("a mistyped path", "a route of a feature that this version does not have"),
    remedy="Compare the path with the HTTP API reference; paths are case-sensitive.",
)
HOST_NOT_ALLOWED = row(
    "host_not_allowed",
    "A listener on loopback does not answer for the host that the request names.",
    http=421,
    causes=(
        "a proxy in front that passes its own host name on, and is not counted in trust_hops",
        "a name of this machine that is not localhost",
        "a page on the internet whose name was made to stand for 127.0.0.1 (DNS rebinding)",
    ),
    remedy="Add the name to allowed_hosts (SOCKUDO_ALLOWED_HOSTS), count your proxy in trust_hops, or use localhost.",
)
ORIGIN_NOT_LOCAL = row(
    "origin_not_local",
    "Under --dev only pages of this machine and of private networks reach the server.",
    code="forbidden",
    http=403,
    ws=4009,
    closes=True,
    causes=(
        "the page is on a host that is neither loopback, a private address, *.localhost nor *.test",
        "a page on the internet that tries the known credentials of a development server",
    ),
    remedy="Start the server with --allow-origin and the page's origin, or set dev_origins (SOCKUDO_DEV_ORIGINS).",
)
METHOD_NOT_ALLOWED = row(
    "method_not_allowed",
    "The path exists, but not for this method.",
    http=405,
    causes=("GET instead of POST",),
    remedy="Use one of the methods in the Allow header.",
)
UNSUPPORTED_MEDIA_TYPE = row(
    "unsupported_media_type",
    "This endpoint expects a JSON body.",
    code="invalid_input",
    http=415,
    causes=("no Content-Type header", "a form instead of JSON"),
    remedy="Send Content-Type: application/json.",
)
MALFORMED_JSON = row(
    "malformed_json",
    "The body is not JSON.",
    code="invalid_input",
    http=400,
    causes=("an empty or cut-off body", "a body in another encoding than UTF-8"),
    remedy="Send one JSON object in UTF-8.",
)
WRONG_SHAPE = row(
    "wrong_shape",
    "The body is JSON of the wrong shape.",
    code="invalid_input",
    http=422,
    causes=("a field of the wrong type", "a required field left out", "a field given twice"),
    remedy="The text names the field and what it must be.",
)
INVALID_INPUT = row(
    "invalid_input",
    "A value in the request is not allowed.",
    http=400,
    causes=("see the text: it names the field, the limit and the value",),
    remedy="Change the value that the text names.",
)
CHANNEL_NAME = row(
    "channel_name",
    "The channel name is not allowed.",
    code="invalid_input",
    http=400,
    ws=4300,
    causes=("a character outside A-Z a-z 0-9 _ - = @ , ; . : #", "a name that is too long or empty"),
    remedy="Use an allowed name; the text names the characters or the limit.",
)
MISSING_CHANNEL = row(
    "missing_channel_info",
    "Request must contain 'channels' (list) or 'channel' (string)",
    http=400,
    causes=("an empty list of channels",),
    remedy="Name at least one channel.",
)
LIMIT_EXCEEDED = row(
    "limit_exceeded",
    "The request is over one of the app's limits.",
    http=400,
    causes=("too many channels or events in one request", "an event name that is too long"),
    remedy="Split the request, or raise the limit: event_limits.max_channels_at_once, event_limits.max_batch_size, "
    "or the app's max_event_name_length.",
)
EVENT_TOO_LARGE = row(
    "payload_too_large",
    "The event's data is larger than the app allows.",
    http=413,
    causes=("a document sent through the channel",),
    remedy="Send a reference instead of the document, or raise max_event_payload_in_kb.",
)
BODY_TOO_LARGE = row(
    "body_too_large",
    "The request body is larger than the server accepts.",
    code="payload_too_large",
    http=413,
    causes=("a batch that is too large",),
    remedy="Split the request, or raise http_api.request_limit_in_mb.",
)
URI_TOO_LONG = row(
    "uri_too_long",
    "The request target is longer than the server accepts.",
    http=414,
    remedy="Shorten the path and the query.",
)
HEADERS_TOO_LARGE = row(
    "headers_too_large",
    "The request has too many headers, or they are too large.",
    http=431,
    causes=("cookies of another application on the same domain",),
    remedy="Send fewer and smaller headers.",
)
MALFORMED_REQUEST = row(
    "malformed_request",
    "This is not a valid HTTP/1.1 request.",
    code="invalid_input",
    http=400,
    causes=("HTTPS spoken to a plain port", "no Host header, or two", "both Content-Length and Transfer-Encoding"),
    remedy="Speak HTTP/1.1, with one Host header and one way of giving the length.",
)
REQUEST_TIMEOUT = row(
    "request_timeout",
    "The request did not arrive in time.",
    http=408,
    retry=True,
    causes=("a connection that stalls",),
    remedy="Send the request again.",
)
RATE_LIMITED = row(
    "rate_limited",
    "Too many requests.",
    http=429,
    retry=True,
    causes=("more requests from this address than the server allows", "more than the app's own limit per second"),
    remedy="Wait for Retry-After seconds; batch events; or raise the setting that the text names. Where a proxy makes "
    "all clients one address, set trust_hops beside it.",
)
IDEMPOTENCY_CONFLICT = row(
    "idempotency_conflict",
    "The idempotency key was already used with a different payload.",
    http=409,
    causes=("a key that is not unique per event",),
    remedy="Make a new key for each new event and reuse it only to repeat that event.",
)
IDEMPOTENCY_RUNNING = row(
    "idempotency_running",
    "A publish with this idempotency key is still in progress.",
    code="backpressure",
    http=503,
    retry=True,
    causes=("a retry sent before the first try was answered",),
    remedy="Try again after Retry-After seconds with the same key.",
)
AI_EVENT_NOT_PERMITTED = row(
    "ai_event_not_permitted",
    "AI events and AI metadata need a channel of the AI transport.",
    http=403,
    causes=("an event name that is reserved for AI transport, such as ai-input",),
    remedy="Use another event name, or leave extras.ai out.",
    ai_code=104003,
)
FEATURE_DISABLED = row(
    "feature_disabled",
    "The feature is switched off.",
    http=403,
    ws=4301,
    remedy="Switch the feature on for the app or the server.",
)
SERVICE_UNAVAILABLE = row(
    "service_unavailable",
    "A part that the server needs for this request does not answer.",
    http=503,
    retry=True,
    remedy="Try again; look at /up and the log for the part that fails.",
)
WATCHERS_FULL = row(
    "watchers_full",
    "As many people watch the server already as may at once.",
    code="backpressure",
    http=503,
    retry=True,
    causes=("pages of the inspector left open", "`sockudo tail` running in many places"),
    remedy="Close a page of the inspector or end a `sockudo tail`; its place is free a moment later.",
)
DRAINING = row(
    "draining",
    "The server is shutting down.",
    code="service_unavailable",
    http=503,
    retry=True,
    remedy="Connect again: another instance, or this one after its restart, will answer.",
)
BODIES_FULL = row(
    "bodies_full",
    "Too many request bodies are arriving at once.",
    code="service_unavailable",
    http=503,
    retry=True,
    causes=("Many clients send large bodies slowly.", "A client keeps unfinished requests open on purpose."),
    remedy="Try again after Retry-After; the operator raises http_api.unfinished_bodies_in_mb.",
)
INTERNAL_ERROR = row(
    "internal_error",
    "Internal server error",
    http=500,
    ws=4000,
    retry=True,
    causes=("a defect of the server",),
    remedy="Look for the id of the answer in the server's log and report it.",
)
