"""Which messages a subscription wants: its filter as the client sent it, made into a predicate (contract 60 § 1).

The caller keeps one `SharedPredicates` per channel, asks `is_filterable` of every frame, wraps it in one `MessageView`
and shows that to the predicate of each subscription. Telling of failed evaluations is the caller's part too.
"""

from sockudo.protocol.filters.compiler import FilterOptions, compile_filter
from sockudo.protocol.filters.message import MessageView, is_filterable
from sockudo.protocol.filters.predicate import Predicate, SharedPredicates

__all__ = ["FilterOptions", "MessageView", "Predicate", "SharedPredicates", "compile_filter", "is_filterable"]
