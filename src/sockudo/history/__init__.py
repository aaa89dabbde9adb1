"""Durable channels: what is published on them is stored before it is delivered, and can be asked for again."""

from __future__ import annotations

from sockudo.history.presence import PresenceHistory, PresenceHistoryOptions
from sockudo.history.presence_writer import PresenceCounters
from sockudo.history.query import PAGE_PARAMETERS, HistoryQuery, Purge, Reset, http_query, whole_number
from sockudo.history.replay import Failed, Replayed
from sockudo.history.rewind import Rewound
from sockudo.history.service import History, HistoryOptions
from sockudo.history.upkeep import HistoryCounters

__all__ = [
    "PAGE_PARAMETERS",
    "Failed",
    "History",
    "HistoryCounters",
    "HistoryOptions",
    "HistoryQuery",
    "PresenceCounters",
    "PresenceHistory",
    "PresenceHistoryOptions",
    "Purge",
    "Replayed",
    "Reset",
    "Rewound",
    "http_query",
    "whole_number",
]
