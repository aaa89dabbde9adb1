"""Examining a running deployment, from outside and from the machine that it runs on: what is wrong, and what to do.

Each check is a function from the `Deployment` to its findings; `examine` runs them in order and leaves out those that
a failed one makes pointless. Nothing here prints, and no secret is in any finding.
"""

from __future__ import annotations

from sockudo.doctor.deployment import Deployment, Options
from sockudo.doctor.examination import Check, checks_with, examine
from sockudo.doctor.finding import Finding, State

__all__ = ["Check", "Deployment", "Finding", "Options", "State", "checks_with", "examine"]
