"""Requests to servers of others: what backends are told, and what providers of push notifications are sent."""

from sockudo.outbound.exchange import Exchange
from sockudo.outbound.problems import PROBLEMS
from sockudo.outbound.sender import HttpSender

__all__ = ["PROBLEMS", "Exchange", "HttpSender"]
