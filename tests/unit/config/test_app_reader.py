"""App records: both forms, every refusal by app and field (spec: platform § 1.6, 2.1, 2.2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.config.app_reader import app_to_builtins, app_warnings, read_app, read_apps, read_deltas
from sockudo.config.app_shape import APP_FIELDS, field_default
from sockudo.config.apps import (
    App,
    Channels,
    ConnectionRecovery,
    Features,
    History,
    Idempotency,
    Limits,
    MessageRateLimit,
    Namespace,
    NamespaceHistory,
    Policy,
    PresenceHistory,
)
from sockudo.config.problems import ConfigError

BARE = {"id": "shop", "key": "k-shop", "secret": "s-shop", "enabled": True}


KEPT = ("connection_recovery", "history", "presence_history")
STREAM_PARTS = (
    (ConnectionRecovery, "policy.connection_recovery"),
    (History, "policy.history"),
    (PresenceHistory, "policy.presence_history"),
    (NamespaceHistory, "policy.channels.channel_namespaces.history"),
    (PresenceHistory, "policy.channels.channel_namespaces.presence_history"),
)


def record(**fields: Any) -> dict[str, Any]:
    return {**BARE, **fields}


def refusals(raw: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read_app(raw, "apps[0]")
    return caught.value.problems


def test_the_policy_form() -> None:
    app = read_app(
        record(
            policy={
                "limits": {"max_connections": "250", "decay_seconds": None, "message_rate_limit": {"enabled": True}},
                "features": {"enable_client_messages": True},
                "channels": {
                    "allowed_origins": ["https://shop.test"],
                    "channel_namespaces": [
                        {
                            "name": "chat",
                            "channel_name_pattern": "^chat:",
                            "max_channel_name_length": 9,
                            "history": {"rewind_enabled": False, "max_messages_per_channel": "5"},
                            "presence_history": {"enabled": True, "max_events_per_channel": 0},
                        }
                    ],
                    "v1_recovery": "yes",
                },
                "idempotency": None,
                "webhooks": [{"url": "https://hooks.test/in", "event_types": ["channel_occupied"]}],
                "connection_recovery": {"enabled": True, "buffer_ttl_seconds": "30", "max_buffer_size": 7},
                "history": {"enabled": False, "retention_window_seconds": "60"},
                "presence_history": {"max_bytes_per_channel": "9000"},
            }
        ),
        "apps[0]",
    )
    assert app == App(
        "shop",
        "k-shop",
        "s-shop",
        True,
        Policy(
            limits=Limits(max_connections=250, message_rate_limit=MessageRateLimit(enabled=True)),
            features=Features(enable_client_messages=True),
            channels=Channels(
                allowed_origins=("https://shop.test",),
                channel_namespaces=(
                    Namespace(
                        "chat",
                        channel_name_pattern="^chat:",
                        max_channel_name_length=9,
                        history=NamespaceHistory(rewind_enabled=False, max_messages_per_channel=5),
                        presence_history=PresenceHistory(enabled=True, max_events_per_channel=0),
                    ),
                ),
                v1_recovery=True,
            ),
            webhooks=({"url": "https://hooks.test/in", "event_types": ["channel_occupied"]},),
            connection_recovery=ConnectionRecovery(enabled=True, buffer_ttl_seconds=30, max_buffer_size=7),
            history=History(enabled=False, retention_window_seconds=60),
            presence_history=PresenceHistory(max_bytes_per_channel=9000),
        ),
    )


def test_the_flat_form() -> None:
    app = read_app(
        record(
            max_connections="250",
            enable_client_messages=True,
            allowed_origins=["*"],
            idempotency={"ttl_seconds": 5},
            connection_recovery={"enabled": True},
            channel_delta_compression={"p*": "fossil"},
            v1_recovery=True,
            webhooks=[{"url": "https://hooks.test/in", "event_types": []}],
        ),
        "apps[0]",
    )
    assert app.policy.limits.max_connections == 250
    assert app.policy.features.enable_client_messages is True
    assert app.policy.channels.allowed_origins == ("*",)
    assert app.policy.idempotency.ttl_seconds == 5
    assert app.policy.connection_recovery == ConnectionRecovery(enabled=True)
    assert app.policy.channels.channel_delta_compression == {"p*": "fossil"}
    assert app.policy.channels.v1_recovery is True
    assert len(app.policy.webhooks) == 1


def test_flat_fields_next_to_a_policy_are_ignored_and_told() -> None:
    raw = record(policy={}, max_connections=5, enable_client_messages=True)
    app = read_app(raw, "apps[0]")
    assert app.policy == Policy()
    assert app_warnings(raw, app, "x") == [
        "x (app 'shop'): enable_client_messages, max_connections next to `policy` is ignored; move it into `policy`"
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"id": ""}, "apps[0]: id is empty"),
        ({"id": None}, "apps[0]: id is missing"),
        ({"id": 7}, "apps[0]: id is not text: put it in quotes"),
        ({"id": "a/b"}, "apps[0] (app 'a/b'): id contains '/', which no request path can carry"),
        ({"key": "a/b"}, "apps[0] (app 'shop'): key contains '/', which no request path can carry"),
        ({"id": ".."}, "apps[0] (app '..'): id is '..', which clients take out of a request path"),
        ({"key": "."}, "apps[0] (app 'shop'): key is '.', which clients take out of a request path"),
        ({"key": ""}, "apps[0] (app 'shop'): key is empty"),
        ({"secret": ""}, "apps[0] (app 'shop'): secret is empty"),
        ({"secret": "x\n"}, "apps[0] (app 'shop'): secret has white space around it or a control character in it"),
        ({"enabled": "maybe"}, "apps[0] (app 'shop'): enabled = 'maybe' is neither true nor false"),
        ({"enabeld": True}, "apps[0] (app 'shop'): unknown field 'enabeld'; did you mean 'enabled'?"),
        ({"history": {}}, "apps[0] (app 'shop'): `history` is only read inside `policy`"),
        ({"max_connections": -1}, "apps[0] (app 'shop'): max_connections = -1 is not a whole number of 0 or more"),
        ({"max_connections": "x"}, "apps[0] (app 'shop'): max_connections = 'x' is not a whole number of 0 or more"),
        ({"decay_seconds": 0}, "apps[0] (app 'shop'): decay_seconds = 0 is not a whole number of 1 or more"),
        (
            {"idempotency": {"ttl_seconds": 0}},
            "apps[0] (app 'shop'): idempotency.ttl_seconds = 0 is not a whole number of 1 or",
        ),
        ({"policy": []}, "apps[0] (app 'shop'): policy is not an object"),
        ({"policy": {"limit": {}}}, "apps[0] (app 'shop'): policy.limit is not known; did you mean 'limits'?"),
        ({"policy": {"limits": []}}, "apps[0] (app 'shop'): policy.limits is not an object"),
        (
            {"policy": {"limits": {"max_connection": 1}}},
            "apps[0] (app 'shop'): policy.limits.max_connection is not known; did you mean 'max_connections'?",
        ),
        (
            {"policy": {"features": {"enable_client_messages": 1}}},
            "apps[0] (app 'shop'): policy.features.enable_client_messages",
        ),
        ({"policy": {"history": 3}}, "apps[0] (app 'shop'): policy.history is not an object"),
        (
            {"policy": {"history": {"retention_seconds": 3}}},
            "apps[0] (app 'shop'): policy.history.retention_seconds is not known; did you mean 'retention_window_secon",
        ),
        (
            {"policy": {"history": {"retention_window_seconds": 0}}},
            "apps[0] (app 'shop'): policy.history.retention_window_seconds = 0 is not a whole number of 1 or more",
        ),
        (
            {"policy": {"presence_history": {"max_events_per_channel": "x"}}},
            "apps[0] (app 'shop'): policy.presence_history.max_events_per_channel = 'x' is not a whole number of 0",
        ),
        (
            {"connection_recovery": {"buffer_ttl_seconds": 0}},
            "apps[0] (app 'shop'): connection_recovery.buffer_ttl_seconds = 0 is not a whole number of 1 or more",
        ),
        (
            {"connection_recovery": {"ttl": 5}},
            "apps[0] (app 'shop'): connection_recovery.ttl is not known",
        ),
        (
            {"channel_namespaces": [{"name": "a", "history": {"enabled": True}}]},
            "apps[0] (app 'shop'): channel_namespaces[0].history.enabled is not known",
        ),
        (
            {"channel_delta_compression": {"p*": "zip"}},
            "apps[0] (app 'shop'): channel_delta_compression['p*'] = 'zip' is none of inherit, disabled, fossil",
        ),
        ({"allowed_origins": "a*b*"}, "apps[0] (app 'shop'): allowed_origins has 'a*b*', which has more than one '*'"),
        ({"allowed_origins": 3}, "apps[0] (app 'shop'): allowed_origins is not a list"),
        ({"allowed_origins": [3]}, "apps[0] (app 'shop'): allowed_origins = 3 is not text"),
        (
            {"channel_namespaces": [{"name": "a:b"}]},
            "apps[0] (app 'shop'): channel_namespaces[0].name = 'a:b' is empty or",
        ),
        (
            {"channel_namespaces": [{}]},
            "apps[0] (app 'shop'): channel_namespaces[0].name = '' is empty or contains ':'",
        ),
        ({"channel_namespaces": [3]}, "apps[0] (app 'shop'): channel_namespaces[0] is not an object"),
        (
            {"channel_namespaces": [{"name": "a"}, {"name": "a"}]},
            "apps[0] (app 'shop'): channel_namespaces[1].name = 'a' stands twice",
        ),
        (
            {"channel_namespaces": [{"name": "a", "channel_name_pattern": "("}]},
            "apps[0] (app 'shop'): channel_namespaces[0].channel_name_pattern is no regular expression: missing )",
        ),
        (
            {"channel_namespaces": [{"name": "a", "max_channel_name_length": 0}]},
            "apps[0] (app 'shop'): channel_namespaces[0].max_channel_name_length = 0 is not a whole number of 1",
        ),
        ({"webhooks": [{"event_types": []}]}, "apps[0] (app 'shop'): webhooks[0] has no url"),
        (
            {"webhooks": [{"url": "/in", "event_types": []}]},
            "apps[0] (app 'shop'): webhooks[0] has a url that is not an",
        ),
        ({"webhooks": [{"url": "https://a.test"}]}, "apps[0] (app 'shop'): webhooks[0] has no event_types"),
        *(
            (
                {"webhooks": [{"url": "https://a.test", "event_types": [], "filter": {"channel_pattern": pattern}}]},
                "apps[0] (app 'shop'): webhooks[0] has a filter.channel_pattern that is no regular expression: ",
            )
            for pattern in ("(", "x{99999999999}")
        ),
        (
            {"webhooks": [{"url": "https://a.test", "event_types": [], "request_timeout_ms": "\ud800"}]},
            "apps[0] (app 'shop'): webhooks[0] does not fit: request_timeout_ms is not a whole number",
        ),
    ],
)
def test_refusals(fields: dict[str, Any], problem: str) -> None:
    told = refusals(record(**fields))
    assert told[0].startswith(problem), told


def test_every_problem_of_a_record_at_once_and_no_secret() -> None:
    told = refusals(record(key="", secret=" hidden ", max_connections="x", decay_seconds=0))
    assert len(told) == 4
    assert "hidden" not in str(told)


def test_ids_and_keys_are_unique() -> None:
    _, problems, _ = read_apps([record(), record(key="other"), record(id="other")], "apps")
    assert problems == [
        "apps[1] (app 'shop'): id = 'shop' is already taken by apps[0]",
        "apps[2] (app 'other'): key = 'k-shop' is already taken by apps[0]",
    ]


@pytest.mark.parametrize("raw", [3, "x", {"id": "x"}, [3], None])
def test_apps_are_a_list_of_objects(raw: object) -> None:
    apps, (problem,), warnings = read_apps(raw, "apps")
    assert (apps, warnings) == ((), [])
    assert problem.startswith("apps is not a list of apps: ")
    assert "[[app_manager.array.apps]]" in problem


def test_what_may_surprise() -> None:
    webhooks = [{"url": "https://hooks.test", "event_types": []}]
    raw = {"id": "shop", "key": "k", "secret": "s", "policy": {"history": {"enabled": True}, "webhooks": webhooks}}
    app = read_app(raw, "apps[0]")
    assert app.enabled is False
    assert app_warnings(raw, app, "apps[0]") == [
        "apps[0] (app 'shop'): `enabled` is left out, which means false: it takes neither connections nor requests",
        "apps[0] (app 'shop'): policy.webhooks[0] has no event types, so it gets nothing",
    ]
    assert app_warnings(record(), read_app(record(), "x"), "x") == []


def test_every_field_is_described() -> None:
    """The table of fields and the structs name the same fields."""
    for path in APP_FIELDS:
        field_default(App, path)
    flat = {path.rpartition(".")[2] for path in APP_FIELDS}
    parts = {"limits", "features", "channels", "message_rate_limit", *KEPT, "idempotency"}
    for struct in (Limits, Features, Channels, Namespace, MessageRateLimit, Policy, Idempotency):
        assert set(struct.__struct_fields__) - parts <= flat
    for struct, path in STREAM_PARTS:
        assert {f"{path}.{name}" for name in struct.__struct_fields__} <= set(APP_FIELDS)


_NAMES = st.text("abcdefgh-_0", min_size=1, max_size=8)
_NUMBERS = st.integers(0, 2**32 - 1)
_OPTIONAL = st.none() | _NUMBERS
_FLAGS = st.none() | st.booleans()
_SECONDS = st.none() | st.integers(1, 2**32 - 1)
_KEPT = {
    "retention_window_seconds": _SECONDS,
    "max_messages_per_channel": _OPTIONAL,
    "max_bytes_per_channel": st.none() | st.integers(0, 2**53),
}
_DELTAS = st.none() | st.dictionaries(
    st.sampled_from(["news", "p*", "*s", "p*s", "*"]),
    st.sampled_from(["inherit", "disabled", "fossil", "xdelta3"])
    | st.fixed_dictionaries(
        {},
        optional={
            "enabled": st.booleans(),
            "algorithm": st.sampled_from(["fossil", "xdelta3"]),
            "conflation_key": _NAMES,
            "max_messages_per_key": _NUMBERS,
            "max_conflation_keys": st.integers(1, 99),
            "enable_tags": st.booleans(),
        },
    ),
)
_APPS = st.builds(
    App,
    id=_NAMES,
    key=_NAMES,
    secret=_NAMES,
    enabled=st.booleans(),
    policy=st.builds(
        Policy,
        limits=st.builds(
            Limits,
            max_connections=_NUMBERS,
            decay_seconds=st.integers(1, 99),
            message_rate_limit=st.none() | st.builds(MessageRateLimit, enabled=st.booleans()),
            max_event_batch_size=_OPTIONAL,
            max_channel_name_length=_OPTIONAL,
        ),
        features=st.builds(Features, enable_client_messages=st.booleans(), enable_watchlist_events=_FLAGS),
        channels=st.builds(
            Channels,
            allowed_origins=st.lists(st.sampled_from(["*", "https://a.test", "*.b.test"]), max_size=3).map(tuple),
            channel_delta_compression=_DELTAS,
            channel_namespaces=st.lists(
                st.builds(
                    Namespace,
                    name=_NAMES,
                    history=st.builds(NamespaceHistory, rewind_enabled=_FLAGS, **_KEPT),
                    presence_history=st.builds(PresenceHistory, enabled=_FLAGS, max_events_per_channel=_OPTIONAL),
                    allow_subscribe_for_client=_FLAGS,
                ),
                max_size=2,
                unique_by=lambda namespace: namespace.name,
            ).map(tuple),
            v1_recovery=_FLAGS,
        ),
        connection_recovery=st.builds(
            ConnectionRecovery, enabled=_FLAGS, buffer_ttl_seconds=_SECONDS, max_buffer_size=_SECONDS
        ),
        history=st.builds(History, enabled=_FLAGS, rewind_enabled=_FLAGS, **_KEPT),
        presence_history=st.builds(PresenceHistory, enabled=_FLAGS, retention_window_seconds=_SECONDS),
    ),
)


@given(_APPS)
def test_a_written_app_is_read_back(app: App) -> None:
    """Reading what was written gives an equal app, without a warning."""
    plain = app_to_builtins(app)
    assert read_app(plain, "x") == app
    assert app_warnings(plain, app, "x") == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from([*BARE, "policy", *Limits.__struct_fields__, *Channels.__struct_fields__, "webhooks", "x"]),
        _JSON,
    )
)
def test_any_record_is_an_app_or_a_refusal(raw: dict[str, Any]) -> None:
    """Whatever a record holds, reading it gives an app or a ConfigError, nothing else."""
    try:
        assert isinstance(read_app(raw, "x"), App)
    except ConfigError as error:
        assert error.problems  # noqa: PT017 - both ends are fine


# ---- the record ----


def read(raw: dict[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    problems: list[str] = []
    found = read_deltas(raw, "deltas", lambda path, text: problems.append(f"{path} {text}"))
    return found, problems


@pytest.mark.parametrize("pattern", ["news", "p*", "*s", "p*s", "*", "private-a"])
@pytest.mark.parametrize(("raw", "word"), [("inherit", "inherit"), ("Disabled", "disabled"), (" XDELTA3 ", "xdelta3")])
def test_words_in_any_case(pattern: str, raw: str, word: str) -> None:
    assert read({pattern: raw}) == ({pattern: word}, [])


def test_settings_keep_what_was_written() -> None:
    settings = {
        "enabled": "no",
        "algorithm": "Fossil",
        "conflation_key": "data.symbol",
        "max_messages_per_key": "3",
        "max_conflation_keys": 4,
        "enable_tags": True,
    }
    assert read({"a*": settings, "b": {}, "c": {"conflation_key": None}}) == (
        {
            "a*": {
                "enabled": False,
                "algorithm": "fossil",
                "conflation_key": "data.symbol",
                "max_messages_per_key": 3,
                "max_conflation_keys": 4,
                "enable_tags": True,
            },
            "b": {},
            "c": {},
        },
        [],
    )


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"": "fossil"}, "deltas[''] is no pattern: a channel name with at most one '*'"),
        ({"a*b*": "fossil"}, "deltas['a*b*'] is no pattern: a channel name with at most one '*'"),
        ({3: "fossil"}, "deltas[3] is no pattern: a channel name with at most one '*'"),
        ({"a": "zip"}, "deltas['a'] = 'zip' is none of inherit, disabled, fossil, xdelta3"),
        ({"a": None}, "deltas['a'] = None is none of inherit, disabled, fossil, xdelta3"),
        ({"a": True}, "deltas['a'] = True is none of inherit, disabled, fossil, xdelta3"),
        ({"a": {"algorithm": "inherit"}}, "deltas['a'].algorithm = 'inherit' is none of fossil, xdelta3"),
        ({"a": {"enable": True}}, "deltas['a'].enable is not known; did you mean 'enabled'?"),
        ({"a": {"max_conflation_keys": 0}}, "deltas['a'].max_conflation_keys = 0 is not a whole number of 1 or more"),
        ({"a": {"conflation_key": 3}}, "deltas['a'].conflation_key = 3 is not text: put it in quotes"),
    ],
)
def test_refusals_of_deltas(raw: dict[Any, Any], problem: str) -> None:
    assert read(raw)[1] == [problem]


def test_every_problem_at_once_and_the_rest_is_read() -> None:
    found, problems = read({"a": "zip", "b": {"enabled": "perhaps", "algorithm": "fossil"}, "c": "fossil"})
    assert found == {"b": {"algorithm": "fossil"}, "c": "fossil"}
    assert len(problems) == 2
