"""What a publish says once its template is put under it (spec: push § 4).

The merged payload goes into the queue, placeholders still in place: later edits of a template do not change it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from sockudo import errors
from sockudo.push.recipients import provider_named
from sockudo.push.records import Localized, Override, Payload, Template

__all__ = ["localized", "merged"]

_TEXTS = ("title", "body", "icon", "sound", "collapse_key")


def merged(payload: Payload, overrides: Sequence[Override], template: Template) -> tuple[Payload, list[Override]]:
    """Fields of the request win one by one, its overrides provider by provider.

    Raises errors.INVALID_INPUT for a template that keeps an override under another provider's name.
    """
    texts = localized(template, payload)
    filled = {name: getattr(texts, name) for name in _TEXTS if getattr(payload, name) is None}
    own = {override.provider for override in overrides}
    kept = []
    for name, override in template.provider_overrides.items():
        if provider_named(name) != override.provider:
            raise errors.INVALID_INPUT(
                f"push template {template.template_id} keeps an override for {override.provider} "
                f"under the key of another provider"
            )
        if override.provider not in own:
            kept.append(override)
    return replace(payload, **filled), [*kept, *overrides]


def localized(template: Template, payload: Payload) -> Localized:
    """The template's text in the language of ``templateData.locale``, or in the nearest that it has."""
    asked = (payload.template_data or {}).get("locale")
    if isinstance(asked, str) and asked.strip():
        found = template.locales.get(asked)
        tag = asked.replace("_", "-")
        while found is None and tag:
            found = template.locales.get(tag)
            tag = tag.rpartition("-")[0]
        if found is not None:
            return found
    return template.locales[template.default_locale]
