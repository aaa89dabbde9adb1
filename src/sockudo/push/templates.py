"""Templates of notifications: stored, listed, deleted (spec: push § 2). How they are used is in
`sockudo.push.templating`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sockudo import errors
from sockudo.push.cursors import Page, PageRequest, as_page
from sockudo.push.endpoints import EndpointRules
from sockudo.push.ports import Settings
from sockudo.push.records import Template
from sockudo.push.validation import check_template

__all__ = ["Templates", "template_view"]


def template_view(template: Template) -> dict[str, Any]:
    """A template as it is answered, which is also how it is sent."""
    view: dict[str, Any] = msgspec.to_builtins(template)
    return view


class Templates:
    """Raises what the store does, and what is named at each method."""

    def __init__(self, store: Settings, rules: EndpointRules, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._rules = rules
        self._now_ms = now_ms

    async def put(self, template: Template) -> dict[str, Any]:
        """Replaces the one of that id. Raises errors.INVALID_INPUT."""
        check_template(template, self._rules)
        await self._store.put_template(template)
        return template_view(template)

    async def view(self, app_id: str, template_id: str) -> dict[str, Any]:
        """Raises errors.TEMPLATE_NOT_FOUND."""
        template = await self._store.template(app_id, template_id)
        if template is None:
            raise errors.TEMPLATE_NOT_FOUND("template not found")
        return template_view(template)

    async def page(self, request: PageRequest) -> Page:
        rows = await self._store.templates(request.app_id, request.after, request.ask)
        return as_page(request, rows, lambda template: template.template_id, template_view, self._now_ms())

    async def delete(self, app_id: str, template_id: str) -> None:
        """One that is not there is deleted, too."""
        await self._store.delete_template(app_id, template_id)
