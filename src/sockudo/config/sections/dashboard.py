"""The dashboard for operators: ``dashboard`` (spec: platform § 8.1)."""

from __future__ import annotations

from sockudo.config.keys import Section, setting

__all__ = ["Dashboard"]


def _useless_password(text: str | None) -> str | None:
    if text is not None and len(text) < 8:
        return "is shorter than 8 characters"
    return None


class Dashboard(Section, frozen=True):
    """Pages for operators, on the listener of metrics."""

    enabled: bool = setting(
        True,
        "Serves `/dashboard` on the listener of metrics; with metrics off, only where it is set by hand",
        env="SOCKUDO_DASHBOARD_ENABLED",
    )
    password: str | None = setting(
        None,
        "Password of the dashboard; without one, it is made at the first start and printed once, or with `--dev` "
        "at every start",
        env="SOCKUDO_DASHBOARD_PASSWORD",
        check=_useless_password,
        secret=True,
        reload=True,
    )
    public: bool = setting(False, "Serves `/dashboard` on the main port too", env="SOCKUDO_DASHBOARD_PUBLIC")
    session_lifetime: int = setting(
        28_800,
        "Time after which one has to log in again",
        env="SOCKUDO_DASHBOARD_SESSION_LIFETIME",
        unit="s",
        low=60,
        high=2_592_000,
        reload=True,
    )
    trust_hops: int = setting(
        0,
        "Proxies in front whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed",
        env="SOCKUDO_DASHBOARD_TRUST_HOPS",
        high=100,
        reload=True,
    )

    def __repr__(self) -> str:
        return f"Dashboard(enabled={self.enabled!r}, public={self.public!r})"
