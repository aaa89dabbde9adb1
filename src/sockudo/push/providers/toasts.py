"""Toasts and tiles of Windows, which are XML (spec: push § 8)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

import msgspec

__all__ = ["tile_xml", "toast_xml"]

# Letters that XML cannot hold, escaped or not.
_NOT_XML: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def toast_xml(toast: Any, data: Any) -> str:
    """What ``toast`` describes; a text is XML already. ``data`` is what the app is started with when it is touched."""
    if isinstance(toast, str):
        return toast
    described = toast if isinstance(toast, dict) else {}
    sound = _member(described.get("audio"), "src")
    audio = _element("audio", src=sound) if sound is not None else ""
    launch = data if data is None or isinstance(data, str) else msgspec.json.encode(data).decode()
    return f"<toast{_attributes(launch=launch)}>{_visual(described, 'ToastGeneric')}{audio}</toast>"


def tile_xml(tile: Any) -> str:
    if isinstance(tile, str):
        return tile
    return f"<tile>{_visual(tile if isinstance(tile, dict) else {}, 'TileMedium')}</tile>"


def _visual(described: Mapping[str, Any], template: str) -> str:
    bindings = _member(described.get("visual"), "binding")
    listed: Sequence[Any] = bindings if isinstance(bindings, list) else [bindings]
    return f"<visual>{''.join(_binding(one, template) for one in listed if isinstance(one, dict))}</visual>"


def _binding(described: Mapping[str, Any], template: str) -> str:
    texts = described.get("text")
    lines = texts if isinstance(texts, list) else [texts]
    inner = "".join(f"<text>{escape(_clean(line))}</text>" for line in lines if line is not None)
    image = described.get("image")
    source = _member(image, "src") if isinstance(image, dict) else image
    if source is not None:
        inner += _element("image", src=source)
    return f"<binding{_attributes(template=described.get('template') or template)}>{inner}</binding>"


def _element(name: str, **attributes: Any) -> str:
    return f"<{name}{_attributes(**attributes)}/>"


def _attributes(**attributes: Any) -> str:
    pairs = ((name, value) for name, value in attributes.items() if value is not None)
    return "".join(f' {name}="{escape(_clean(value), {chr(34): "&quot;"})}"' for name, value in pairs)


def _clean(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return _NOT_XML.sub("", text)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
