"""What goes wrong with webhooks, and with asking about them (spec: platform § 5)."""

from __future__ import annotations

from sockudo.errors.spec import row

__all__ = [
    "DELIVERY_NOT_FOUND",
    "ENDPOINT_NOT_FOUND",
    "WEBHOOKS_OFF",
    "WEBHOOK_ADDRESS_REFUSED",
    "WEBHOOK_APP_REMOVED",
    "WEBHOOK_ATTEMPTS_EXHAUSTED",
    "WEBHOOK_CONNECTION_CLOSED",
    "WEBHOOK_CONNECTION_FAILED",
    "WEBHOOK_CONNECTION_REFUSED",
    "WEBHOOK_CONNECTION_RESET",
    "WEBHOOK_DNS_FAILED",
    "WEBHOOK_ENDPOINT_REMOVED",
    "WEBHOOK_FAILED",
    "WEBHOOK_PROTOCOL_ERROR",
    "WEBHOOK_REFUSED",
    "WEBHOOK_RETRY_DISABLED",
    "WEBHOOK_TIMEOUT",
    "WEBHOOK_TIME_EXHAUSTED",
    "WEBHOOK_TLS_AUTHORITY_UNKNOWN",
    "WEBHOOK_TLS_EXPIRED",
    "WEBHOOK_TLS_FAILED",
    "WEBHOOK_TLS_NAME_MISMATCH",
    "WEBHOOK_TLS_NOT_SPOKEN",
    "WEBHOOK_TLS_NOT_YET_VALID",
    "WEBHOOK_TLS_SELF_SIGNED",
    "WEBHOOK_UNREACHABLE",
    "WEBHOOK_URL_INVALID",
]

# ---- webhooks: asking about them ----

