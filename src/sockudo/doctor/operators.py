"""What operators alone may look at: metrics, memory, counters."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sockudo.client.failures import UnreachableError
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.probe import Http

__all__ = ["check_exposure", "check_metrics", "failed_parts", "judge_binding", "metrics_text", "metrics_url"]

_USUAL_PORT: Final = 9601
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})
_CLOSE: Final = (
    "Set metrics.host to 127.0.0.1 or to an address of a private network, or let a firewall keep others off: the "
    "metrics ask for no password."
)
_OPERATORS_ONLY: Final = (
    "Let the proxy answer /stats, /usage and /operator/ with 404 (docs/operations.md), or set http_api.usage_enabled = "
    "false."
)


async def metrics_text(deployment: Deployment) -> str:
    """The metrics, asked where the configuration says, or at the usual port; raises `UnreachableError`."""
    http = Http(metrics_url(deployment), deployment.options.timeout)
    try:
        answer = await http.get("/metrics")
    finally:
        await http.close()
    return answer.text if answer.status == 200 and "process_" in answer.text else ""


def metrics_url(deployment: Deployment) -> str:
    settings = deployment.settings
    if settings is None:
        return f"http://{_in_url(deployment.host)}:{_USUAL_PORT}"
    host = settings.metrics.host
    if host == "::":
        host = "::1"
    return f"http://{_in_url('127.0.0.1' if host in _EVERYWHERE else host)}:{settings.metrics.port}"


async def operator_health(deployment: Deployment) -> dict[str, Any]:
    """What the dashboard shows operators of the server: its version, each health check with its reason.

    Empty where it cannot be asked.
    """
    return await operator_answer(deployment, "health")


async def operator_answer(deployment: Deployment, what: str) -> dict[str, Any]:
    """What the API of the dashboard answers; empty where it cannot be asked.

    Only a process that is known to be the server gets to see the password.
    """
    settings = deployment.settings
    if settings is None or not settings.dashboard.password or not settings.metrics.enabled:
        return {}
    if deployment.machine.server_at(settings.metrics.port) is None:
        return {}
    http = Http(metrics_url(deployment), deployment.options.timeout)
    try:
        headers = {"Authorization": f"Bearer {settings.dashboard.password}"}
        answer = await http.get(f"/dashboard/api/v1/{what}", headers)
        answered = json.loads(answer.body)
    except (UnreachableError, ValueError):
        return {}
    finally:
        await http.close()
    return answered if answer.status == 200 and isinstance(answered, dict) else {}


def failed_parts(health: Mapping[str, Any]) -> list[str]:
    """The checks that fail, each with its reason, from the answer of `operator_health`."""
    return [f"{name}: {reason}" for name, reason in failed_checks(health).items()]


def failed_checks(health: Mapping[str, Any]) -> dict[str, str]:
    """The same, by name."""
    return {
        str(check["name"]): str(check.get("reason") or "it fails")
        for check in health.get("checks", ())
        if isinstance(check, dict) and not check.get("passed")
    }


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def check_metrics(deployment: Deployment) -> Sequence[Finding]:
    """Whether the listener for operators answers where it should."""
    settings, place = deployment.settings, metrics_url(deployment)
    if settings is not None and not settings.metrics.enabled:
        return [not_checked("metrics are switched off (metrics.enabled)")]
    if settings is None and not deployment.is_here():
        return [not_checked("the metrics are for the server's own network: run it there with --config")]
    try:
        text = await metrics_text(deployment)
    except UnreachableError as error:
        if settings is None:
            return [not_checked(f"nothing answers at {place}, the usual place; --config says which it is")]
        return [
            problem(
                f"no metrics at {place}: {error.reason}",
                "Another process may have had the port when the server started (the log says 'no metrics'), or the "
                "server does not run on this machine.",
            )
        ]
    if not text:
        return [problem(f"something else answers at {place}/metrics", "Which process has the port? ss -ltnp")]
    return [ok(f"{place}/metrics answers")]


async def check_exposure(deployment: Deployment) -> Sequence[Finding]:
    """Whether the metrics listen everywhere, and whether they and /usage are answered to who comes from outside."""
    found: list[Finding] = []
    settings = deployment.settings
    if settings is not None and settings.metrics.enabled:
        port, machine = settings.metrics.port, deployment.machine
        bound = machine.addresses(port) if machine.server_at(port) is not None else [settings.metrics.host]
        found += [judge_binding(address, settings.mode) for address in bound]
    if deployment.is_here():
        found.append(not_checked("whether others reach metrics and /usage shows only from another machine"))
        return found
    found.append(await _outside_metrics(deployment))
    found.append(await _outside_usage(deployment))
    return found


def judge_binding(address: str, mode: str) -> Finding:
    """``address`` is what the metrics listen on; ``mode`` the label of the environment in the configuration."""
    if address in _EVERYWHERE:
        text = f"metrics listen on {address or 'every address'}"
        if mode == "production":
            return warning(f"{text}: everyone who reaches the port reads them", _CLOSE)
        return ok(f"{text}, in mode '{mode}'")
    return ok(f"metrics listen on {address} alone{'' if _is_public(address) else ', which is not public'}")


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return address != "localhost"


async def _outside_metrics(deployment: Deployment) -> Finding:
    settings = deployment.settings
    port = _USUAL_PORT if settings is None else settings.metrics.port
    http = Http(f"http://{_in_url(deployment.host)}:{port}", deployment.options.timeout)
    try:
        answer = await http.get("/metrics")
    except UnreachableError:
        return ok(f"no metrics on port {port} for who comes from here")
    finally:
        await http.close()
    if answer.status == 200:
        return problem(f"metrics on port {port} are readable from this address", _CLOSE)
    return ok(f"port {port} is open, but shows no metrics to this address ({answer.status})")


async def _outside_usage(deployment: Deployment) -> Finding:
    try:
        answer = await deployment.http.get("/usage")
    except UnreachableError:
        return not_checked("/usage is not reached")
    if answer.status == 200 and b"memory" in answer.body:
        return warning("/usage and /stats answer to this address", _OPERATORS_ONLY)
    return ok("/usage does not answer to this address")
