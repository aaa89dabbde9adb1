"""Listeners, HTTP and logs: ``http_api cors ssl unix_socket metrics logging instance`` (spec: platform § 1.3)."""

from __future__ import annotations

from functools import cache

import msgspec

from sockudo.config import origins
from sockudo.config.keys import Section, setting

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
    import uuid  # a label that is only made without a configured one

    return str(uuid.uuid4())


class HttpApi(Section, frozen=True):
    """The HTTP API."""

    request_limit_in_mb: int = setting(10, "Largest request body", env="", unit="MB", low=1, high=1024, reload=True)
    unfinished_bodies_in_mb: int = setting(
        128,
        "Bytes of all request bodies that have not arrived whole; a request beyond that is answered 503",
        env="",
        unit="MB",
        low=1,
        high=65536,
    )
    usage_enabled: bool = setting(True, "Serves `/usage` and `/stats`", reload=True)


class Cors(Section, frozen=True):
    """Cross-origin requests to the main port."""

    credentials: bool = setting(True, "Answers allow credentials; off whenever `origin` allows everything", reload=True)
    origin: tuple[str, ...] = setting(
        ("*",),
        "Origin patterns; `*` or `any` = every origin, empty = no header",
        env="CORS_ORIGINS",
        check=origins.useless_patterns,
        reload=True,
    )
    methods: tuple[str, ...] = setting(
        ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), "Allowed methods", reload=True
    )
    allowed_headers: tuple[str, ...] = setting(
        (
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
        ),
        "Allowed request headers",
        env="CORS_HEADERS",
        reload=True,
    )

    @property
    def allows_everything(self) -> bool:
        """Every origin is allowed; credentials are then off, also where ``credentials`` is true."""
        return origins.allows_everything(self.origin)


class Ssl(Section, frozen=True):
    """TLS on the main port (spec: platform § 7.1)."""

    enabled: bool = setting(False, "Serve TLS on the main port")
    cert_path: str = setting("", "Certificate chain, a PEM file")
    key_path: str = setting("", "Private key, a PEM file")
    redirect_http: bool = setting(False, "A plain listener that redirects to https")
    http_port: int = setting(80, "Port of that listener", high=65_535)


class UnixSocket(Section, frozen=True):
    """A Unix socket in place of the TCP listener (spec: platform § 7.2)."""

    enabled: bool = setting(False, "Listen on a Unix socket instead of host and port")
    path: str = setting("/var/run/sockudo/sockudo.sock", "Its path, absolute")
    permission_mode: str = setting("660", "Its mode, octal digits in quotes", check=_octal_mode)


class Prometheus(Section, frozen=True):
    """The Prometheus exposition."""

    prefix: str = setting("sockudo_", "Put before every metric name", check=_metric_prefix)


class Metrics(Section, frozen=True):
    """Metrics, on a listener of their own (spec: platform § 6.1)."""

    enabled: bool = setting(True, "Serve metrics")
    driver: str = setting("prometheus", "Format", choices=("prometheus",))
    host: str = setting(
        "127.0.0.1",
        "Listen address of metrics and dashboard; `0.0.0.0` lets other machines reach them, without TLS and the "
        "metrics without a password",
    )
    port: int = setting(9601, "Port of metrics; 0 = any free one", high=65_535)
    prometheus: Prometheus = Prometheus()


class Logging(Section, frozen=True):
    """How text logs look."""

    colors_enabled: bool = setting(True, "Colours in text logs on a terminal", env="LOG_COLORS_ENABLED")
    include_target: bool = setting(True, "Text logs name the logger", env="LOG_INCLUDE_TARGET")


class Instance(Section, frozen=True):
    """This process among others."""

    process_id: str = setting(
        msgspec.field(default_factory=_process_label), "Label of this process in logs", default_text="a random UUID"
    )
    shared_stores: bool = setting(
        False,
        "The server starts although another one uses its `data_dir` or database; clients of one do not hear what "
        "is published at the other",
        env="SOCKUDO_SHARED_STORES",
    )
