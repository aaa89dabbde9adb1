"""Webhook endpoints that are not right: which of their faults it is, operators are shown beside the advice for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from blackbox.mistakes import problems
from support.certificates import write_certificate
from support.endpoint import WebhookEndpoint
from support.operators import dashboard_config
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.waiting import wait_until
from support.websocket import WebSocket


class Fault(NamedTuple):
    """``name`` is the prefix of the channels that its endpoint is told of. ``cause`` holds what to do."""

    name: str
    text: str
    cause: str
    answers: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None
    trusted: bool = False


FAULTS = [
    Fault("refused", "answered 401", "refuses the signature. It is over the raw body", {"status": 401}),
    Fault(
        "login",
        "answered 401",
        "they go into the webhook's headers",
        {"status": 401, "headers": {"WWW-Authenticate": 'Basic realm="shop"'}},
    ),
    Fault("csrf", "answered 419", "leave the route out of that", {"status": 419}),
    Fault("moved", "answered 301", "/new", {"status": 301, "headers": {"Location": "https://shop.example/new"}}),
    Fault("slow", "did not answer within the time limit", "webhooks.request_timeout_ms", {"delay": 4.0}),
    Fault("self", "is self-signed", "SSL_CERT_FILE", certificate={}),
    Fault("expired", "has expired", "Renew", certificate={"expired": True}, trusted=True),
    Fault("other", "is for another name", "name", certificate={"host": "other.example"}, trusted=True),
    Fault("plain", "the port does not speak TLS", "Use http in the webhook's url"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that has told each endpoint of one channel, once."""
    with ExitStack() as opened:
        hooks, trusted = [], ""
        for fault in FAULTS:
            files: tuple[Path, Path] | None = None
            if fault.certificate is not None:
                files = write_certificate(tmp_path_factory.mktemp(fault.name), name=fault.name, **fault.certificate)
                trusted += files[0].read_text() if fault.trusted else ""
            endpoint = opened.enter_context(WebhookEndpoint(**(fault.answers or {}), certificate=files))
            url = endpoint.url.replace("http:", "https:") if fault.name == "plain" else endpoint.url
            hooks.append(
                {"url": url, "event_types": ["channel_occupied"], "filter": {"channel_prefix": f"{fault.name}-"}}
            )
        authorities = tmp_path_factory.mktemp("trusted") / "authorities.pem"
        authorities.write_text(trusted)
        config = dashboard_config(
            app_manager={"array": {"apps": [app_record(DEFAULT_APP, webhooks=hooks)]}},
            webhooks={"allow_private_addresses": True, "request_timeout_ms": 3000, "retry": {"max_attempts": 1}},
        )
        running = opened.enter_context(start_server(config, env={"SSL_CERT_FILE": str(authorities)}))
        client = opened.enter_context(WebSocket(running)).greeting()
        for fault in FAULTS:
            client.subscribe(f"{fault.name}-1")
        yield running


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_endpoint_that_fails(server: ServerProcess, fault: Fault) -> None:
    def told() -> list[dict[str, Any]]:
        last = [group["last"][0] for group in problems(server, "webhook")]
        return [entry for entry in last if entry["channel"] == f"{fault.name}-1"]

    wait_until(told, f"the endpoint of {fault.name} to be told of")
    for entry in told():
        assert fault.text in entry["text"]
        assert fault.cause in entry["cause"]
        assert entry["request"].startswith("POST http")
    # The log has the same, with the address.
    assert fault.cause in server.log
