"""The dashboard: pages and an API for operators, behind a login (contract 70 § 8.1)."""

from __future__ import annotations

from sockudo.dashboard.app import dashboard_app
from sockudo.dashboard.board import Board

__all__ = ["Board", "dashboard_app"]
