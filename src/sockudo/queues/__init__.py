"""Adapters of the webhook queue."""
