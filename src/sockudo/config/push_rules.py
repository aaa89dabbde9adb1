"""Push rules: events that become notifications by themselves, as they stand in the file (spec: push § 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from sockudo.base.decoding import mismatch

__all__ = ["PayloadMapping", "PushRule", "read_rules"]

_MOST_EVENTS: Final = 32
_LONGEST_EVENT: Final = 200
_LONGEST_PATTERN: Final = 256


class PayloadMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which fields of an event's data become which parts of the notification."""

    title_field: str = "title"
    body_field: str = "body"
    template_data_field: str = "data"
    include_remaining_fields: bool = True


class PushRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of ``event_filter`` on a channel that ``channel_pattern`` matches is also pushed to the channel.

    The pattern is a name, ``*``, or a beginning with a ``*`` behind it.
    """

    channel_pattern: str
    event_filter: tuple[str, ...]
    enabled: bool = True
    rate_limit_per_second: int = 100
    payload_mapping: PayloadMapping = PayloadMapping()

    def matches(self, channel: str, event: str) -> bool:
        """Whether the rule is on and means this event on this channel."""
        if not self.enabled or event not in self.event_filter:
            return False
        if self.channel_pattern.endswith("*"):
            return channel.startswith(self.channel_pattern[:-1])
        return channel == self.channel_pattern


def read_rules(raw: object, where: str) -> tuple[tuple[PushRule, ...], list[str]]:
    """The rules of a list and every problem with it; ``where`` names the place."""
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not all(isinstance(entry, Mapping) for entry in raw):
        return (), [f"{where} is not a list of rules"]
    rules: list[PushRule] = []
    problems: list[str] = []
    for number, entry in enumerate(raw):
        try:
            rule = msgspec.convert(entry, PushRule)
        except msgspec.ValidationError as problem:
            problems.append(f"{where}[{number}]: {mismatch(problem)}")
            continue
        problems.extend(f"{where}[{number}]: {problem}" for problem in _problems(rule))
        rules.append(rule)
    return tuple(rules), problems


def _problems(rule: PushRule) -> Iterator[str]:
    pattern = rule.channel_pattern
    if not 1 <= len(pattern.encode()) <= _LONGEST_PATTERN:
        yield f"channel_pattern must be 1 to {_LONGEST_PATTERN} bytes"
    if "*" in pattern[:-1]:
        yield f"channel_pattern = {pattern[:80]!r} may have one '*', at its end"
    if not 1 <= len(rule.event_filter) <= _MOST_EVENTS:
        yield f"event_filter must have 1 to {_MOST_EVENTS} events"
    for name in rule.event_filter:
        if not 1 <= len(name.encode()) <= _LONGEST_EVENT:
            yield f"event_filter: an event must be 1 to {_LONGEST_EVENT} bytes"
    if rule.rate_limit_per_second < 1:
        yield f"rate_limit_per_second = {rule.rate_limit_per_second} is not a whole number of 1 or more"
    for field in ("title_field", "body_field", "template_data_field"):
        if not getattr(rule.payload_mapping, field):
            yield f"payload_mapping.{field} is empty"
