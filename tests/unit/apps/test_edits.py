"""Records are changed by the rules that configuration files are read by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sockudo.apps.edits import FLAT_NAMES, merged, new_app, rotated, settled, version_of, with_values
from sockudo.config.apps import App, Channels, Features, History, Limits, MessageRateLimit, Policy
from sockudo.config.problems import ConfigError

PLAIN = App("shop", "k-shop", "s-shop", True)
FULL = App(
    "shop",
    "k-shop",
    "s-shop",
    False,
    Policy(
        limits=Limits(max_event_batch_size=3, message_rate_limit=MessageRateLimit(enabled=True, max_attempts=5)),
        channels=Channels(allowed_origins=("https://shop.test",), channel_delta_compression={"a-*": "fossil"}),
        webhooks=({"url": "https://hooks.test/in", "event_types": ["channel_occupied"]},),
        history=History(enabled=True),
    ),
)

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


def changed(app: App, wanted: dict[str, Any]) -> App:
    return with_values(app, {FLAT_NAMES[name]: value for name, value in wanted.items()}, "here")


def problems(change: Any, *arguments: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        change(*arguments, **options)
    assert "s-shop" not in str(caught.value)
    return caught.value.problems


# ---- single fields ----


@given(st.fixed_dictionaries({}, optional=_FIELDS))
def test_what_was_set_is_what_is_shown(wanted: dict[str, Any]) -> None:
    """Whatever fields are set away from their default, exactly those are shown, with these values."""
    assert settled(changed(PLAIN, wanted)) == wanted


@given(st.fixed_dictionaries({}, optional=_FIELDS))
def test_none_is_the_way_back(wanted: dict[str, Any]) -> None:
    """Whatever fields are set, wishing for the default of each gives the app as it was."""
    assert changed(changed(PLAIN, wanted), dict.fromkeys(wanted)) == PLAIN


def test_texts_are_read_as_in_a_file() -> None:
    wanted = {"max_connections": "5", "enable_client_messages": "yes", "allowed_origins": "a.test, b.test"}
    policy = changed(PLAIN, wanted).policy
    assert policy.limits == Limits(max_connections=5)
    assert policy.features == Features(enable_client_messages=True)
    assert policy.channels.allowed_origins == ("a.test", "b.test")


def test_fields_deeper_down_have_paths() -> None:
    after = with_values(PLAIN, {"limits.message_rate_limit.max_attempts": "7", "history.enabled": "on"}, "here")
    assert after.policy.limits.message_rate_limit == MessageRateLimit(max_attempts=7)
    assert after.policy.history == History(enabled=True)


def test_everything_else_stays() -> None:
    after = with_values(FULL, {"limits.max_connections": 1}, "here")
    limits = structs.replace(FULL.policy.limits, max_connections=1)
    assert after == structs.replace(FULL, policy=structs.replace(FULL.policy, limits=limits))


def test_every_wrong_value_is_named() -> None:
    found = problems(changed, PLAIN, {"max_connections": "many", "enable_client_messages": "perhaps"})
    assert [problem.partition(": ")[2].split(" ")[0] for problem in found] == [
        "policy.limits.max_connections",
        "policy.features.enable_client_messages",
    ]


# ---- parts of a record ----


def test_a_merge_goes_deep_and_leaves_the_rest() -> None:
    change = {
        "policy": {"limits": {"message_rate_limit": {"max_attempts": 9}}, "features": {"enable_client_messages": True}}
    }
    after = merged(FULL, change, "request")
    assert after.policy.limits.message_rate_limit == MessageRateLimit(enabled=True, max_attempts=9)
    assert after.policy.limits.max_event_batch_size == 3
    assert after.policy.features == Features(enable_client_messages=True)
    assert (after.policy.channels, after.policy.webhooks) == (FULL.policy.channels, FULL.policy.webhooks)
    assert (after.id, after.key, after.secret, after.enabled) == ("shop", "k-shop", "s-shop", False)


def test_null_goes_back_to_the_default_and_lists_are_replaced() -> None:
    change = {
        "policy": {
            "limits": {"max_event_batch_size": None},
            "channels": {"allowed_origins": ["*.b.test"], "channel_delta_compression": {"b-*": "xdelta3"}},
            "history": None,
        }
    }
    after = merged(FULL, change, "request").policy
    assert after.limits.max_event_batch_size is None
    assert after.channels.allowed_origins == ("*.b.test",)
    assert set(after.channels.channel_delta_compression or {}) == {"a-*", "b-*"}
    assert after.history == History()


def test_a_whole_policy_in_place_of_the_old_one() -> None:
    after = merged(FULL, {"policy": {"limits": {"max_connections": 4}}}, "request", replace_policy=True)
    assert after == structs.replace(FULL, policy=Policy(limits=Limits(max_connections=4)))


@pytest.mark.parametrize("change", [{}, {"policy": None}])
def test_nothing_in_place_of_the_policy_is_a_mistake(change: dict[str, Any]) -> None:
    [problem] = problems(merged, FULL, change, "request", replace_policy=True)
    assert problem == "request: policy is missing, which was to replace the whole policy"


def test_null_changes_nothing_that_has_no_default() -> None:
    assert merged(FULL, {"key": None, "secret": None, "enabled": None, "policy": None}, "request") == FULL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enabld": True}, "request: unknown field 'enabld'; did you mean 'enabled'?"),
        ({"max_connections": 4}, "request: max_connections is a part of the policy: policy.limits.max_connections"),
        ({"id": "other"}, "request: id cannot be changed: add another app and remove this one"),
        ({"policy": {"limts": {}}}, "policy.limts is not known; did you mean 'limits'?"),
        ({"policy": {"limits": {"max_conections": 1}}}, "did you mean 'max_connections'?"),
        ({"policy": {"limits": {"max_connections": -1}}}, "= -1 is not a whole number of 0 or more"),
        ({"policy": {"limits": 5}}, "policy.limits is not an object"),
        ({"policy": 5}, "policy is not an object"),
        ({"policy": {"webhooks": [{"url": "https://a.test"}]}}, "policy.webhooks[0] has no event_types"),
        ({"key": "a/b"}, "key contains '/'"),
        ({"secret": ""}, "secret is empty"),
    ],
)
def test_what_a_record_cannot_hold_is_named(change: dict[str, Any], said: str) -> None:
    [problem] = problems(merged, FULL, change, "request")
    assert said in problem


# ---- new ones, new secrets ----


def test_a_new_app_gets_what_was_left_out() -> None:
    one, other = new_app({}, "request"), new_app({"id": None}, "request")
    assert one.enabled
    assert one.policy == Policy()
    assert len({one.id, one.key, one.secret, other.id, other.key, other.secret}) == 6
    flat = new_app({"id": "shop", "key": "k", "secret": "s", "enabled": False, "max_connections": 3}, "request")
    assert flat == App("shop", "k", "s", False, Policy(limits=Limits(max_connections=3)))


def test_an_empty_credential_is_not_left_out() -> None:
    assert problems(new_app, {"id": "", "secret": "s-shop"}, "request") == ("request: id is empty",)


def test_a_new_secret_has_24_random_bytes() -> None:
    one, other = rotated(PLAIN), rotated(PLAIN)
    assert len(bytes.fromhex(one.secret)) == 24
    assert len({one.secret, other.secret, PLAIN.secret}) == 3
    assert structs.replace(one, secret=PLAIN.secret) == PLAIN
    assert rotated(PLAIN, key=True).key != PLAIN.key


# ---- versions ----


def test_a_version_follows_the_record() -> None:
    versions = {
        version_of(PLAIN),
        version_of(rotated(PLAIN)),
        version_of(structs.replace(PLAIN, enabled=False)),
        version_of(structs.replace(PLAIN, key="other")),
        version_of(with_values(PLAIN, {"limits.max_connections": 1}, "here")),
    }
    assert len(versions) == 5
    assert version_of(PLAIN) == version_of(App("shop", "k-shop", "s-shop", True))
    assert "s-shop" not in version_of(PLAIN)
