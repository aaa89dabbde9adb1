"""Tables as people and other programs read them, and texts that a terminal only shows."""

from __future__ import annotations

import json

import pytest

from sockudo.cli.tables import print_json, print_table, printable


def test_columns_are_as_wide_as_what_stands_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["channel", "subscriptions"], [["a", "1"], ["presence-crew", "12"]], "No channel is occupied.")
    assert capsys.readouterr().out.splitlines() == [
        "channel        subscriptions",
        "a              1",
        "presence-crew  12",
    ]


def test_without_rows_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["channel"], [], "No channel is occupied.")
    assert capsys.readouterr().out == "No channel is occupied.\n"


def test_a_row_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "data"], [["evil\x1b[2J\nname", "1"]], "")
    heading, row = capsys.readouterr().out.splitlines()
    assert row.split() == ["evil\\x1b[2J\\nname", "1"]
    assert heading.index("data") == len(row) - 1


def test_letters_of_every_script_stay(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("caf\xe9 \u6e2f") == "caf\xe9 \u6e2f"
    print_json({"name": "caf\xe9", "lines": "a\nb"})
    line = capsys.readouterr().out
    assert "caf\xe9" in line
    assert json.loads(line) == {"name": "caf\xe9", "lines": "a\nb"}
    assert line.count("\n") == 1
