"""Values of every kind, from files and from variables (spec: platform § 1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.config.schema import declared
from sockudo.config.values import read_bool, read_list, read_number, read_value


@pytest.mark.parametrize("word", [True, "true", "1", "yes", "ON", " On "])
def test_true(word: object) -> None:
    assert read_bool(word) is True


@pytest.mark.parametrize("word", [False, "false", "0", "no", "Off"])
def test_false(word: object) -> None:
    assert read_bool(word) is False


@pytest.mark.parametrize("word", ["", "maybe", 1, 0, None, [], "truee"])
def test_neither(word: object) -> None:
    with pytest.raises(ValueError, match="is neither true nor false"):
        read_bool(word)


@pytest.mark.parametrize(("raw", "number"), [(7, 7), ("7", 7), (" 007 ", 7), ("+7", 7), (0, 0)])
def test_numbers(raw: object, number: int) -> None:
    assert read_number(raw) == number


@pytest.mark.parametrize("raw", ["", "x", "1.5", 1.5, True, None, "1_000", "٣", "9" * 400, -1, "-1", 2**32, [1]])
def test_no_numbers(raw: object) -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        read_number(raw)


def test_bounds_are_told() -> None:
    with pytest.raises(ValueError, match=r"^is not a whole number from 0 to 65535$"):
        read_number(65_536, 0, 65_535)
    with pytest.raises(ValueError, match=r"^is not a whole number of 1 or more$"):
        read_number(0, 1)


def test_lists() -> None:
    assert read_list(["a", "b"]) == ("a", "b")
    assert read_list(" a, b ,,") == ("a", "b")
    for raw in (3, ["a", 1], {"a": 1}, None):
        with pytest.raises(ValueError, match="is not a list of texts"):
            read_list(raw)


@pytest.mark.parametrize("raw", ["none", "NULL", "0", 0, None])
def test_a_count_may_be_none(raw: object) -> None:
    assert read_value(declared()["websocket.max_messages"], raw) is None


def test_a_count_is_a_number_otherwise() -> None:
    assert read_value(declared()["websocket.max_messages"], "12") == 12
    with pytest.raises(ValueError, match="or none"):
        read_value(declared()["websocket.max_messages"], "many")


@pytest.mark.parametrize(("raw", "value"), [(None, None), ("", None), ("data.symbol", "data.symbol")])
def test_a_text_may_be_none_where_it_is_said(raw: object, value: str | None) -> None:
    assert read_value(declared()["delta_compression.conflation_key_path"], raw) == value


@pytest.mark.parametrize(
    "path",
    [
        "connection_recovery.buffer_ttl_seconds", "connection_recovery.max_buffer_size",
        "history.retention_window_seconds", "history.max_page_size", "history.writer_queue_capacity",
        "history.purge_interval_seconds", "history.purge_batch_size", "history.max_purge_per_tick",
        "presence_history.retention_window_seconds", "presence_history.max_page_size",
        "presence.update_rate_limit_per_member_per_second",
    ],
)  # fmt: skip
def test_zero_is_refused_where_nothing_would_work(path: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a whole number of 1 or more$"):
        read_value(declared()[path], 0)


@pytest.mark.parametrize("path", ["host", "log_level", "unix_socket.path"])
def test_a_number_is_no_text(path: str) -> None:
    with pytest.raises(ValueError, match="put it in quotes"):
        read_value(declared()[path], 660)


@pytest.mark.parametrize(
    ("path", "raw", "value"),
    [
        ("app_manager.driver", " SQLite ", "sqlite"),
        ("app_manager.driver", "postgres", "pgsql"),
        ("app_manager.driver", "PostgreSQL", "pgsql"),
        ("history.backend", "pgsql", "postgres"),
        ("history.backend", "postgresql", "postgres"),
        ("delta_compression.algorithm", "Xdelta3", "xdelta3"),
        ("rate_limiter.driver", "none", "none"),
        ("log_format", "human", "text"),
        ("websocket.compression", "window8kb", "window8kb"),
    ],
)
def test_choices(path: str, raw: str, value: str) -> None:
    assert read_value(declared()[path], raw) == value


@pytest.mark.parametrize(
    ("path", "raw", "text"),
    [
        (
            "adapter.driver",
            "kafka",
            "is not supported by this version; the values are 'local', 'redis', 'redis-cluster', 'nats', 'postgres'",
        ),
        (
            "adapter.driver",
            "rabbit-mq",
            "is not supported by this version; the values are 'local', 'redis', 'redis-cluster', 'nats', 'postgres'",
        ),
        (
            "app_manager.driver",
            "surreal",
            "is not supported by this version; the values are 'sqlite', 'memory', 'pgsql', 'mysql'",
        ),
        (
            "history.backend",
            "sqlit",
            "is not known; the values are 'sqlite', 'memory', 'postgres', 'mysql'; did you mean 'sqlite'?",
        ),
        ("history.sqlite.table_prefix", "", "is empty: tables need a name"),
        (
            "history.postgres.table_prefix",
            "a-b",
            "is not a table prefix: at most 40 letters, digits and '_', no digit first",
        ),
        (
            "history.mysql.table_prefix",
            "a" * 41,
            "is not a table prefix: at most 40 letters, digits and '_', no digit first",
        ),
        (
            "database.mysql.table_name",
            "1a",
            "is not a table name: at most 63 letters, digits and '_', no digit first",
        ),
        ("database.postgres.host", "", "is empty"),
        ("metrics.driver", "elsewhere", "is not known; the only value is 'prometheus'"),
        ("unix_socket.permission_mode", "888", 'is not a mode: octal digits in quotes, like "660"'),
        ("unix_socket.permission_mode", "1777", "is a mode over 777"),
        (
            "metrics.prometheus.prefix",
            "9x",
            "is not a metric name prefix: letters, digits, '_' and ':', no digit first",
        ),
        ("cors.origin", "https://a.test,a*b*", "has the origin pattern 'a*b*', which has more than one '*'"),
    ],
)
def test_refusals(path: str, raw: str, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_value(declared()[path], raw)
    assert str(caught.value) == text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from([setting for setting in declared().values() if setting.kind != "apps"]), _JSON)
def test_any_value_is_read_or_refused(setting: object, raw: object) -> None:
    """Whatever stands in a file, reading it gives a value or a ValueError with a text, nothing else."""
    try:
        read_value(setting, raw)  # type: ignore[arg-type]
    except ValueError as error:
        assert str(error)  # noqa: PT017 - both ends are fine