WEBHOOKS_OFF = row(
    "webhooks_off",
    "This server has no webhooks.",
    http=503,
    causes=('queue.driver is "none"',),
    remedy="Set queue.driver (QUEUE_DRIVER) to sqlite, and restart the server.",
)
DELIVERY_NOT_FOUND = row(
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
ENDPOINT_NOT_FOUND = row(
    "endpoint_not_found",
    "No webhook of the app has this id.",
    http=404,
    causes=("the webhook was removed", "its url, event_types or filter was changed, which makes another of it"),
    remedy="Take ids from `sockudo webhooks list`.",
)

# ---- webhooks: why an endpoint gets nothing; the codes stand in replies and in the log ----

WEBHOOK_REFUSED = row(
    "webhook_refused",
    "The endpoint answered, and what it answered would not change: a dead letter at once.",
    code="refused",
    causes=("a redirect", "a wrong path", "an endpoint that refuses the signature, or asks for credentials"),
    remedy="`sockudo webhooks show ID` has the answer. Repair the endpoint, then `sockudo webhooks replay ID`.",
)
WEBHOOK_FAILED = row(
    "webhook_failed",
    "The endpoint answered that it failed; it is tried again.",
    code="failed",
    retry=True,
    causes=("an error in the endpoint's own code", "a proxy in front of an endpoint that does not run"),
    remedy="Look at the endpoint's log; `sockudo webhooks show ID` has what it answered.",
)
WEBHOOK_TIME_EXHAUSTED = row(
    "webhook_time_exhausted",
    "The endpoint failed until the time for retries was over: a dead letter.",
    code="time_exhausted",
    causes=("an endpoint that was away for longer than webhooks.retry.max_elapsed_time_ms",),
    remedy="Repair the endpoint, then `sockudo webhooks replay --endpoint ENDPOINT`.",
)
WEBHOOK_ATTEMPTS_EXHAUSTED = row(
    "webhook_attempts_exhausted",
    "The endpoint failed as often as retry.max_attempts allows: a dead letter.",
    code="attempts_exhausted",
    remedy="Repair the endpoint, then `sockudo webhooks replay --endpoint ENDPOINT`; or allow more attempts.",
)
WEBHOOK_RETRY_DISABLED = row(
    "webhook_retry_disabled",
    "The endpoint failed once, and retry.enabled is false: a dead letter.",
    code="retry_disabled",
    remedy="Repair the endpoint, then `sockudo webhooks replay --endpoint ENDPOINT`; or switch retries on.",
)
WEBHOOK_ENDPOINT_REMOVED = row(
    "webhook_endpoint_removed",
    "The webhook was removed or changed before its turn came: a dead letter.",
    code="endpoint_removed",
    causes=("another url, event_types or filter makes another webhook of it",),
    remedy="Put the webhook back as it was and replay, or leave the dead letter where it is.",
)
WEBHOOK_APP_REMOVED = row(
    "webhook_app_removed",
    "The app was removed before its webhook's turn came: a dead letter.",
    code="app_removed",
    remedy="Put the app back and replay, or leave the dead letter where it is.",
)
WEBHOOK_TIMEOUT = row(
    "webhook_timeout",
    "The endpoint did not answer within the time limit.",
    code="timeout",
    retry=True,
    causes=("an endpoint that does its work before it answers", "a firewall that drops packets silently"),
    remedy="Answer with 200 first and work afterwards; the limit is webhooks.request_timeout_ms.",
)
WEBHOOK_URL_INVALID = row(
    "webhook_url_invalid",
    "The webhook's url cannot be called.",
    code="url_invalid",
    remedy="Give the webhook an absolute http or https url.",
)
WEBHOOK_DNS_FAILED = row(
    "webhook_dns_failed",
    "The name in the webhook's url cannot be resolved.",
    code="dns_failed",
    retry=True,
    causes=("a mistyped name", "a name that is known elsewhere than where the server runs", "a resolver that is down"),
    remedy="Look the name up where the server runs: getent hosts NAME.",
)
WEBHOOK_ADDRESS_REFUSED = row(
    "webhook_address_refused",
    "The webhook's url leads to a private address, and these are not called.",
    code="address_refused",
    causes=("an endpoint on this machine or in its own network",),
    remedy="Set webhooks.allow_private_addresses (WEBHOOK_ALLOW_PRIVATE_ADDRESSES) if editors of apps may call it.",
)
WEBHOOK_CONNECTION_REFUSED = row(
    "webhook_connection_refused",
    "Nothing listens at the webhook's address and port.",
    code="connection_refused",
    retry=True,
    causes=("the endpoint is not running", "a wrong port", "in a container: localhost is the container itself"),
    remedy="Start the endpoint, or correct the port.",
)
WEBHOOK_UNREACHABLE = row(
    "webhook_unreachable",
    "There is no way from the server to the webhook's host.",
    code="unreachable",
    retry=True,
    causes=("a route or a firewall between them", "an IPv6 address and a server without IPv6"),
    remedy="Try it from the server's machine, for example with `sockudo webhooks test URL`.",
)
WEBHOOK_CONNECTION_FAILED = row(
    "webhook_connection_failed",
    "The connection to the webhook's host could not be made.",
    code="connection_failed",
    retry=True,
    remedy="Try it from the server's machine, for example with `sockudo webhooks test URL`.",
)
WEBHOOK_TLS_SELF_SIGNED = row(
    "webhook_tls_self_signed",
    "The certificate of the webhook's host is self-signed, and not one that the server trusts.",
    code="tls_self_signed",
    retry=True,
    causes=("a certificate that was made for trying things out", "the certificate that a new web server comes with"),
    remedy="Give the endpoint a certificate of a public authority, or name its own certificate in SSL_CERT_FILE of the "
    "server and restart it.",
)
WEBHOOK_TLS_AUTHORITY_UNKNOWN = row(
    "webhook_tls_authority_unknown",
    "The certificate of the webhook's host was issued by an authority that the server does not trust.",
    code="tls_authority_unknown",
    retry=True,
    causes=(
        "a chain without the intermediate certificate: browsers forgive that",
        "an authority of the company's own, or a proxy that opens TLS",
        "an old list of authorities on the server's machine",
    ),
    remedy="Have the endpoint send its full chain (fullchain.pem). For an authority of your own, name its certificate "
    "in SSL_CERT_FILE of the server and restart it.",
)
WEBHOOK_TLS_EXPIRED = row(
    "webhook_tls_expired",
    "The certificate of the webhook's host has expired.",
    code="tls_expired",
    retry=True,
    causes=("a renewal that failed", "a web server that was not reloaded after the renewal", "a clock that runs ahead"),
    remedy="Renew the endpoint's certificate and reload its web server; then compare the clocks of both machines.",
)
WEBHOOK_TLS_NOT_YET_VALID = row(
    "webhook_tls_not_yet_valid",
    "The certificate of the webhook's host is not valid yet.",
    code="tls_not_yet_valid",
    retry=True,
    causes=("the clock of the server's machine is behind", "a certificate that was issued for a later time"),
    remedy="Set the clock of the server's machine (NTP); if it is right, the certificate has to be issued again.",
)
WEBHOOK_TLS_NAME_MISMATCH = row(
    "webhook_tls_name_mismatch",
    "The certificate of the webhook's host is for another name.",
    code="tls_name_mismatch",
    retry=True,
    causes=("an IP address or an alias in the url", "the web server's default site answers for this name"),
    remedy="Put the name that the certificate is for into the webhook's url, or get a certificate for the url's name.",
)
WEBHOOK_TLS_NOT_SPOKEN = row(
    "webhook_tls_not_spoken",
    "The url says https, and the port does not speak TLS.",
    code="tls_not_spoken",
    retry=True,
    causes=("https with the port of plain http", "a proxy that ends TLS at another port"),
    remedy="Use http in the webhook's url, or the port on which the endpoint serves https.",
)
WEBHOOK_TLS_FAILED = row(
    "webhook_tls_failed",
    "The TLS handshake with the webhook's host failed.",
    code="tls_failed",
    retry=True,
    causes=("no version or cipher in common", "an endpoint that wants a client certificate"),
    remedy="See what the host offers: openssl s_client -connect HOST:PORT -servername HOST. TLS 1.2 or later is "
    "needed, and no client certificate is sent.",
)
WEBHOOK_CONNECTION_RESET = row(
    "webhook_connection_reset",
    "The connection to the endpoint broke before there was an answer.",
    code="connection_reset",
    retry=True,
    causes=("the endpoint crashed or restarted", "a proxy in front of it that cuts connections"),
    remedy="Look at the log of the endpoint, and of the proxy in front of it.",
)
WEBHOOK_CONNECTION_CLOSED = row(
    "webhook_connection_closed",
    "The endpoint closed the connection without an answer.",
    code="connection_closed",
    retry=True,
    causes=("the endpoint crashed or restarted", "http with the port of https"),
    remedy="Look at the log of the endpoint, and of the proxy in front of it.",
)
WEBHOOK_PROTOCOL_ERROR = row(
    "webhook_protocol_error",
    "What the endpoint answered is not HTTP.",
    code="protocol_error",
    retry=True,
    causes=("the port of another service",),
    remedy="Correct the port in the webhook's url.",
)
