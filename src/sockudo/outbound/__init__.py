"""Requests to servers of others: what backends are told, and what providers of push notifications are sent.

Nothing is imported here: `sockudo.outbound.sender` and `sockudo.outbound.exchange` are for servers that send.
"""
