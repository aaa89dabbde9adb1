"""Which messages a subscription wants: its filter as the client sent it, made into a predicate
(spec: filters-deltas § 1).

The caller keeps one `SharedPredicates` per channel, asks `is_filterable` of every frame, wraps it in one `MessageView`
and shows that to the predicate of each subscription. Telling of failed evaluations is the caller's part too.
"""

from sockudo.protocol.filters.compiler import FilterOptions, compile_filter
from sockudo.protocol.filters.limits import MESSAGE_UNITS, PAST_UNITS
from sockudo.protocol.filters.message import MessageView, is_filterable
from sockudo.protocol.filters.predicate import Predicate, SharedPredicates
from sockudo.protocol.filters.shared_budget import SharedBudget

__all__ = [
    "MESSAGE_UNITS",
    "PAST_UNITS",
    "FilterOptions",
    "MessageView",
    "Predicate",
    "SharedBudget",
    "SharedPredicates",
    "compile_filter",
    "is_filterable",
]
