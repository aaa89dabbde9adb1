"""``adapter.url``: one address that stands for what joins nodes and where that is (spec: platform § 1.4)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from sockudo.config.draft import Draft
from sockudo.config.sections.join_url import JOINED_BY

__all__ = ["settle_joining"]


def settle_joining(draft: Draft) -> None:
    """Puts what the address stands for in the place of the keys that it replaces; those must not be given too."""
    text = draft.values.get("adapter.url")
    if text is None:
        return
    url, origin = urlsplit(text), draft.origins["adapter.url"]
    driver = JOINED_BY[url.scheme]
    chosen = draft.values.get("adapter.driver", driver)
    if chosen != driver:
        draft.problems.append(
            f"{draft.origins['adapter.driver']}: adapter.driver = {chosen!r} and adapter.url, which is of {driver}, "
            "exclude each other: keep one of them"
        )
        return
    replaced = _OF_EACH[driver](url)
    # `REDIS_URL` is a variable that other software has too.
    twice = [path for path in replaced if draft.origins.get(path, "REDIS_URL") != "REDIS_URL"]
    if twice:
        draft.problems.append(
            f"{', '.join(dict.fromkeys(draft.origins[path] for path in twice))}: {', '.join(twice)} and adapter.url "
            "exclude each other: keep one of them"
        )
        return
    for path, value in {"adapter.driver": driver, **replaced}.items():
        draft.put(path, value, origin)


def _redis(url: SplitResult) -> dict[str, Any]:
    return {f"adapter.redis.redis_{way}_options.url": url.geturl() for way in ("pub", "sub")}


def _nats(url: SplitResult) -> dict[str, Any]:
    server = f"{url.scheme}://{_bare_host(url)}:{url.port or 4222}"
    return {"adapter.nats.servers": (server,), **_login(url, "adapter.nats")}


def _postgres(url: SplitResult) -> dict[str, Any]:
    section = "database.postgres"
    found: dict[str, Any] = {f"{section}.host": url.hostname, **_login(url, section)}
    if url.port is not None:
        found[f"{section}.port"] = url.port
    if name := url.path.strip("/"):
        found[f"{section}.database"] = unquote(name)
    return found


def _login(url: SplitResult, section: str) -> dict[str, Any]:
    given = {"username": url.username, "password": url.password}
    return {f"{section}.{name}": unquote(value) for name, value in given.items() if value}


def _bare_host(url: SplitResult) -> str:
    host = url.hostname or ""
    return f"[{host}]" if ":" in host else host


_OF_EACH: Final = {"redis": _redis, "nats": _nats, "postgres": _postgres}
