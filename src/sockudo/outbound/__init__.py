"""Requests to servers of others: what backends are told goes out here."""

from sockudo.outbound.sender import HttpSender

__all__ = ["HttpSender"]
