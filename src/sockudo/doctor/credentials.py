"""Do id, key and secret belong to one app that is enabled? Each mismatch is a finding of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from sockudo.client.failures import ApiError
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning

__all__ = ["check_credentials", "judge_refusal"]

# No limit of requests closes this route, and nothing is found.
_WORD: Final = "sockudo-doctor-"

_SAID: Final = {
    "app_not_found": "no app has the id {id}",
    "unknown_key": "no app has the key {key}",
    "app_mismatch": "the key {key} is that of another app than {id}",
    "signature_mismatch": "the secret is not that of the app {id} with the key {key}",
    "timestamp_stale": "the clocks are too far apart: the signature counts as old",
    "app_disabled": "id, key and secret fit, but the app {id} is disabled",
}
_FITTING: Final = "`sockudo apps show {id} --reveal-secret` prints what belongs together, on the server's machine."
_ADVICE: Final[dict[str, tuple[str, ...]]] = {
    "signature_mismatch": (
        "Compare the secret: it may be an old one, or have lost a character. " + _FITTING,
        "If it is the right one, a proxy changes path or query on the way, which are signed.",
    ),
    "unknown_key": (_FITTING,),
}


async def check_credentials(deployment: Deployment) -> Sequence[Finding]:
    """Asks a signed question that changes nothing and is answered at once."""
    if deployment.credentials is None:
        return [
            not_checked("no credentials: give --app-id, --key and --secret, their variables, or --config"),
        ]
    credentials = deployment.credentials
    try:
        await deployment.api().problems(text=_WORD)
    except ApiError as error:
        return [judge_refusal(error, credentials.app_id, credentials.key)]
    prefix = urlsplit(deployment.url).path.rstrip("/")
    known = f"app {credentials.app_id}, key {credentials.key}"
    if prefix:
        return [
            warning(
                f"the server takes them ({known}) when the path is signed without {prefix}, which the proxy strips",
                f"A backend that signs {prefix}/apps/… is refused with 401, as SDKs do that have an option for a path. "
                "Let the proxy pass /apps/ on at the root, and give backends the host without a path.",
                prefix=prefix,
            )
        ]
    return [ok(f"the server takes them: {known}")]


def judge_refusal(error: ApiError, app_id: str, key: str) -> Finding:
    """What the server's refusal of a signed question says about the credentials."""
    slug = error.docs.rpartition("#")[2]
    if error.status == 429:
        again = f" Try again in {error.retry_after} s." if error.retry_after is not None else ""
        # The text of some servers says so itself.
        again = "" if "try again" in error.text.lower() else again
        return warning(
            f"too many requests from this address: {error.text.rstrip('.')}.{again}",
            "Wait, or raise the setting that the text names (rate_limiter.api_rate_limit.max_requests is "
            "RATE_LIMITER_API_MAX_REQUESTS); behind a proxy, correct trust_hops, or all clients share one address.",
            row="rate_limited",
        )
    text = _SAID.get(slug)
    if text is None:
        advice: tuple[str, ...] = () if slug else ("A proxy answers in the server's place: let it pass /apps on.",)
        return problem(f"{error.text} (HTTP {error.status})", *advice, row=slug)
    names = {"id": app_id, "key": key}
    advice = tuple(line.format(**names) for line in _ADVICE.get(slug, ()))
    return problem(text.format(**names), *advice, row=slug)
