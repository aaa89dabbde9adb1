"""What is kept of a channel: namespace first, then app, then server (spec: platform § 2.1; history § 9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.apps.policies import (
    HistoryPolicy,
    PresenceHistoryPolicy,
    RecoveryPolicy,
    StreamDefaults,
    StreamPolicies,
    StreamPolicy,
    resolve_recovery,
    resolve_streams,
)
from sockudo.base.stream_records import Retention
from sockudo.config.apps import (
    Channels,
    ConnectionRecovery,
    History,
    Namespace,
    NamespaceHistory,
    Policy,
    PresenceHistory,
)
from sockudo.config.schema import build
from sockudo.protocol.names import CHANNEL_PREFIXES, namespace_of

DAY = 86_400_000
OFF = StreamDefaults.from_settings(build({}))


def defaults(**values: object) -> StreamDefaults:
    return StreamDefaults.from_settings(build({name.replace("__", "."): value for name, value in values.items()}))


def policies(policy: Policy, usual: StreamDefaults = OFF) -> StreamPolicies:
    found = resolve_streams(policy, usual)
    assert found is not None
    return found


def with_namespaces(*namespaces: Namespace, **parts: object) -> Policy:
    return Policy(channels=Channels(channel_namespaces=namespaces), **parts)  # type: ignore[arg-type]


def test_the_servers_values_are_complete() -> None:
    assert (
        StreamDefaults(
            ConnectionRecovery(enabled=False, buffer_ttl_seconds=120, max_buffer_size=100),
            History(
                enabled=False,
                rewind_enabled=True,
                retention_window_seconds=86_400,
                max_messages_per_channel=0,
                max_bytes_per_channel=0,
            ),
            PresenceHistory(
                enabled=False, retention_window_seconds=86_400, max_events_per_channel=0, max_bytes_per_channel=0
            ),
        )
        == OFF
    )


def test_nothing_is_kept_where_nobody_asks() -> None:
    assert resolve_streams(Policy(), OFF) is None
    assert (
        resolve_streams(with_namespaces(Namespace("chat", history=NamespaceHistory(rewind_enabled=True))), OFF) is None
    )
    assert resolve_recovery(Policy(), OFF) is None


@pytest.mark.parametrize(
    ("own", "usual", "wanted"),
    [
        (ConnectionRecovery(), defaults(connection_recovery__enabled=True), RecoveryPolicy(120.0, 100)),
        (ConnectionRecovery(enabled=True), OFF, RecoveryPolicy(120.0, 100)),
        (ConnectionRecovery(enabled=False), defaults(connection_recovery__enabled=True), None),
        (
            ConnectionRecovery(enabled=True, buffer_ttl_seconds=7),
            defaults(connection_recovery__max_buffer_size=9),
            RecoveryPolicy(7.0, 9),
        ),
        (ConnectionRecovery(buffer_ttl_seconds=7, max_buffer_size=9), OFF, None),
    ],
)
def test_recovery_is_the_apps_then_the_servers(
    own: ConnectionRecovery, usual: StreamDefaults, wanted: RecoveryPolicy | None
) -> None:
    policy = Policy(connection_recovery=own)
    assert resolve_recovery(policy, usual) == wanted
    found = resolve_streams(policy, usual)
    assert (found.of("news").recovery if found else None) == wanted


def test_recovery_is_the_same_in_every_namespace() -> None:
    chat = Namespace("chat", history=NamespaceHistory(max_messages_per_channel=1))
    found = policies(with_namespaces(chat), defaults(connection_recovery__enabled=True, history__enabled=True))
    assert found.of("chat:room").recovery is found.of("news").recovery
    assert found.of("chat:room").history != found.of("news").history


def test_history_value_by_value() -> None:
    usual = defaults(history__max_bytes_per_channel=500, history__rewind_enabled=False)
    chat = Namespace("chat", history=NamespaceHistory(rewind_enabled=True, max_messages_per_channel=5))
    own = History(enabled=True, retention_window_seconds=60, max_messages_per_channel=9)
    found = policies(with_namespaces(chat, history=own), usual)
    assert found.of("news").history == HistoryPolicy(False, Retention(60_000, 9, 500))
    assert found.of("chat:room").history == HistoryPolicy(True, Retention(60_000, 5, 500))


def test_history_off_for_the_app_is_off_in_its_namespaces() -> None:
    chat = Namespace("chat", history=NamespaceHistory(max_messages_per_channel=5))
    policy = with_namespaces(chat, history=History(enabled=False))
    assert resolve_streams(policy, defaults(history__enabled=True)) is None


def test_zero_takes_the_limit_away() -> None:
    usual = defaults(history__enabled=True, history__max_messages_per_channel=5, history__max_bytes_per_channel=6)
    chat = Namespace("chat", history=NamespaceHistory(max_bytes_per_channel=0))
    found = policies(with_namespaces(chat, history=History(max_messages_per_channel=0)), usual)
    assert found.of("news").history == HistoryPolicy(True, Retention(DAY, None, 6))
    assert found.of("chat:room").history == HistoryPolicy(True, Retention(DAY, None, None))


def test_presence_history_may_be_on_in_one_namespace_alone() -> None:
    chat = Namespace("chat", presence_history=PresenceHistory(enabled=True, max_events_per_channel=4))
    found = policies(with_namespaces(chat, presence_history=PresenceHistory(retention_window_seconds=60)))
    assert found.of("presence-news").presence_history is None
    assert found.of("presence-chat:room") == StreamPolicy(
        presence_history=PresenceHistoryPolicy(Retention(60_000, 4, None))
    )
    assert found.keeps_presence


def test_presence_history_may_be_off_in_one_namespace_alone() -> None:
    chat = Namespace("chat", presence_history=PresenceHistory(enabled=False))
    found = policies(with_namespaces(chat), defaults(presence_history__enabled=True))
    assert found.of("presence-news").presence_history == PresenceHistoryPolicy(Retention(DAY, None, None))
    assert found.of("presence-chat:room") == StreamPolicy()


@pytest.mark.parametrize(
    ("channel", "own"),
    [
        ("chat:room", True),
        ("chat:room:2", True),
        ("chat:room#ana", True),
        ("private-chat:room", True),
        ("presence-cache-chat:room", True),
        ("chat", False),
        ("other:room", False),
        ("private-news", False),
        ("room#chat:x", False),
        ("#server-to-user-chat:x", False),
        (":room", False),
    ],
)
def test_which_channels_are_the_namespaces(channel: str, own: bool) -> None:
    chat = Namespace("chat", history=NamespaceHistory(max_messages_per_channel=5))
    found = policies(with_namespaces(chat), defaults(history__enabled=True))
    assert found.of(channel) is (found.by_head["chat"] if own else found.common)


@given(
    st.tuples(
        st.sampled_from(["", *CHANNEL_PREFIXES]),
        st.sampled_from(["", "private-", "cache-", "x"]),
        st.sampled_from(["chat", "private-chat", "a#b", "news"]),
        st.sampled_from(["", ":room", "#ana", ":room#ana,bob", "#a:b", "::"]),
    ).map("".join)
)
def test_a_channel_has_the_policy_of_its_namespace(channel: str) -> None:
    names = ("chat", "private-chat", "a#b", "cache-news")
    limits = {name: number for number, name in enumerate(names, 1)}
    namespaces = (Namespace(name, history=NamespaceHistory(max_messages_per_channel=limits[name])) for name in names)
    found = policies(with_namespaces(*namespaces), defaults(history__enabled=True))
    history = found.of(channel).history
    assert history is not None
    assert history.retention.max_messages == limits.get(namespace_of(channel) or "")


def test_a_namespace_that_changes_nothing_costs_nothing() -> None:
    found = policies(with_namespaces(Namespace("chat"), Namespace("news")), defaults(history__enabled=True))
    assert found.by_head == {}
    assert found.of("chat:room") is found.common


@pytest.mark.parametrize(
    ("values", "stores", "keeps_presence"),
    [
        ({"connection_recovery.enabled": True}, False, False),
        ({"connection_recovery.enabled": True, "history.enabled": True}, True, False),
        ({"presence_history.enabled": True}, False, True),
        ({"history.enabled": True, "presence_history.enabled": True}, True, True),
    ],
)
def test_what_needs_a_store(values: dict[str, bool], stores: bool, keeps_presence: bool) -> None:
    found = policies(Policy(), StreamDefaults.from_settings(build(values)))
    assert (found.stores, found.keeps_presence) == (stores, keeps_presence)


_FLAG = st.none() | st.booleans()
_COUNT = st.none() | st.integers(0, 3)
_WINDOW = st.none() | st.integers(1, 3)


@given(
    st.builds(NamespaceHistory, _FLAG, _WINDOW, _COUNT, _COUNT),
    st.builds(
        History, rewind_enabled=_FLAG, retention_window_seconds=_WINDOW, max_messages_per_channel=_COUNT, enabled=_FLAG
    ),
    st.booleans(),
)
def test_the_nearest_value_that_is_set_holds(namespace: NamespaceHistory, own: History, usual: bool) -> None:
    """For every field of the history by itself: the namespace's value, else the app's, else the server's."""
    found = resolve_streams(
        with_namespaces(Namespace("chat", history=namespace), history=own), defaults(history__enabled=usual)
    )
    if not (usual if own.enabled is None else own.enabled):
        assert found is None
        return
    assert found is not None
    history = found.of("chat:room").history
    assert history is not None

    def nearest(field: str, server: int | None) -> int | None:
        values = (getattr(namespace, field), getattr(own, field), server)
        return next((value for value in values if value is not None), None)

    assert history.rewind is nearest("rewind_enabled", True)
    assert history.retention == Retention(
        (nearest("retention_window_seconds", 86_400) or 0) * 1000,
        nearest("max_messages_per_channel", None) or None,
        nearest("max_bytes_per_channel", None) or None,
    )
