"""What nodes keep together outside of themselves: idempotency keys, last events of cache channels, hits of limits."""

from sockudo.drivers.shared.selection import cache_store, window_store

__all__ = ["cache_store", "window_store"]
