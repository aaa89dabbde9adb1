"""Listeners, HTTP and logs: ``http_api cors ssl unix_socket metrics logging instance`` (spec: platform § 1.3)."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import msgspec

from sockudo.config import origins
from sockudo.config.keys import Key

__all__ = ["Cors", "HttpApi", "Instance", "Logging", "Metrics", "Prometheus", "Ssl", "UnixSocket"]


def _octal_mode(text: str) -> str | None:
    if not text or any(digit not in "01234567" for digit in text):
        return 'is not a mode: octal digits in quotes, like "660"'
    return None if int(text, 8) <= 0o777 else "is a mode over 777"


def _metric_prefix(text: str) -> str | None:
    plain = text.replace("_", "a").replace(":", "a")
    if not text or (plain.isascii() and plain.isalnum() and not plain[0].isdigit()):
        return None
    return "is not a metric name prefix: letters, digits, '_' and ':', no digit first"


@cache
def _process_label() -> str:
    import uuid  # a label that is only made when nobody chose one

    return str(uuid.uuid4())


class HttpApi(msgspec.Struct, frozen=True):
    """The HTTP API."""

    request_limit_in_mb: Annotated[int, Key("Largest request body", unit="MB", low=1, high=1024, reload=True)] = 10
    unfinished_bodies_in_mb: Annotated[
        int,
        Key(
            "Bytes of all request bodies that have not arrived whole; a request beyond that is answered 503",
            unit="MB",
            low=1,
            high=65536,
        ),
    ] = 128
    usage_enabled: Annotated[bool, Key("Serves `/usage` and `/stats`", env="HTTP_API_USAGE_ENABLED", reload=True)] = (
        True
    )


class Cors(msgspec.Struct, frozen=True):
    """Cross-origin requests to the main port."""

    credentials: Annotated[
        bool,
        Key("Answers allow credentials; off whenever `origin` allows everything", env="CORS_CREDENTIALS", reload=True),
    ] = True
    origin: Annotated[
        tuple[str, ...],
        Key(
            "Origin patterns; `*` or `any` = every origin, empty = no header",
            env="CORS_ORIGINS",
            check=origins.useless_patterns,
            reload=True,
        ),
    ] = ("*",)
    methods: Annotated[tuple[str, ...], Key("Allowed methods", env="CORS_METHODS", reload=True)] = (
        "GET",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
    )
    allowed_headers: Annotated[tuple[str, ...], Key("Allowed request headers", env="CORS_HEADERS", reload=True)] = (
        "Authorization",
        "Content-Type",
        "X-Requested-With",
        "Accept",
        "X-Idempotency-Key",
        "X-Ably-ClientId",
        "X-Ably-Version",
        "X-Ably-Lib",
        "X-Ably-DeviceToken",
        "Ably-Agent",
        "Ably-Version",
        "Ably-ClientId",
    )

    @property
    def allows_everything(self) -> bool:
        """Every origin is allowed; credentials are then off, also where ``credentials`` is true."""
        return origins.allows_everything(self.origin)


class Ssl(msgspec.Struct, frozen=True):
    """TLS on the main port (spec: platform § 7.1)."""

    enabled: Annotated[bool, Key("Serve TLS on the main port", env="SSL_ENABLED")] = False
    cert_path: Annotated[str, Key("Certificate chain, a PEM file", env="SSL_CERT_PATH")] = ""
    key_path: Annotated[str, Key("Private key, a PEM file", env="SSL_KEY_PATH")] = ""
    redirect_http: Annotated[bool, Key("A plain listener that redirects to https", env="SSL_REDIRECT_HTTP")] = False
    http_port: Annotated[int, Key("Port of that listener", env="SSL_HTTP_PORT", high=65_535)] = 80


class UnixSocket(msgspec.Struct, frozen=True):
    """A Unix socket in place of the TCP listener (spec: platform § 7.2)."""

    enabled: Annotated[bool, Key("Listen on a Unix socket instead of host and port", env="UNIX_SOCKET_ENABLED")] = False
    path: Annotated[str, Key("Its path, absolute", env="UNIX_SOCKET_PATH")] = "/var/run/sockudo/sockudo.sock"
    permission_mode: Annotated[
        str, Key("Its mode, octal digits in quotes", env="UNIX_SOCKET_PERMISSION_MODE", check=_octal_mode)
    ] = "660"


class Prometheus(msgspec.Struct, frozen=True):
    """The Prometheus exposition."""

    prefix: Annotated[
        str, Key("Put before every metric name", env="METRICS_PROMETHEUS_PREFIX", check=_metric_prefix)
    ] = "sockudo_"


class Metrics(msgspec.Struct, frozen=True):
    """Metrics, on a listener of their own (spec: platform § 6.1)."""

    enabled: Annotated[bool, Key("Serve metrics", env="METRICS_ENABLED")] = True
    driver: Annotated[str, Key("Format", env="METRICS_DRIVER", choices=("prometheus",))] = "prometheus"
    host: Annotated[
        str,
        Key(
            "Listen address of metrics and dashboard; `0.0.0.0` lets other machines reach them, without TLS and the "
            "metrics without a password",
            env="METRICS_HOST",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Key("Port of metrics; 0 = any free one", env="METRICS_PORT", high=65_535)] = 9601
    prometheus: Prometheus = Prometheus()


class Logging(msgspec.Struct, frozen=True):
    """How text logs look."""

    colors_enabled: Annotated[bool, Key("Colours in text logs on a terminal", env="LOG_COLORS_ENABLED")] = True
    include_target: Annotated[bool, Key("Text logs name the logger", env="LOG_INCLUDE_TARGET")] = True


class Instance(msgspec.Struct, frozen=True):
    """This process among others."""

    process_id: Annotated[
        str, Key("Label of this process in logs", env="INSTANCE_PROCESS_ID", default_text="a random UUID")
    ] = msgspec.field(default_factory=_process_label)
    shared_stores: Annotated[
        bool,
        Key(
            "The server starts although another one uses its `data_dir` or database; clients of one do not hear what "
            "is published at the other",
            env="SOCKUDO_SHARED_STORES",
        ),
    ] = False
