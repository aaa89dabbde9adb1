"""Fields of a section are declared with their default; a struct that is made of one knows the default alone."""

from __future__ import annotations

import msgspec

from sockudo.config.keys import Key, Section, keys_of, setting
from sockudo.config.schema import declared


class _Base(Section, frozen=True):
    name: str
    size: int = setting(3, "A size", low=1)


class _Wider(_Base, frozen=True):
    name: str = setting("none", "A name", env="")
    inner: tuple[str, ...] = ()


def test_defaults_and_keys_are_parted() -> None:
    assert _Wider() == _Wider(name="none", size=3)
    assert keys_of(_Base) == {"size": Key("A size", low=1)}


def test_a_section_has_the_keys_of_the_one_that_it_extends() -> None:
    assert keys_of(_Wider) == {"size": Key("A size", low=1), "name": Key("A name", env="")}


def test_a_struct_that_is_no_section_has_no_keys() -> None:
    class Plain(msgspec.Struct):
        size: int = 3

    assert keys_of(Plain) == {}


def test_a_variable_is_named_after_its_path_unless_another_is_declared() -> None:
    found = declared()
    assert found["ssl.cert_path"].key.names == ("SSL_CERT_PATH",)
    assert found["mode"].key.names == ("ENVIRONMENT",)
    assert found["channel_limits.max_name_length"].key.names == ()
