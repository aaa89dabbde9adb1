"""Is the configuration one that the server would take?"""

from __future__ import annotations

from collections.abc import Sequence

from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning

__all__ = ["check_config"]


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
