"""Is it a Sockudo server that answers, in which version, by which clock, and in what health?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from sockudo import errors
from sockudo.base.version import __version__
from sockudo.client.failures import ApiError, UnreachableError
from sockudo.client.signing import signed_target
from sockudo.config.databases import database_of
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.machine import Process
from sockudo.doctor.operators import failed_checks, failed_parts, operator_health
from sockudo.doctor.probe import Answer

__all__ = ["check_clock", "check_health", "check_server", "check_version", "judge_degraded", "judge_live", "judge_skew"]

_ALLOWED: Final = 600
_NOTABLE: Final = 30
# An answer that took longer says nothing about a clock to the second.
_SLOWEST: Final = 10.0
_SERVER_CLOCK: Final = re.compile(r"clock, which says (-?[0-9]+)")
_GATEWAY: Final = frozenset({502, 503, 504})
_CHANNEL: Final = "sockudo-doctor"
_STORE: Final = "Look whether the database, or the file in data_dir, can be reached and read by the server's user."
_NODES: Final = (
    "Look whether what joins the nodes (adapter.driver) can be reached from this node's machine, and whether all nodes "
    "have the same settings under adapter. cluster.up_grace is how long a node stays ready meanwhile."
)
_WRITES: Final = (
    "Make room where the disk is full. A database that may only be read is a standby, or was set so "
    "(default_transaction_read_only, read_only): let database.postgres or database.mysql name the one that takes "
    "writes. Channels that are degraded heal by themselves once the store answers."
)
_PARTS: Final = {
    "history_writes": (
        "publishes to durable channels are refused",
        _WRITES,
    ),
    "push_store": ("the store of push does not answer, so no notification is accepted", _STORE),
    "cache": (
        "the cache does not answer: publishes with an idempotency key are refused (idempotency.on_failure)",
        "Look whether what cache.driver names can be reached from the server's machine.",
    ),
    "limits": (
        "what adds up the hits of limits does not answer, so they are what rate_limiter.on_failure says",
        "Look whether what rate_limiter.driver names can be reached from the server's machine.",
    ),
    "webhooks": ("the queue of webhooks does not answer, so webhooks wait in memory", None),
}
_NTP: Final = "Synchronise the clocks of both machines (NTP, `timedatectl`)."


# ---- what answers ----


async def check_server(deployment: Deployment) -> Sequence[Finding]:
    """Asks the route that tells nothing but that the process answers."""
    try:
        deployment.live = await deployment.http.get("/live")
    except UnreachableError as error:
        if not deployment.secure and await _speaks_tls(deployment):
            return [
                problem(
                    "the port speaks TLS, and the URL says http",
                    f"Use {deployment.place('https')}.",
                )
            ]
        return [problem(f"no answer in HTTP: {error.reason}", "Is it another service's port? See the server's log.")]
    return [judge_live(deployment.live)]


def judge_live(answer: Answer) -> Finding:
    """What answered ``GET /live``: the server says 200 and nothing else."""
    proxy = answer.intermediary
    if answer.status == 200 and not answer.body:
        return ok(f"Sockudo answers{f' behind a proxy ({proxy})' if proxy else ''}", intermediary=proxy)
    if 300 <= answer.status < 400:
        place = answer.headers.get("location", "another place").partition("?")[0][:200]
        return problem(f"it sends clients on to {place}", "Use the URL that it leads to: clients do not follow.")
    if answer.status in _GATEWAY:
        return problem(
            f"a proxy answers {answer.status} in the server's place{f' ({proxy})' if proxy else ''}",
            "Is the server running, and does the proxy know its address and port? The proxy's error log says why.",
        )
    if answer.status == 400 and "https port" in answer.text.lower():
        return problem("the port speaks TLS, and the URL says http", "Use the URL with https.")
    if _slug(answer) == errors.NOT_FOUND.slug:
        return problem(
            "Sockudo answers, but sees another path than /live: a prefix of the URL's path is passed on to it",
            "Let the proxy strip its prefix: nginx with a '/' at the end of proxy_pass, Caddy with handle_path. Or "
            "correct the URL.",
            row=errors.NOT_FOUND,
        )
    if _slug(answer) is not None:
        return problem(f"the server refuses GET /live with {answer.status}: {answer.text[:200]}", row=_slug(answer))
    return problem(
        f"something else answers: {answer.status} to GET /live{f' ({proxy})' if proxy else ''}",
        "Correct the URL, or let the proxy pass every path on to the server.",
    )


def _slug(answer: Answer) -> str | None:
    """The row of the catalogue that the answer names, as each refusal of a Sockudo server does; None of another."""
    try:
        body = json.loads(answer.body)
        slug = str(body["docs"]).rpartition("#")[2]
    except (ValueError, LookupError, TypeError):
        return None
    return slug if slug in errors.CATALOGUE else None


async def _speaks_tls(deployment: Deployment) -> bool:
    import asyncio
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(deployment.options.timeout):
            _, writer = await asyncio.open_connection(deployment.host, deployment.port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


# ---- version ----


async def check_version(deployment: Deployment) -> Sequence[Finding]:
    """A server tells its version to operators alone; on its machine its files do as well."""
    running = (await operator_health(deployment)).get("version")
    if isinstance(running, str):
        return [judge_version(running, __version__, newer=False)]
    process = deployment.process()
    if process is None:
        return [
            not_checked(
                f"a server shows its version to operators only, and no such server runs here; this is {__version__}"
            )
        ]
    installed = _installed(process)
    if installed is None:
        return [not_checked(f"the files of process {process.pid} are not where its command is; this is {__version__}")]
    number, changed_at = installed
    return [
        judge_version(number, __version__, newer=process.started_at is not None and changed_at > process.started_at)
    ]


def judge_version(installed: str, ours: str, *, newer: bool) -> Finding:
    """``newer`` says that the files were put there after the process had started."""
    if newer:
        return warning(
            f"{installed} was installed after the server had started: an older one may still run",
            "Restart the server.",
            installed=installed,
        )
    if installed != ours:
        return warning(
            f"the server runs {installed}, this command is {ours}",
            "Use the command of the server's installation.",
            installed=installed,
        )
    return ok(f"{installed}, here and there", installed=installed)


def _installed(process: Process) -> tuple[str, float] | None:
    """Version and time of the installation that the process was started from."""
    command = Path(process.command[0])
    if not command.is_absolute():
        return None
    # Through the process's own root: it may live in a container.
    root = Path(f"/proc/{process.pid}/root")
    try:
        found = sorted(
            (root / command.parent.parent.relative_to("/")).glob("lib/python3*/site-packages/sockudo-*.dist-info")
        )
        return (found[0].name.split("-")[1].removesuffix(".dist"), found[0].stat().st_mtime) if found else None
    except OSError:
        return None


# ---- clock ----


async def check_clock(deployment: Deployment) -> Sequence[Finding]:
    """Compares the server's clock with ours; behind a proxy, whose Date may be its own, the server is asked."""
    answer = deployment.live or await deployment.http.get("/live")
    if answer.intermediary is not None and deployment.credentials is not None:
        finding = await _reported_clock(deployment)
        if finding is not None:
            return [finding]
    try:
        server = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return [not_checked("the answer has no Date that can be read")]
    if answer.came_at - answer.sent_at > _SLOWEST:
        return [not_checked("the answer took too long to say anything about clocks")]
    return [judge_skew(server - (answer.sent_at + answer.came_at) / 2, of_proxy=answer.intermediary is not None)]


