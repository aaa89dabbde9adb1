"""Forms of policies: filled in from a record, read back, and shown again after a conflict."""

from __future__ import annotations

import functools
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.apps.edits import with_values
from sockudo.config import Settings
from sockudo.config.app_shape import APP_FIELDS
from sockudo.config.apps import App, Channels, Features, History, Limits, MessageRateLimit, Namespace, Policy
from sockudo.config.problems import ConfigError
from sockudo.dashboard.apps.desk import WHERE, FieldProblem
from sockudo.dashboard.apps.fields import Tab, fields_of
from sockudo.dashboard.apps.forms import FieldView, PolicyForm
from sockudo.dashboard.asked import Form, parse_form

PLAIN = App("shop", "k", "s", True)
FULL = App(
    "shop",
    "k",
    "s",
    True,
    Policy(
        limits=Limits(max_connections=5, message_rate_limit=MessageRateLimit(enabled=True)),
        features=Features(enable_client_messages=True, enable_watchlist_events=False),
        channels=Channels(
            allowed_origins=("https://a.test", "*.b.test"),
            channel_namespaces=(Namespace("chat"),),
            channel_delta_compression={"a-*": "fossil"},
        ),
        history=History(enabled=True, retention_window_seconds=60),
    ),
)
TAB_NAMES: tuple[Tab, ...] = ("limits", "channels")


def views(form: PolicyForm, *problems: FieldProblem) -> dict[str, FieldView]:
    return {field.name: field for group in form.view(Settings(), problems) for field in group.fields}


def sent(shown: dict[str, FieldView], **changes: str | None) -> Form:
    """The form as a browser sends it, which ends lines in its own way."""
    values = {view.name: view.value for view in shown.values() if view.field.kind != "switch" or view.value}
    values |= {view.was_name: view.was for view in shown.values()}
    for name, value in changes.items():
        values.pop(name, None)
        if value is not None:
            values[name] = value
    pairs = [(name, value.replace("\n", "\r\n")) for name, value in values.items()]
    return parse_form(urlencode(pairs).encode())


@pytest.mark.parametrize("app", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("tab", TAB_NAMES)
def test_a_form_that_is_sent_as_it_was_changes_nothing(tab: Tab, app: App) -> None:
    form = PolicyForm(tab, app)
    assert PolicyForm(tab, app, sent(views(form))).values() == {}


def test_everything_of_a_policy_but_its_webhooks_stands_on_one_tab() -> None:
    paths = [field.path for tab in TAB_NAMES for field in fields_of(tab)]
    assert len(paths) == len(set(paths))
    nested = ("policy.channels.channel_namespaces.", "policy.webhooks", "policy.channels.annotations_enabled")
    expected = {path for path in APP_FIELDS if path.startswith("policy.") and not path.startswith(nested)}
    assert {f"policy.{path}" for path in paths} == expected


@functools.cache
def _plain_limits() -> dict[str, FieldView]:
    return views(PolicyForm("limits", PLAIN))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            # 0 is the default, which stands beside an empty field.
            "limits.max_connections": st.integers(1, 10**6).map(str),
            "limits.terminate_on_limit": st.just("on"),
            "idempotency.enabled": st.sampled_from(["on", "off"]),
            "limits.max_event_batch_size": st.integers(1, 100).map(str),
        },
    )
)
def test_what_was_typed_is_what_the_form_shows_next(wanted: dict[str, str]) -> None:
    form = PolicyForm("limits", PLAIN, sent(_plain_limits(), **wanted))
    after = with_values(PLAIN, form.values(), WHERE)
    shown = views(PolicyForm("limits", after))
    assert {name: shown[name].value for name in wanted} == wanted


def test_only_what_was_touched_is_changed() -> None:
    """What another changed meanwhile in other fields is left alone."""
    old = views(PolicyForm("channels", FULL))
    theirs = with_values(FULL, {"history.enabled": False, "features.enable_client_messages": False}, WHERE)
    mine = PolicyForm("channels", theirs, sent(old, **{"channels.allowed_origins": "", "history.enabled": "on"}))
    assert mine.values() == {"channels.allowed_origins": []}


def test_a_conflict_shows_what_is_wanted_and_what_is() -> None:
    old = views(PolicyForm("limits", PLAIN))
    theirs = with_values(PLAIN, {"limits.max_connections": 3, "limits.decay_seconds": 9}, WHERE)
    form = PolicyForm(
        "limits", theirs, sent(old, **{"limits.max_connections": "7", "limits.max_event_batch_size": "2"})
    )
    shown = views(form)
    connections, decay, batch = (
        shown[f"limits.{name}"] for name in ("max_connections", "decay_seconds", "max_event_batch_size")
    )
    assert (connections.value, connections.was, connections.now) == ("7", "3", "3")
    assert (decay.value, decay.was, decay.now) == ("9", "9", None)
    assert (batch.value, batch.now) == ("2", None)
    # Sent once more, both hold.
    again = PolicyForm("limits", theirs, sent(shown))
    assert again.values() == {"limits.max_connections": "7", "limits.max_event_batch_size": "2"}


def test_both_want_the_same() -> None:
    old = views(PolicyForm("limits", PLAIN))
    theirs = with_values(PLAIN, {"limits.max_connections": 7}, WHERE)
    form = PolicyForm("limits", theirs, sent(old, **{"limits.max_connections": "7"}))
    assert views(form)["limits.max_connections"].now is None


def test_json_that_is_none_is_told_and_kept() -> None:
    name = "channels.channel_namespaces"
    form = PolicyForm("channels", PLAIN, sent(views(PolicyForm("channels", PLAIN)), **{name: "[{"}))
    with pytest.raises(ConfigError, match=r"policy\.channels\.channel_namespaces is no JSON"):
        form.values()
    assert views(form)[name].value == "[{"


def test_a_problem_inside_a_list_stands_beside_the_list() -> None:
    path = "policy.channels.channel_namespaces"
    told = views(
        PolicyForm("channels", PLAIN),
        FieldProblem(f"{path}[0].name", "is empty"),
        FieldProblem(f"{path}[1].name", "stands twice"),
        FieldProblem("policy.limits.max_connections", "is of another tab"),
        FieldProblem(None, "of nothing"),
    )
    assert told["channels.channel_namespaces"].problem == "[0].name is empty; [1].name stands twice"
    assert [view.name for view in told.values() if view.problem] == ["channels.channel_namespaces"]


def test_defaults_are_the_servers() -> None:
    shown = views(PolicyForm("limits", PLAIN))
    assert shown["limits.max_event_batch_size"].default == "10"
    assert shown["limits.max_connections"].default == "no limit"
    assert shown["idempotency.enabled"].default == "on"


def test_a_number_that_nobody_set_is_an_empty_field() -> None:
    """The default stands beside it: a 0 or a 1 in the field would look like a limit of the app."""
    shown = _plain_limits()["limits.max_connections"]
    assert (shown.value, shown.default) == ("", "no limit")
    limited = with_values(PLAIN, {"limits.max_connections": 7}, WHERE)
    assert views(PolicyForm("limits", limited))["limits.max_connections"].value == "7"
    unlimited = PolicyForm(
        "limits", limited, sent(views(PolicyForm("limits", limited)), **{"limits.max_connections": ""})
    )
    assert with_values(limited, unlimited.values(), WHERE).policy.limits.max_connections == 0
