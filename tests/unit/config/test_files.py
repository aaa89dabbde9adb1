"""Which file is read, and how its text becomes a tree (spec: platform § 1.1)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.config.files import find, interpolate, parse, read
from sockudo.config.problems import ConfigError


def refusal(text: str, *, toml: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "it.toml", toml=toml)
    return caught.value.problems[0]


def test_toml_is_found_before_json(tmp_path: Path) -> None:
    assert find(None, tmp_path) is None
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text("{}")
    assert find(None, tmp_path) == tmp_path / "config/config.json"
    (tmp_path / "config/config.toml").write_text("")
    assert find(None, tmp_path) == tmp_path / "config/config.toml"
    assert find(Path("other.toml"), tmp_path) == tmp_path / "other.toml"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^x\.toml: cannot be read: No such file or directory$"):
        read(tmp_path / "x.toml", "x.toml", {})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path, "config", {})


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "it.toml"
    path.write_bytes(b"\xef\xbb\xbfport = 1")
    assert read(path, "it.toml", {}) == {"port": 1}


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.toml"
    path.write_bytes(b'host = "\xff"')
    with pytest.raises(ConfigError, match=r"is not UTF-8 \(byte 8\)"):
        read(path, "it.toml", {})


def test_the_name_tells_the_format(tmp_path: Path) -> None:
    path = tmp_path / "it.conf"
    path.write_text('{"port": 1}')
    assert read(path, "it.conf", {}) == {"port": 1}


def test_interpolation() -> None:
    environ = {"A": "1", "EMPTY": "", "NESTED": "${A}"}
    text = "${A} ${A:-9} ${B:-two words} ${EMPTY:-x} ${B:-} $A ${} ${1A} ${NESTED}"
    assert interpolate(text, "f", environ) == "1 1 two words x  $A ${} ${1A} ${A}"


def test_missing_names_are_told_together_and_once() -> None:
    with pytest.raises(ConfigError) as caught:
        interpolate("# ${A}\n${B_2} ${A} ${E}", "f.toml", {"E": ""})
    assert caught.value.problems == (
        "f.toml: ${A}, ${B_2}, ${E} not set in the environment; set it, or write ${NAME:-fallback}",
    )


def test_broken_texts_say_where() -> None:
    assert "it.toml: is not TOML:" in refusal("port = ")
    assert "line 2" in refusal("port = 1\nhost = =\n")
    assert "it.toml: is not JSON:" in refusal("{", toml=False)
    assert "line 1 column 2" in refusal("{", toml=False)


def test_a_key_that_stands_twice() -> None:
    assert "'port' stands twice" in refusal('{"port": 1, "port": 2}', toml=False)
    assert "it.toml: is not TOML" in refusal("port = 1\nport = 2")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_only_objects_are_configurations(text: str) -> None:
    assert refusal(text, toml=False) == "it.toml: holds no object of settings"


def test_numbers_that_json_does_not_have() -> None:
    assert "NaN is not a JSON number" in refusal('{"a": NaN}', toml=False)


def test_nesting_without_end() -> None:
    assert refusal('{"a":' * 100_000, toml=False) == "it.toml: is nested too deeply"
    assert refusal("a = " + "[" * 100_000) == "it.toml: is nested too deeply"


@given(st.text(), st.booleans())
def test_any_text_is_a_tree_or_a_refusal(text: str, toml: bool) -> None:
    """Parsing any text gives a dict or a ConfigError of one problem, nothing else."""
    try:
        assert isinstance(parse(text, "f", toml=toml), dict)
    except ConfigError as error:
        assert len(error.problems) == 1  # noqa: PT017 - both ends are fine
