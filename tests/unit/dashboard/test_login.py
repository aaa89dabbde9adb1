"""Where the login leads to: into the dashboard and nowhere else."""

from __future__ import annotations

import pytest

from sockudo.dashboard.login import safe_next


@pytest.mark.parametrize(
    "wanted",
    ["/dashboard", "/dashboard/apps", "/dashboard/channels?q=a%20b&page=2", "/dashboard/apps/a%2Fb", "/dashboard#x"],
)
def test_paths_of_the_dashboard(wanted: str) -> None:
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "https://evil.test/dashboard",
        "//evil.test/dashboard",
        "///evil.test/dashboard",
        "/\\evil.test",
        "\\\\evil.test/dashboard",
        "/dashboard\\..\\x",
        "javascript:alert(1)",
        "javascript:/dashboard/",
        "/dashboardx",
        "/",
        "/metrics",
        "dashboard",
        " /dashboard",
        "/dashboard/\r\nset-cookie: a=b",
        "/dashboard/\tx",
        "/dashboard/é",
        "/dashboard/login",
        "/dashboard/login?next=/dashboard/login",
        "/dashboard/api/v1/overview",
        "/dashboard/../metrics",
        "/dashboard/%2e%2e/metrics",
        "/dashboard/static/../../metrics",
    ],
)
def test_anything_else_is_the_first_page(wanted: str | None) -> None:
    assert safe_next(wanted) == "/dashboard"
