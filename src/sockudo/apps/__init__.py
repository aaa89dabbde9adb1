"""The apps: who they are, what they may do, and where their records are kept."""

from __future__ import annotations

from sockudo.apps.live import LiveApp, LiveLimits
from sockudo.apps.policies import (
    HistoryPolicy,
    PresenceHistoryPolicy,
    RecoveryPolicy,
    StreamPolicies,
    StreamPolicy,
)
from sockudo.apps.ports import AppStore, Edit, Origin
from sockudo.apps.registry import AppRegistry, Changes
from sockudo.apps.resolve import Defaults, resolve

__all__ = [
    "AppRegistry",
    "AppStore",
    "Changes",
    "Defaults",
    "Edit",
    "HistoryPolicy",
    "LiveApp",
    "LiveLimits",
    "Origin",
    "PresenceHistoryPolicy",
    "RecoveryPolicy",
    "StreamPolicies",
    "StreamPolicy",
    "resolve",
]
