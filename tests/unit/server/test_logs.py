"""The form of log lines, and which lines there are."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog

from sockudo.config import Settings
from sockudo.config.sections.server import Logging
from sockudo.server.logs import configure_logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    configure_logs(Settings())  # forgets the levels of single loggers
    logging.captureWarnings(False)
    for name in ("uvicorn", "httpcore", "hpack"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def configured(**changes: Any) -> None:
    configure_logs(msgspec.structs.replace(Settings(log_format="json"), **changes))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def messages(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line["fields"]["message"] for line in lines(capsys)]


def test_a_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    structlog.get_logger("sockudo.some.room").warning("frame refused", app_id="shop", code=4009, name="ä")
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "WARN",
        "target": "sockudo.some.room",
        "fields": {"message": "frame refused", "app_id": "shop", "code": 4009, "name": "ä"},
    }


def test_the_standard_library_speaks_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    logging.getLogger("asyncio").error("task %s failed", 7)
    logging.getLogger("anything").info("hello")
    assert [(line["level"], line["target"], line["fields"]) for line in lines(capsys)] == [
        ("ERROR", "asyncio", {"message": "task 7 failed"}),
        ("INFO", "anything", {"message": "hello"}),
    ]


def test_python_warnings_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert line["target"] == "py.warnings"
    assert "DeprecationWarning: old" in line["fields"]["message"]


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    secret = "a local variable"
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger("sockudo.x").exception("request failed", reference="abc")
        logging.getLogger("asyncio").exception("task failed")
    for line in lines(capsys):
        assert line["fields"]["exception"].endswith("ValueError: boom")
        assert secret not in json.dumps(line)


def test_what_json_does_not_know_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    structlog.get_logger("sockudo.x").info("odd", value={1}, more=(1, 2))
    (line,) = lines(capsys)
    assert line["fields"] == {"message": "odd", "value": "{1}", "more": [1, 2]}


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("info", ["room info", "room warning", "other info", "other warning"]),
        ("warn", ["room warning", "other warning"]),
        ("debug", ["room debug", "room info", "room warning", "other debug", "other info", "other warning"]),
        ("info,sockudo=debug", ["room debug", "room info", "room warning", "other info", "other warning"]),
        ("error,sockudo::room=info", ["room info", "room warning"]),
        ("debug,sockudo.room=off", ["other debug", "other info", "other warning"]),
        ("off", []),
    ],
)
def test_the_filter(capsys: pytest.CaptureFixture[str], level: str, said: list[str]) -> None:
    configured(log_level=level)
    for name in ("sockudo.room", "other"):
        for method in ("debug", "info", "warning"):
            getattr(structlog.get_logger(name), method)(f"{name.rpartition('.')[2]} {method}")
    assert messages(capsys) == said


def test_a_reload_changes_loggers_that_are_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_level="info,sockudo.room=debug")
    lazy = structlog.get_logger("sockudo.room")
    bound = structlog.get_logger("sockudo.room").bind(app_id="shop")
    lazy.debug("one")
    configured(log_level="info")
    lazy.debug("two")
    bound.debug("three")
    lazy.info("four")
    configured(log_level="sockudo=debug")
    bound.debug("five")
    assert messages(capsys) == ["one", "four", "five"]


def test_uvicorn_is_quiet_unless_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_level="debug")
    logging.getLogger("uvicorn.error").info("one")
    logging.getLogger("uvicorn.error").warning("two")
    configured(log_level="error,uvicorn=info")
    logging.getLogger("uvicorn.error").info("three")
    configured(log_level="error")
    logging.getLogger("uvicorn.error").warning("four")
    assert messages(capsys) == ["two", "three"]


@pytest.mark.parametrize("name", ["httpcore.http11", "hpack.hpack"])
def test_clients_do_not_log_what_is_in_heads_unless_they_are_asked_to(name: str) -> None:
    configured(log_level="debug")
    assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    configured(log_level=f"info,{name}=debug")
    assert logging.getLogger(name).isEnabledFor(logging.DEBUG)


def test_debugging_names_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    configured(debug=True)
    structlog.get_logger("sockudo.room").info("here")
    (line,) = lines(capsys)
    assert line["filename"] == "test_logs.py"
    assert isinstance(line["line_number"], int)
    assert line["fields"] == {"message": "here"}


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_format="text")
    structlog.get_logger("sockudo.room").warning("frame refused", app_id="shop")
    text = capsys.readouterr().err
    assert "frame refused" in text
    assert "[sockudo.room]" in text
    assert "app_id=shop" in text
    assert "\x1b" not in text  # nothing is coloured where there is no terminal


def test_text_says_lists_as_people_write_them_and_leaves_out_what_is_not_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured(log_format="text")
    structlog.get_logger("sockudo.room").info("reloaded", changed=("host", "port"), kept=(), problem=None)
    text = capsys.readouterr().err
    assert "changed='host, port'" in text
    assert "kept=nothing" in text
    assert "problem" not in text


def test_text_without_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_format="text", logging=Logging(include_target=False))
    structlog.get_logger("sockudo.room").warning("frame refused")
    assert "sockudo.room" not in capsys.readouterr().err


def test_text_of_an_exception_shows_no_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_format="text")
    value = "".join(["sec", "ret-1234"])
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger("sockudo.room").exception("failed")
    text = capsys.readouterr().err
    assert "ValueError: boom" in text
    assert value not in text


@pytest.mark.parametrize(("terminal", "form"), [(True, "text"), (False, "json")])
def test_the_form_follows_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool, form: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    configured(log_format="auto", logging=Logging(colors_enabled=False))
    structlog.get_logger("sockudo.room").info("hello")
    assert capsys.readouterr().err.startswith("{") is (form == "json")
