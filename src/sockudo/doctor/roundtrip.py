"""What it is all for: an event that is published arrives, on both protocols, and how long that takes."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Literal

from sockudo.client.auth import Credentials
from sockudo.client.failures import ApiError, ClientError
from sockudo.client.socket import Socket
from sockudo.client.wire import Wire
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.origins import origin_of
from sockudo.doctor.sockets import connection_of, until

__all__ = ["check_publish", "judge"]

_SLOW_MS: Final = 1000.0
_EVENT: Final = "sockudo-doctor"
Protocol = Literal[1, 2]


async def check_publish(deployment: Deployment) -> Sequence[Finding]:
    """Several events to one channel that no other client uses; no store keeps them.

    Both connections hear of every one. The time is that from the request to the event, as a client sees it.
    """
    credentials = deployment.credentials
    if credentials is None:
        return [not_checked("no credentials to publish with")]
    if await connection_of(deployment) is None:
        return [not_checked(f"no connection is opened: {deployment.refusal_text}")]
    protocols: tuple[Protocol, ...] = (1, 2)
    channel = f"sockudo-doctor-{secrets.token_hex(6)}"
    async with AsyncExitStack() as stack:
        open_sockets: dict[Protocol, Socket] = {}
        found: list[Finding] = []
        for protocol in protocols:
            try:
                connection = await _subscriber(deployment, credentials, protocol, channel)
            except (ClientError, TimeoutError) as error:
                found.append(_no_subscriber(protocol, error))
                continue
            stack.push_async_callback(connection.close)
            open_sockets[protocol] = connection
        times: dict[Protocol, list[float | None]] = {protocol: [] for protocol in open_sockets}
        try:
            for number in range(deployment.options.rounds if open_sockets else 0):
                await _round(deployment, open_sockets, times, channel, f"{number}")
                if all(taken[-1] is None for taken in times.values()):
                    break
        except ApiError as error:
            return [*found, _refused(error)]
    return [*found, *(judge(protocol, taken) for protocol, taken in times.items())]


async def _subscriber(deployment: Deployment, credentials: Credentials, protocol: Protocol, channel: str) -> Socket:
    connection = await Socket.connect(
        deployment.url,
        credentials.key,
        open_timeout=deployment.options.timeout,
        origin=origin_of(deployment),
        wire=Wire(protocol),
        tls=deployment.tls(),
    )
    try:
        await connection.subscribe(channel)
        await until(connection, lambda event: event.system == "subscription_succeeded", deployment.options.timeout)
    except BaseException:
        await connection.close()
        raise
    return connection


def _refused(error: ApiError) -> Finding:
    slug = error.docs.rpartition("#")[2]
    text = f"the publish is refused: {error.text} (HTTP {error.status})"
    if error.status == 503:
        # Waiting, as the catalogue advises clients, does not mend a store.
        return problem(text, "See health and stores above, with --config on the server's machine.", row=slug)
    return problem(text, row=slug)


def _no_subscriber(protocol: Protocol, error: Exception) -> Finding:
    reason = str(error) or "no answer in time"
    advice = "Limits of the app and of the address are the usual reasons: the text names which."
    if "store" in reason:
        advice = (
            "The store is what fails, not the app: see health and stores above, with --config on the server's machine."
        )
    return problem(f"protocol V{protocol}: no subscription ({reason})", advice)


async def _round(
    deployment: Deployment,
    connections: dict[Protocol, Socket],
    times: dict[Protocol, list[float | None]],
    channel: str,
    mark: str,
) -> None:
    began = time.monotonic()

    async def arrival(connection: Socket) -> float | None:
        try:
            await until(
                connection, lambda event: event.event == _EVENT and str(event.data) == mark, deployment.options.timeout
            )
        except (TimeoutError, ClientError):
            return None
        return (time.monotonic() - began) * 1000

    waiting = [asyncio.ensure_future(arrival(connection)) for connection in connections.values()]
    try:
        await deployment.api().publish(channel, _EVENT, mark, extras={"ephemeral": True})
        for protocol, took in zip(connections, await asyncio.gather(*waiting), strict=True):
            times[protocol].append(took)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def judge(protocol: Protocol, times: Sequence[float | None]) -> Finding:
    """Milliseconds of each event, None for one that did not arrive."""
    arrived = [each for each in times if each is not None]
    lost = len(times) - len(arrived)
    facts: dict[str, Any] = {"protocol": protocol, "rounds": len(times), "lost": lost}
    if lost:
        return problem(
            f"protocol V{protocol}: {lost} of {len(times)} events did not arrive",
            "Of several servers behind one name that are not joined (adapter.driver), an event reaches only the "
            "clients of the one that it was published to. Else see the server's log.",
            **facts,
        )
    median, longest = statistics.median(arrived), max(arrived)
    facts |= {"p50_ms": round(median, 2), "max_ms": round(longest, 2)}
    text = f"protocol V{protocol}: {len(times)} of {len(times)} arrived, p50 {median:.1f} ms, max {longest:.1f} ms"
    if median > _SLOW_MS:
        return warning(
            f"{text}: slow",
            "Is it the network, or is the server's core busy? sockudo_event_loop_lag_ms says the latter.",
            **facts,
        )
    return ok(text, **facts)