async def _reported_clock(deployment: Deployment) -> Finding | None:
    """A request that was signed long ago is refused with what the server's clock says."""
    credentials = deployment.credentials
    if credentials is None:
        return None
    target = signed_target(credentials, "GET", f"/apps/{credentials.app_id}/channels", timestamp=0)
    answer = await deployment.http.get(target)
    try:
        text = str(json.loads(answer.body)["error"])
    except (ValueError, LookupError, TypeError):
        return None
    found = _SERVER_CLOCK.search(text)
    if found is None:
        return None
    return judge_skew(int(found[1]) - (answer.sent_at + answer.came_at) / 2, of_proxy=False)


def judge_skew(skew: float, *, of_proxy: bool) -> Finding:
    """``skew``: seconds that the other clock is ahead of ours. Signatures hold for 600 s in both directions."""
    seconds = round(skew)
    whose = "the proxy's clock" if of_proxy else "the server's clock"
    direction = "ahead of" if seconds > 0 else "behind"
    if abs(seconds) <= 2:
        return ok(f"{whose} and this one agree", skew_s=seconds)
    text = f"{whose} is {abs(seconds)} s {direction} this one"
    if abs(seconds) >= _ALLOWED:
        return problem(
            f"{text}: requests that are signed here are refused, {_ALLOWED} s are allowed",
            _NTP,
            row=errors.TIMESTAMP_STALE,
            skew_s=seconds,
        )
    if abs(seconds) > _NOTABLE:
        return warning(
            f"{text}; from {_ALLOWED} s on signatures are refused", _NTP, row=errors.TIMESTAMP_STALE, skew_s=seconds
        )
    return ok(f"{text}, of {_ALLOWED} s that are allowed", skew_s=seconds)


