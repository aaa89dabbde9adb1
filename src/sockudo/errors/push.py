"""What is refused of push, and what becomes of it (spec: push § 12)."""

from __future__ import annotations

from sockudo.errors.spec import row

__all__ = [
    "CREDENTIAL_INVALID",
    "CREDENTIAL_MISSING",
    "CREDENTIAL_UNREADABLE",
    "DEAD_LETTER_NOT_FOUND",
    "DEAD_LETTER_NOT_REPLAYABLE",
    "DEVICE_NOT_FOUND",
    "DEVICE_TOKEN_MISSING",
    "DEVICE_TOKEN_WRONG",
    "ENCRYPTION_KEY_MISSING",
    "NO_RECIPIENTS",
    "PROVIDER_AUTH_FAILED",
    "PROVIDER_PROJECT_MISMATCH",
    "PROVIDER_REJECTED",
    "PROVIDER_THROTTLED",
    "PROVIDER_TOKEN_INVALID",
    "PROVIDER_TOPIC_MISMATCH",
    "PROVIDER_UNAVAILABLE",
    "PROVIDER_VAPID_REFUSED",
    "PUBLISH_NOT_FOUND",
    "PUSH_BACKPRESSURE",
    "PUSH_CAPABILITY",
    "PUSH_CAPABILITY_UNKNOWN",
    "PUSH_CURSOR",
    "PUSH_DEVICE_UNREGISTERED",
    "PUSH_DISABLED",
    "PUSH_EXPIRED",
    "PUSH_LIMIT",
    "PUSH_LIMITER_UNAVAILABLE",
    "PUSH_PAYLOAD_TOO_LARGE",
    "PUSH_QUOTA_EXCEEDED",
    "PUSH_RATE_LIMITED",
    "PUSH_RETRIES_EXHAUSTED",
    "SCHEDULED_PUSH_INVALID",
    "TEMPLATE_NOT_FOUND",
]

# ---- push: who asks, and what for ----

