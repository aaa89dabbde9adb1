"""Does anything answer on the port, on every address that the name leads to?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sockudo.client.address import is_loopback
from sockudo.client.failures import network_reason
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, ok, problem, warning

__all__ = ["Knock", "beside_the_configuration", "check_port", "judge"]

_START = "Is the server running, and does it listen there? On its machine: ss -ltnp. Then look at the firewall between."


@dataclass(frozen=True, slots=True)
class Knock:
    """One try to connect: ``failure`` is None when a server answered, after ``took`` seconds."""

    address: str
    failure: str | None
    took: float = 0.0


async def check_port(deployment: Deployment) -> Sequence[Finding]:
    """Connects to each address in turn of both families."""
    host, port = deployment.host, deployment.port
    if deployment.no_address is not None:
        return [
            problem(
                f"the name {host} leads nowhere: {deployment.no_address}",
                "Correct the URL or the DNS record, or look at the resolver of this machine.",
            )
        ]
    seconds = deployment.options.timeout
    knocks = await asyncio.gather(*(_knock(address, port, seconds) for _, address in deployment.addresses))
    return [beside_the_configuration(each, deployment) for each in judge(knocks, port)]


def beside_the_configuration(found: Finding, deployment: Deployment) -> Finding:
    """Where the configuration binds loopback alone, that is why nothing answers on another address."""
    settings = deployment.settings
    if found.state != "problem" or settings is None or deployment.on_loopback or settings.port != deployment.port:
        return found
    if settings.unix_socket.enabled or not is_loopback(f"http://{_in_url(settings.host)}"):
        return found
    return replace(
        found,
        seen=f"{found.seen}; the configuration has host = {settings.host!r}: only this machine can connect",
        advice=('Set host (HOST) to "0.0.0.0" and restart the server; or give the URL of the proxy in front of it.',),
    )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _knock(address: str, port: int, seconds: float) -> Knock:
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return Knock(address, f"no answer within {seconds:g} s")
    except OSError as error:
        return Knock(address, network_reason(error))
    took = time.monotonic() - began
    writer.transport.abort()
    return Knock(address, None, took)


def judge(knocks: Sequence[Knock], port: int) -> list[Finding]:
    """A finding for each address: one that does not answer beside one that does is a warning."""
    some = any(knock.failure is None for knock in knocks)
    return [_judge(knock, port, some=some) for knock in knocks]


def _judge(knock: Knock, port: int, *, some: bool) -> Finding:
    v6 = ":" in knock.address
    place = f"[{knock.address}]:{port}" if v6 else f"{knock.address}:{port}"
    if knock.failure is None:
        milliseconds = round(knock.took * 1000, 1)
        return ok(f"{place} answers after {milliseconds} ms", address=knock.address, ms=milliseconds)
    if not some:
        return problem(f"{place}: {knock.failure}", _START, address=knock.address)
    found = warning(
        f"{place}: {knock.failure}, while another address of the name answers",
        f"Let the server or the proxy listen on {'IPv6' if v6 else 'this address'} too, or take the address out of "
        "the DNS: clients that try it first wait or fail.",
        address=knock.address,
    )
    if v6 and knock.address == "::1":
        return replace(
            found, advice=("Harmless on this machine: localhost also means ::1, and nothing listens there.",)
        )
    return found
