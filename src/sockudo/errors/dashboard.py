"""What the dashboard refuses."""

from __future__ import annotations

from sockudo.errors.spec import row

__all__ = [
    "CROSS_SITE",
    "CSRF_TOKEN",
    "LOGIN_LIMITED",
    "LOGIN_REQUIRED",
    "PASSWORD_WRONG",
]

# ---- the dashboard ----

LOGIN_REQUIRED = row(
    "login_required",
    "This part of the dashboard needs a login.",
    code="auth_failed",
    reason="login",
    http=401,
    causes=("the session ended or the server was restarted", "the password was changed", "no Authorization header"),
    remedy="Log in at /dashboard/login; programs send Authorization: Bearer with the password.",
)
PASSWORD_WRONG = row(
    "password_wrong",
    "The password of the dashboard is wrong.",
    code="auth_failed",
    reason="password",
    http=401,
    causes=("a password of another server", "it was changed since"),
    remedy="Use dashboard.password of the configuration, or make a new one with `sockudo dashboard password`. With "
    "--dev, the server prints it at every start.",
)
LOGIN_LIMITED = row(
    "login_limited",
    "The password of the dashboard was tried too often.",
    http=429,
    retry=True,
    causes=("a program that uses an old password", "an attempt to guess the password"),
    remedy="Wait for Retry-After seconds; behind a proxy, set dashboard.trust_hops, or all share one address.",
)
CROSS_SITE = row(
    "cross_site",
    "The request comes from a page of another origin.",
    code="forbidden",
    http=403,
    causes=("another site sent a form here", "a proxy in front that changes the Host header"),
    remedy="Use the dashboard's own pages; let a proxy pass Host on, or X-Forwarded-Host with dashboard.trust_hops.",
)
CSRF_TOKEN = row(
    "csrf_token",
    "The request lacks the token of its session.",
    code="forbidden",
    http=403,
    causes=("a page from before the last login", "a program that uses the cookie"),
    remedy="Load the page again; programs send Authorization: Bearer instead of the cookie.",
)