# ---- health ----


async def check_health(deployment: Deployment) -> Sequence[Finding]:
    """The server's own word about itself, and which part is behind it."""
    answer = await deployment.http.get("/up")
    word = answer.headers.get("x-health-check") or answer.text[:40]
    if word == "OK":
        return [await _app_health(deployment)]
    if word == "DRAINING":
        return [
            problem("the server is stopping: it takes no new connections", row=errors.DRAINING, word=word),
        ]
    if word == "DEGRADED":
        return judge_degraded(failed_checks(await operator_health(deployment)), _queue_place(deployment))
    if word == "ERROR":
        return [await _failing_part(deployment, answer.text.splitlines()[1:])]
    return [
        problem(f"/up is answered with {answer.status} and no word of a Sockudo server", "Let the proxy pass it on.")
    ]


def judge_degraded(failed: Mapping[str, str], queue: str) -> list[Finding]:
    """A finding for each part that fails, by its name and with its reason; ``queue`` says what to do about webhooks."""
    if not failed:
        return [
            problem(
                "in service, but not whole: publishes to durable channels are refused, or the queue of webhooks or the "
                "store of push does not answer",
                "The log names the part and the reason ('health check failed'); with --config and dashboard.password "
                "this command does, too.",
                word="DEGRADED",
            )
        ]
    found = []
    for part, reason in failed.items():
        what, advice = _PARTS.get(part, (f"{part} fails", _STORE))
        text = f"in service, but not whole: {what} ({reason})"
        found.append(problem(text, advice or queue, word="DEGRADED", part=part))
    return found


async def _app_health(deployment: Deployment) -> Finding:
    if deployment.credentials is None:
        return ok("/up says OK", word="OK")
    answer = await deployment.http.get(f"/up/{deployment.credentials.app_id}")
    word = answer.headers.get("x-health-check", "")
    if word == "NOT_FOUND":
        return problem("/up says OK, but knows no such app", row=errors.APP_NOT_FOUND, word=word)
    if word == "ERROR":
        return problem("/up says OK, but the app is disabled", row=errors.APP_DISABLED, word=word)
    return ok("/up says OK, for the server and for the app", word=word or "OK")


async def _failing_part(deployment: Deployment, reasons: Sequence[str]) -> Finding:
    """Of most parts `/up` gives no reason. The dashboard does, to who has its password; else a route that reads the
    history tells."""
    if reasons:
        return problem(f"/up says ERROR: {'; '.join(reasons)}", _NODES, word="ERROR", part="nodes")
    failed = failed_parts(await operator_health(deployment))
    if failed:
        return problem(f"/up says ERROR: {'; '.join(failed)}", _STORE, word="ERROR", parts=failed)
    if deployment.credentials is None:
        return problem(
            "/up says ERROR: the app store or the history store does not answer, or there is no app",
            "The log names the part ('health check failed'); with credentials this command does too.",
            word="ERROR",
        )
    try:
        await deployment.api().history_state(_CHANNEL)
    except ApiError as error:
        if error.status == 503:
            return _no_history(error.text)
    except UnreachableError as error:
        return _no_history(error.reason)
    return problem(
        "/up says ERROR: the app store does not answer, and apps stay as they were last known; or there is no app",
        f"{_STORE} The log names the reason ('health check failed', apps).",
        word="ERROR",
        part="apps",
    )


def _no_history(reason: str) -> Finding:
    return problem(
        f"/up says ERROR: the history store does not answer ({reason})",
        row=errors.HISTORY_UNAVAILABLE,
        word="ERROR",
        part="history",
    )


def _queue_place(deployment: Deployment) -> str:
    settings = deployment.settings
    if settings is None:
        return "Look whether Redis answers, or whether webhooks.sqlite3 in data_dir can be written."
    if settings.queue.driver in ("redis", "redis-cluster"):
        return f"Look whether Redis answers at {settings.redis_of_queue(settings.queue.driver).place}."
    if (database := database_of(settings.queue.driver)) is not None:
        return f"Look whether the database of {database.section} answers and can be written."
    return f"Look whether webhooks.sqlite3 in {settings.data_dir} can be written, and whether the disk is full."