PUSH_CAPABILITY_UNKNOWN = row(
    "push_capability_unknown",
    "The capability that the request asks for does not exist.",
    code="forbidden",
    http=403,
    causes=("a mistyped X-Sockudo-Push-Capability header",),
    remedy="Send push-admin or push-subscribe, or leave the header out, which means push-admin.",
)
PUSH_CAPABILITY = row(
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
PUSH_DEVICE_UNREGISTERED = row(
    "push_device_unregistered",
    "A device updates its registration before a backend has registered it.",
    code="forbidden",
    http=403,
    causes=("a device that was deleted, by an operator or because its token was dead", "the device id of another app"),
    remedy="Register the device from the backend with push-admin, and give the device the token of the answer.",
)
DEVICE_TOKEN_MISSING = row(
    "device_token_missing",
    "push-subscribe needs the identity token of the device.",
    code="auth_failed",
    reason="device_token",
    http=401,
    causes=("no X-Sockudo-Device-Identity-Token header", "an Authorization header of another scheme than Bearer"),
    remedy="Send the deviceIdentityToken that the registration answered once.",
)
DEVICE_TOKEN_WRONG = row(
    "device_token_wrong",
    "The identity token is not the one of this device.",
    code="auth_failed",
    reason="device_token",
    http=401,
    causes=("the token was rotated since", "the token of another device", "a deviceId that is not the token's"),
    remedy="Rotate the token from the backend (X-Sockudo-Rotate-Device-Identity-Token: 1) and store the new one.",
)
PUSH_LIMIT = row(
    "push_limit",
    "limit is no whole number from 1 to 1000.",
    code="invalid_input",
    http=400,
    remedy="Ask for 1 to 1000 rows at a time, and follow next_cursor for the rest.",
)
PUSH_CURSOR = row(
    "push_cursor",
    "The cursor is not one that this list gave out.",
    code="invalid_input",
    http=400,
    causes=("a cursor that was cut off or decoded on the way", "the cursor of another list or another app"),
    remedy="Pass next_cursor on exactly as it came, to the same list; or begin again without a cursor.",
)

# ---- push: devices, credentials, templates ----

DEVICE_NOT_FOUND = row(
    "device_not_found",
    "The app has no device with this id.",
    http=404,
    causes=(
        "the device was never registered, or under another app",
        "it was deleted: by an operator, or because its provider answered that its token is dead",
    ),
    remedy="Register the device again. `sockudo push devices` lists the ones there are.",
)
PROVIDER_TOKEN_INVALID = row(
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
CREDENTIAL_INVALID = row(
    "credential_invalid",
    "What was uploaded is no credential that anything could be sent with; nothing was stored.",
    http=400,
    causes=(
        "another file of the provider's console than the key file",
        "a key that was cut off, or pasted without its BEGIN and END lines",
        "the passphrase of a .p12 is missing or another one",
        "a certificate that has expired, or one whose key is another",
        "the two keys of webpush are of different pairs",
    ),
    remedy="The text names the field: take the key afresh from the provider's console, and upload the whole of it. "
    "docs/push.md says where each is found; sockudo push vapid makes a pair for webpush.",
)
CREDENTIAL_MISSING = row(
    "credential_missing",
    "The provider cannot be asked: it is off, or there are no credentials for it.",
    http=503,
    causes=("the provider was never set up", "its variables are set but blank", "credentials of another app"),
    remedy="Do what the text names. Otherwise store the provider's credentials (POST "
    "/apps/ID/push/credentials/PROVIDER, which needs no restart, or its variables), and switch it on in [push].",
)
CREDENTIAL_UNREADABLE = row(
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
ENCRYPTION_KEY_MISSING = row(
    "encryption_key_missing",
    "Credentials are stored encrypted, and the server has no key for that.",
    code="invalid_input",
    http=400,
    causes=("PUSH_CREDENTIAL_ENCRYPTION_KEY and push.credential_encryption_key are not set",),
    remedy="Set PUSH_CREDENTIAL_ENCRYPTION_KEY to a long random text, keep it, and restart the server.",
)
TEMPLATE_NOT_FOUND = row(
    "template_not_found",
    "The app has no push template with this id.",
    http=404,
    causes=("a mistyped id", "the template was deleted"),
    remedy="GET /apps/ID/push/templates lists them.",
)

# ---- push: publishing ----

PUSH_DISABLED = row(
    "push_disabled",
    "No provider can take a notification now.",
    code="service_unavailable",
    http=503,
    causes=("no provider is switched on in [push]", "no provider has credentials", "a worker count of 0"),
    remedy="Switch a provider on (push.fcm_enabled …) and give it credentials; the text says what is missing.",
)
PUSH_RATE_LIMITED = row(
    "push_rate_limited",
    "The app publishes more notifications per second than it may.",
    code="rate_limited",
    http=429,
    retry=True,
    causes=("a loop that publishes one by one", "a push rule whose event comes too often"),
    remedy="Wait for Retry-After seconds; publish to a channel instead of devices one by one; or raise "
    "push.default_quotas.acceptance_rps (PUSH_ACCEPTANCE_RATE_LIMIT) or the rule's rate_limit_per_second.",
)
PUSH_BACKPRESSURE = row(
    "push_backpressure",
    "Too much waits in the push pipeline already.",
    code="rate_limited",
    http=429,
    retry=True,
    causes=("a provider that is slow or throttles", "more publishes than the workers can send"),
    remedy="Wait for Retry-After seconds. The metrics sockudo_push_queue_oldest_age_seconds name the stage that lags.",
)
PUSH_LIMITER_UNAVAILABLE = row(
    "push_limiter_unavailable",
    "Whether the app may publish now cannot be found out.",
    code="backpressure",
    http=503,
    retry=True,
    remedy="Try again after Retry-After seconds.",
)
PUSH_PAYLOAD_TOO_LARGE = row(
    "push_payload_too_large",
    "A notification is larger than its provider takes.",
    http=413,
    causes=("long texts or much templateData", "an override that carries a whole document"),
    remedy="The text names the provider, the size and the bound. Send an id, and let the app fetch the rest.",
)
SCHEDULED_PUSH_INVALID = row(
    "scheduled_push_invalid",
    "The times of a publish cannot be kept.",
    http=400,
    causes=(
        "expiresAtMs in the past, or not after notBeforeMs",
        "/scheduled without notBeforeMs, or with one in the past: seconds instead of milliseconds",
        "no whole number",
    ),
    remedy="Send Unix times in milliseconds: expiresAtMs in the future and after notBeforeMs. /publish sends at once "
    "what has a notBeforeMs in the past; /scheduled refuses it.",
)
PUSH_QUOTA_EXCEEDED = row(
    "push_quota_exceeded",
    "The publish is larger than the app may send; nothing was sent.",
    code="quota_exceeded",
    causes=("PUSH_FANOUT_MAX, PUSH_DELIVERY_QUOTA_DAILY or a provider's ceiling", "the device's own pushRatePolicy"),
    remedy="Raise the quota that the status names, or send once with X-Sockudo-Push-Quota-Override.",
)

# ---- push: what became of it ----

PUBLISH_NOT_FOUND = row(
    "publish_not_found",
    "The app has no push publish with this id.",
    http=404,
    causes=("a mistyped id", "it is not kept any more: push.publish_status_ttl_days", "the publish of another app"),
    remedy="Take the id from the answer to the publish; `sockudo push status` without an id lists recent ones.",
)
NO_RECIPIENTS = row(
    "no_recipients",
    "No device was there to be notified.",
    causes=("no device is subscribed to the channel", "the client has no device", "the device was deleted meanwhile"),
    remedy="Look whom the target names: GET /apps/ID/push/channelSubscriptions?channel=NAME, or the client's devices.",
)
PROVIDER_THROTTLED = row(
    "provider_throttled",
    "The provider asks for fewer requests; the notification is sent later.",
    retry=True,
    causes=("more notifications than the provider's quota", "many to one device in a short time"),
    remedy="Wait: it is tried again when the provider allows. Ask the provider for a higher quota if it stays.",
)
PROVIDER_UNAVAILABLE = row(
    "provider_unavailable",
    "The provider does not answer, or answers that it failed; the notification is sent later.",
    retry=True,
    causes=("an outage of the provider", "a firewall between the server and the provider"),
    remedy="Wait, or look at the provider's status page; `sockudo push test PROVIDER` shows what it answers.",
)
PROVIDER_AUTH_FAILED = row(
    "provider_auth_failed",
    "The provider refuses the app's credentials.",
    causes=("a key that was revoked or has expired", "credentials of another project or team"),
    remedy="Store the right credentials; the server uses them within seconds. No device was deleted for this.",
)
PROVIDER_TOPIC_MISMATCH = row(
    "provider_topic_mismatch",
    "APNs refuses the topic: the device's token belongs to another app than the one that was named.",
    causes=(
        "APNS_TOPIC is not the bundle id of the app that registered the device",
        "a token of the sandbox sent to production, or the other way round",
        "a certificate that is for another bundle id",
    ),
    remedy="The reason names the topic that was sent. Set APNS_TOPIC (push.apns.topic) to the bundle id of the app on "
    "the device, and APNS_ENDPOINT to the environment that it was built for. The credentials are not the cause.",
)
PROVIDER_PROJECT_MISMATCH = row(
    "provider_project_mismatch",
    "The device's token belongs to another project of the provider than the one that was named.",
    causes=(
        "the app on the device has the google-services.json of another Firebase project",
        "FCM_PROJECT_ID names another project than the service account's",
    ),
    remedy="Use the service account of the project with which the app was built (FCM_PROJECT_ID, or the project_id of "
    "its key file); the reason names the one that was sent. Or build the app with this project, and register again.",
)
PROVIDER_VAPID_REFUSED = row(
    "provider_vapid_refused",
    "The push service of a browser refuses the VAPID key or its signature.",
    causes=(
        "the key is another one than the browser subscribed with (vapid_key_mismatch)",
        "the clock is wrong, or VAPID_CONTACT is no mailto: or https: address (vapid_refused)",
    ),
    remedy="Set VAPID_PRIVATE_KEY to the pair with which pages subscribe. After a change of keys every browser has to "
    "subscribe again, with the new VAPID_PUBLIC_KEY; otherwise compare the clock and VAPID_CONTACT.",
)
PROVIDER_REJECTED = row(
    "provider_rejected",
    "The provider refuses the notification.",
    causes=("an override that the provider does not understand", "an answer that no table knows"),
    remedy="The reason is in the status of the publish; `sockudo push test PROVIDER` shows the whole answer.",
)
PUSH_EXPIRED = row(
    "push_expired",
    "The notification was not sent before expiresAtMs.",
    causes=("a provider that was away for so long", "an expiresAtMs that is too near"),
    remedy="Allow more time, or leave expiresAtMs out.",
)
PUSH_RETRIES_EXHAUSTED = row(
    "push_retries_exhausted",
    "The provider failed as often, or for as long, as push.retry allows: a dead letter.",
    causes=("an outage of the provider", "throttling for longer than push.retry.max_elapsed_secs"),
    remedy="Replay the dead letter when the provider is back: `sockudo push replay ID`.",
)
DEAD_LETTER_NOT_FOUND = row(
    "dead_letter_not_found",
    "The app has no push dead letter with this id.",
    http=404,
    causes=("a mistyped id", "it is not kept any more: push.publish_status_ttl_days"),
    remedy="`sockudo push dead-letters` lists them.",
)
DEAD_LETTER_NOT_REPLAYABLE = row(
    "dead_letter_not_replayable",
    "The dead letter is only a note that something was given up: there is nothing to send again.",
    code="invalid_input",
    http=400,
    causes=("the provider refused the notification, which would not change",),
    remedy="Repair the cause that its reason names and publish again.",
)
