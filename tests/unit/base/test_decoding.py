"""What a decoder finds is said in words of our own, whatever its own are."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from sockudo.base.decoding import mismatch


class Item(msgspec.Struct):
    type: str


class Body(msgspec.Struct):
    channels: list[str] | None = None
    serial: Annotated[int, msgspec.Meta(ge=0)] = 0
    mode: Literal["a", "b"] = "a"
    items: list[Item] = []


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (b'{"channels":"planted"}', "field 'channels': expected array or null, got string"),
        (b"[]", "expected object, got array"),
        (b'{"serial":-7}', "field 'serial': expected integer >= 0"),
        (b'{"items":[{}]}', "field 'items[0]': the required field 'type' is missing"),
        (b'{"items":[{"type":1.5}]}', "field 'items[0].type': expected string, got number"),
        (b'{"mode":"planted"}', "field 'mode': the value is none that is allowed"),
    ],
)
def test_types_fields_and_bounds_are_named_and_values_are_not(text: bytes, ours: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(text, type=Body)
    assert str(mismatch(caught.value)) == ours


@pytest.mark.parametrize("sentence", ["", "planted", "a `planted` thing", "`planted` and `planted`, `$`"])
def test_a_sentence_that_is_not_understood_is_not_passed_on(sentence: str) -> None:
    assert str(mismatch(msgspec.ValidationError(sentence))) == "the value is none that is allowed"
