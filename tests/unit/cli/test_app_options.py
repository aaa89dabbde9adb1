"""Fields of a policy by their flat names: written into a record, and read back from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.cli.app_options import changed, settled
from sockudo.config.apps import App, Features, History, Limits, Policy
from sockudo.config.problems import ConfigError

PLAIN = App("shop", "k-shop", "s-shop", True)

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "max_connections": st.integers(1, 2**32 - 1),
    "max_event_payload_in_kb": st.integers(0, 1000),
    "terminate_on_limit": st.just(True),
    "enable_client_messages": st.just(True),
    "enable_watchlist_events": st.booleans(),
    "allowed_origins": st.lists(st.sampled_from(["https://shop.test", "*.shop.test"]), min_size=1),
    "idempotency": st.fixed_dictionaries({"ttl_seconds": st.integers(1, 100)}),
    "history": st.fixed_dictionaries({"enabled": st.booleans()}),
}


@given(st.fixed_dictionaries({}, optional=_FIELDS))
def test_what_was_set_is_what_is_shown(wanted: dict[str, Any]) -> None:
    """Whatever fields are set away from their default, exactly those are shown, with these values."""
    assert settled(changed(PLAIN, wanted)) == wanted


@given(st.fixed_dictionaries({}, optional=_FIELDS))
def test_none_is_the_way_back(wanted: dict[str, Any]) -> None:
    """Whatever fields are set, wishing for the default of each gives the app as it was."""
    assert changed(changed(PLAIN, wanted), dict.fromkeys(wanted)) == PLAIN


def test_texts_of_the_command_line_are_read_as_in_a_file() -> None:
    wanted = {"max_connections": "5", "enable_client_messages": "yes", "allowed_origins": "a.test, b.test"}
    policy = changed(PLAIN, wanted).policy
    assert policy.limits == Limits(max_connections=5)
    assert policy.features == Features(enable_client_messages=True)
    assert policy.channels.allowed_origins == ("a.test", "b.test")


def test_credentials_and_other_fields_stay() -> None:
    app = App(
        "shop", "k-shop", "s-shop", False, Policy(limits=Limits(max_event_batch_size=3), history=History(enabled=True))
    )
    after = changed(app, {"max_connections": 1})
    assert (after.id, after.key, after.secret, after.enabled) == ("shop", "k-shop", "s-shop", False)
    assert after.policy.limits.max_event_batch_size == 3
    assert after.policy.history == History(enabled=True)


def test_every_wrong_value_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        changed(PLAIN, {"max_connections": "many", "enable_client_messages": "perhaps"})
    assert len(caught.value.problems) == 2
    assert "s-shop" not in str(caught.value)
