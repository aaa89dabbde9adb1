"""The webhooks in an app's record as operators read and write them: secrets hidden, one by its index
(spec: platform § 8.1).

What is hidden may be left as it is shown: an address without its hidden parts, or a header whose value is null, stands
for what the record holds already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sockudo import errors
from sockudo.apps.edits import with_values
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError
from sockudo.config.webhooks import shown_url

__all__ = ["shown_webhook", "shown_webhooks", "with_webhook", "without_webhook", "written_back"]

_HIDDEN: Final = "…"


def _shown_address(url: str) -> str:
    """The address with `…` for every part that is hidden, so that the rest is not taken for the whole."""
    shown = shown_url(url)
    scheme, separator, rest = shown.partition("://")
    return f"{scheme}{separator}{_HIDDEN}@{rest}" if "@" in url.partition("://")[2].partition("/")[0] else shown


def shown_webhook(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``policy.webhooks`` without what may be secret: parts of the address, values of headers."""
    shown = dict(entry)
    if isinstance(url := entry.get("url"), str):
        shown["url"] = _shown_address(url)
    if isinstance(headers := entry.get("headers"), Mapping):
        shown["headers"] = dict.fromkeys(headers)
    return shown


def shown_webhooks(app: App) -> list[dict[str, Any]]:
    """Every webhook of the app in its order, with its index."""
    return [{"index": number, **shown_webhook(entry)} for number, entry in enumerate(app.policy.webhooks)]


def with_webhook(app: App, entry: Mapping[str, Any], where: str, *, index: int | None = None) -> App:
    """The app with a webhook more, or with ``index`` one in place of the one there.

    It needs event types and a target. Raises ConfigError for one that no record can hold, and
    errors.ENDPOINT_NOT_FOUND for an index that there is not.
    """
    entries: list[Mapping[str, Any]] = list(app.policy.webhooks)
    number = len(entries) if index is None else _checked(app, index)
    label = f"{where}: policy.webhooks[{number}]"
    if entry.get("event_types") in ([], ()):
        raise ConfigError([f"{label} has no event types, so it would get nothing"])
    whole = _completed(entry, {} if index is None else entries[number], label)
    entries[number : number + 1] = [whole]
    return with_values(app, {"webhooks": entries}, where)


def without_webhook(app: App, index: int, where: str) -> App:
    """The app without the webhook at this index; those behind it move up. Raises errors.ENDPOINT_NOT_FOUND."""
    entries = list(app.policy.webhooks)
    del entries[_checked(app, index)]
    return with_values(app, {"webhooks": entries}, where)


def written_back(app: App | None, entries: object, where: str) -> object:
    """A whole list of webhooks in which what is hidden stands for what the app holds, by index or by address.

    What is no list of objects is returned as it is, for the reader of records to refuse. Raises ConfigError for a
    hidden part that nothing is known of.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        return entries
    known = () if app is None else app.policy.webhooks
    return [
        _completed(entry, _counterpart(entry, number, known), f"{where}: policy.webhooks[{number}]")
        for number, entry in enumerate(entries)
    ]


def _counterpart(entry: Mapping[str, Any], number: int, known: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    def fits(other: Mapping[str, Any]) -> bool:
        url = other.get("url")
        return isinstance(url, str) and entry.get("url") in (url, _shown_address(url))

    same_place = [known[number]] if number < len(known) else []
    return next((other for other in (*same_place, *known) if fits(other)), {})


def _checked(app: App, index: int) -> int:
    count = len(app.policy.webhooks)
    if not 0 <= index < count:
        raise errors.ENDPOINT_NOT_FOUND(f"App '{app.id}' has no webhook {index}: it has {count}, counted from 0")
    return index


def _completed(entry: Mapping[str, Any], known: Mapping[str, Any], label: str) -> dict[str, Any]:
    whole = {name: value for name, value in entry.items() if value is not None and name != "index"}
    url, known_url = whole.get("url"), known.get("url")
    if isinstance(url, str) and isinstance(known_url, str) and url == _shown_address(known_url):
        whole["url"] = known_url
    elif isinstance(url, str) and _HIDDEN in url:
        raise ConfigError([f"{label} has a url with a hidden part: give the whole address"])
    headers, known_headers = whole.get("headers"), known.get("headers") or {}
    if isinstance(headers, Mapping):
        given = {name: known_headers.get(name) if value is None else value for name, value in headers.items()}
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise ConfigError([f"{label} has the header '{missing[0]}' without a value"])
        whole["headers"] = given
    return whole
