"""The checks, from whether the configuration is one that the server would take; their order, and which of them others
make pointless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sockudo import errors
from sockudo.client.failures import ApiError, ClientError, UnreachableError
from sockudo.doctor.addresses import check_address
from sockudo.doctor.credentials import check_credentials
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.loop import check_loop
from sockudo.doctor.nodes import check_cluster, check_nodes
from sockudo.doctor.operators import check_exposure, check_metrics
from sockudo.doctor.process import check_descriptors
from sockudo.doctor.reach import check_port
from sockudo.doctor.roundtrip import check_publish
from sockudo.doctor.service import check_clock, check_health, check_server, check_version
from sockudo.doctor.sockets import check_frames, check_idle, check_origin, check_websocket
from sockudo.doctor.storage import check_disk, check_files
from sockudo.doctor.stores import check_stores
from sockudo.doctor.tls import check_tls

__all__ = ["Check", "check_config", "checks_with", "examine"]


async def check_config(deployment: Deployment) -> Sequence[Finding]:
    """The findings of `sockudo config check`."""
    if deployment.config_problems:
        return [
            problem(f"the configuration cannot be used: {each}", "Correct it; a running server keeps the old one.")
            for each in deployment.config_problems
        ]
    if deployment.loaded is None:
        return [not_checked("no --config was given: name the server's file to have it checked, on its machine")]
    warnings = [
        warning(each, "See the key in docs/configuration.md, or with `sockudo config show`.")
        for each in deployment.loaded.warnings
    ]
    return warnings or [ok(f"good ({'; '.join(deployment.loaded.sources)})")]


# ---- the order of the checks ----


Run = Callable[[Deployment], Awaitable[Sequence[Finding]]]

# A bound on what no answer's own limit bounds: many endpoints, many rounds.
_LONGEST: Final = 120.0


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its ``name`` on the command line, what it is about, and the checks without which it is pointless."""

    name: str
    about: str
    run: Run
    needs: tuple[str, ...] = ()


_OF_SERVICE: Final = (
    Check("config", "the configuration, as `sockudo config check`", check_config),
    Check("port", "every address of the name answers", check_port),
    Check("tls", "certificate, name, chain, days left, protocol", check_tls, ("port",)),
    Check("server", "it is Sockudo that answers", check_server, ("port", "tls")),
    Check("version", "what runs, and what is installed", check_version),
    Check("clock", "the clocks, within what signatures allow", check_clock, ("server",)),
    Check("credentials", "id, key and secret of one enabled app", check_credentials, ("server",)),
    Check("health", "/up, and which part fails", check_health, ("server",)),
    Check("stores", "app store, databases and Redis let the server in", check_stores),
    Check("nodes", "what joins nodes lets this one in, and messages come back", check_nodes),
    Check("files", "files of the embedded stores: owner, mode, form", check_files),
    Check("disk", "room in data_dir", check_disk),
    Check("descriptors", "the limit of the process, against connections", check_descriptors),
    Check("address", "the server sees who the client is", check_address, ("server", "credentials")),
    Check("websocket", "the upgrade comes through", check_websocket, ("server",)),
    Check("origin", "pages of --origin may connect", check_origin, ("websocket",)),
    Check("frames", "large messages pass both ways", check_frames, ("credentials", "origin")),
    Check("idle", "a silent connection survives --idle", check_idle, ("origin",)),
    Check("publish", "events arrive, and how fast", check_publish, ("credentials", "origin")),
)

_OF_OPERATORS: Final = (
    Check("metrics", "the listener for operators answers", check_metrics),
    Check("cluster", "nodes answer, understand each other, agree on the time", check_cluster),
    Check("loop", "the event loop was not blocked", check_loop),
    Check("exposure", "what only operators may reach", check_exposure),
)


def checks_with(of_wings: Sequence[Check]) -> tuple[Check, ...]:
    """Every check, in the order in which they run."""
    return (*_OF_SERVICE, *of_wings, *_OF_OPERATORS)


async def examine(
    deployment: Deployment, checks: Sequence[Check], began: Callable[[Check], None] = lambda _: None
) -> AsyncIterator[Finding]:
    """The findings of these checks, in this order, as they come; ``began`` is called with each check before it runs.

    A check is left out, and says so, when one that it needs found a problem or was left out for one. One that was not
    among them counts as passed.
    """
    failed: dict[str, str] = {}
    if deployment.unreached:
        reason = f"{deployment.unreached}: give --url with the URL that clients use"
        failed = dict.fromkeys((check.name for check in checks if check.name == "port" or check.needs), reason)
    await deployment.locate()
    for check in checks:
        cause = next((failed[name] for name in (check.name, *check.needs) if name in failed), None)
        if cause is not None:
            failed[check.name] = cause
            yield replace(not_checked(cause), check=check.name)
            continue
        began(check)
        findings = await _findings(check, deployment)
        if any(finding.state == "problem" for finding in findings):
            failed[check.name] = f"because of the problem with {check.name}"
        for finding in findings:
            yield replace(finding, check=check.name)


async def _findings(check: Check, deployment: Deployment) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(_LONGEST + deployment.options.idle):
            return await check.run(deployment)
    except UnreachableError as error:
        return [
            problem(
                f"no answer: {error.reason}",
                "Ask again with --only and a longer --timeout, to see whether it comes and goes.",
            )
        ]
    except ApiError as error:
        if error.status == errors.RATE_LIMITED.status:
            return [not_checked(f"the limit of this address is used up: {error.text}")]
        return [problem(str(error), row=error.docs.rpartition("#")[2])]
    except ClientError as error:
        return [problem(str(error), "Ask again with --only and a longer --timeout, to see whether it comes and goes.")]
    except TimeoutError:
        return [problem(f"it did not end within {_LONGEST:g} s", "See the log of the server.")]
