"""Does the server see who the client is, behind proxies and in spite of what clients write themselves?

Limits are kept per address, and the answer to each counted request says how much of the limit is left. So a request
with an X-Forwarded-For of our own shows whether it was counted for another address, which it must not be. Whether all
clients are taken for one cannot be seen from one address; the configuration tells it where it is known.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from sockudo.client.signing import signed_target
from sockudo.config import Settings
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.probe import Answer

__all__ = ["Probe", "Surroundings", "check_address", "judge"]

Ask = Callable[[Mapping[str, str]], Awaitable[Answer]]

_ONE_MORE: Final = (
    "Let the proxy add the address at the end of X-Forwarded-For (nginx: $proxy_add_x_forwarded_for), set trust_hops "
    "to the number of proxies that are yours, and let no other address reach the port."
)
_TOO_FEW: Final = (
    "Set {setting} to the number of proxies in front that add to X-Forwarded-For: 1 for one proxy, 2 for a CDN and a "
    "proxy (docs/operations.md, behind a proxy)."
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What was left of the limit after a plain request, one with a forged address, and a plain one again."""

    before: int
    forged: int
    after: int

    @property
    def believed(self) -> bool:
        """Whether the forged address had a count of its own."""
        return self.forged >= self.before

    @property
    def others(self) -> int:
        """Requests of others that were counted in between as ours."""
        return max(0, self.before - self.after - (1 if self.believed else 2))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``hops`` is ``trust_hops``, None when the configuration is not known; ``proxy`` is what shows that there is one.

    ``setting`` is the key's name, ``here``: the server was reached on loopback.
    """

    setting: str
    hops: int | None
    proxy: str | None
    here: bool


async def check_address(deployment: Deployment) -> Sequence[Finding]:
    """Asks three times each what the two limits are kept for: the HTTP API and upgrades."""
    credentials, settings = deployment.credentials, deployment.settings
    if credentials is None:
        return [not_checked("no credentials: only requests of an app are counted")]

    async def api(headers: Mapping[str, str]) -> Answer:
        path = f"/apps/{quote(credentials.app_id, safe='')}/channels"
        parameters = {"filter_by_prefix": "sockudo-doctor-"}
        return await deployment.http.get(
            signed_target(credentials, "GET", path, parameters, timestamp=int(time.time())), headers
        )

    async def upgrade(headers: Mapping[str, str]) -> Answer:
        return await deployment.http.get(f"/app/{quote(credentials.key, safe='')}", headers)

    proxy = _proxy(deployment)
    found: list[Finding] = []
    for what, section, ask in (("HTTP API", "api_rate_limit", api), ("upgrades", "websocket_rate_limit", upgrade)):
        hops = None if settings is None else _hops(settings, section)
        surroundings = Surroundings(f"rate_limiter.{section}.trust_hops", hops, proxy, deployment.on_loopback)
        found.append(await _look(what, ask, surroundings))
    return found


async def _look(what: str, ask: Ask, surroundings: Surroundings) -> Finding:
    answers = [await ask({}), await ask({"X-Forwarded-For": _forged()}), await ask({})]
    late = next((answer for answer in answers if answer.status == 429), None)
    if late is not None:
        seconds = late.headers.get("retry-after", "some")
        return not_checked(f"{what}: the limit of this address is used up; try again in {seconds} s")
    left = [_left(answer) for answer in answers]
    before, forged, after = left
    if before is None or forged is None or after is None:
        return not_checked(f"{what}: right requests are not limited by address")
    if after > before:
        return not_checked(f"{what}: the window of the limit ended in between; ask again")
    return judge(what, Probe(before, forged, after), surroundings)


def judge(what: str, probe: Probe, around: Surroundings) -> Finding:
    """What the counts say, together with what is known of proxies and settings."""
    facts: dict[str, Any] = {
        "forged_believed": probe.believed,
        "trust_hops": around.hops,
        "counted_of_others": probe.others,
    }
    advice = _TOO_FEW.format(setting=around.setting)
    if probe.believed and around.here and around.proxy is None:
        return not_checked(
            f"{what}: X-Forwarded-For counts on loopback, as it must for a proxy on this machine; whether clients can "
            "forge it shows only with --url of the proxy"
        )
    if probe.believed:
        return problem(
            f"{what}: a client can pass for any address by sending X-Forwarded-For itself", _ONE_MORE, **facts
        )
    if around.proxy is not None and around.hops == 0:
        return problem(
            f"{what}: there is a proxy ({around.proxy}) and trust_hops is 0: all clients share one limit",
            advice,
            **facts,
        )
    if probe.others:
        return warning(
            f"{what}: {probe.others} requests of others were counted with this address: behind a proxy, or clients "
            "that share an address",
            advice,
            **facts,
        )
    if around.hops is None:
        seen = f" behind a proxy ({around.proxy})" if around.proxy else ""
        return not_checked(
            f"{what}: a forged X-Forwarded-For is not believed{seen}; whether clients are distinguished shows only "
            "with --config"
        )
    if around.proxy is None and around.hops > 0:
        return not_checked(
            f"{what}: trust_hops is {around.hops}, and no proxy was met on this way; give --url of the proxy"
        )
    return ok(f"{what}: a forged X-Forwarded-For is not believed, trust_hops = {around.hops}", **facts)


def _hops(settings: Settings, section: str) -> int:
    """How many proxies are trusted; on a Unix socket one at least, as each client there is one."""
    hops: int = getattr(settings.rate_limiter, section).trust_hops
    return max(1, hops) if settings.unix_socket.enabled else hops


def _left(answer: Answer) -> int | None:
    text = answer.headers.get("x-ratelimit-remaining", "")
    return int(text) if text.isdecimal() else None


def _forged() -> str:
    """An address of the range for documentation, which no host has; another each time, so its count is fresh."""
    return f"2001:db8:{secrets.randbits(16):x}:{secrets.randbits(16):x}::{secrets.randbits(16):x}"


def _proxy(deployment: Deployment) -> str | None:
    """What shows that the server is not reached directly."""
    if deployment.live is not None and deployment.live.intermediary is not None:
        return deployment.live.intermediary
    settings = deployment.settings
    if settings is None:
        return None
    if settings.unix_socket.enabled:
        return "the server listens on a Unix socket"
    if deployment.secure and not settings.ssl.enabled:
        return "it speaks TLS, the server does not"
    if settings.port not in (0, deployment.port):
        return f"port {deployment.port} is not the server's, {settings.port}"
    return None
