"""What a subscription asks of a message, shared by all who ask the same (spec: filters-deltas § 1.1 and 1.9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from weakref import WeakValueDictionary

from sockudo.protocol.filters.expression import Expression
from sockudo.protocol.filters.message import MessageView
from sockudo.protocol.filters.tags import TagForm, TagTest, compile_tags

__all__ = ["Predicate", "SharedPredicates"]


class Predicate:
    """Never altered; equal to every other that asks the same, by ``id``, which is stable across nodes and restarts.

    ``text`` is what it asks, as a JSON array: event names, tags in their normal form, the expression.
    Only whether its expression was given up is its own: see `tripped`.
    """

    __slots__ = ("__weakref__", "_events", "_expression", "_tags", "id", "text")

    def __init__(self, events: Iterable[str] = (), tags: object = None, expression: str | None = None) -> None:
        """``events`` are names, none for any event; ``tags`` is a decoded tag tree, ``expression`` JMESPath.

        Raises errors.FILTER_INVALID for tags and an expression that break a rule.
        """
        self._events = frozenset(events) or None
        form: TagForm | None = None
        self._tags: TagTest | None = None
        if tags is not None:
            form, self._tags = compile_tags(tags)
        self._expression = None if expression is None else Expression(expression)
        self.text = json.dumps([sorted(self._events or ()), form, expression], separators=(",", ":"))
        self.id = hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Predicate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Predicate({self.id})"

    @property
    def tripped(self) -> bool:
        """Its expression used up its budget three times in a row: it matches nothing until it is compiled anew."""
        return self._expression is not None and self._expression.tripped

    def matches(self, message: MessageView) -> bool:
        """Whether the subscription wants the message. Never raises; cheap parts decide first."""
        if self._events is not None and message.event not in self._events:
            return False
        if self._tags is not None and not self._tags(message):
            return False
        return self._expression is None or self._expression.matches(message, self.id)


class SharedPredicates:
    """One object for all subscriptions that ask the same, so that each message is asked once. Holds none alive.

    Keep one per channel, or pattern of channels: what trips a predicate in one trips it for all who share it, and must
    not reach those who ask the same elsewhere.
    """

    def __init__(self) -> None:
        self._living: WeakValueDictionary[str, Predicate] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._living)

    def share(self, predicate: Predicate) -> Predicate:
        """The predicate to keep in place of this equal one.

        A tripped one is not handed out again: its subscribers keep it, later ones get a new start.
        """
        known = self._living.get(predicate.id)
        if known is not None and not known.tripped:
            return known
        self._living[predicate.id] = predicate
        return predicate
