"""Values and frames for property tests of the formats."""

from __future__ import annotations

import json

import msgspec
from hypothesis import strategies as st

from sockudo.protocol.frames import Frame

__all__ = ["FRAMES", "JSON", "RAW", "TEXT", "U64"]

TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
RAW = JSON.map(lambda value: msgspec.Raw(json.dumps(value).encode()))
U64 = st.integers(0, 2**64 - 1)
FRAMES = st.builds(
    Frame, TEXT, st.none() | TEXT, st.none() | TEXT | RAW, st.none() | TEXT, st.none() | TEXT,
    st.none() | st.dictionaries(TEXT, TEXT), st.none() | TEXT, st.none() | TEXT,
    st.none() | U64, st.none() | st.dictionaries(st.sampled_from(["headers", "ai", "echo", "x"]) | TEXT, JSON),
)  # fmt: skip
