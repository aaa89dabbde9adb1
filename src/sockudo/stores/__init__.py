"""Adapters that keep state; each module is imported only where its driver is chosen."""
