"""What a connection may do: grants of tokens, grants of sign-ins, and what goes without (spec: websocket § 14.2)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.auth.capabilities import NO_CAPABILITIES, Capabilities, CapabilityError, Operation, check
from sockudo.errors import SockudoError

BASE = (Operation.SUBSCRIBE, Operation.PUBLISH, Operation.HISTORY, Operation.PRESENCE)
OTHERS = tuple(operation for operation in Operation if operation not in BASE)


def patterns(*patterns: str) -> Capabilities:
    return Capabilities.from_token({pattern: ["subscribe"] for pattern in patterns})


@pytest.mark.parametrize(
    ("pattern", "channel", "matches"),
    [
        ("room-1", "room-1", True),
        ("room-1", "room-12", False),
        ("room-1", "Room-1", False),
        ("*", "anything", True),
        ("*", "private-anything", True),
        ("room-*", "room-1", True),
        ("room-*", "room-", True),
        ("room-*", "a-room-1", False),
        ("*-log", "app-log", True),
        ("*-log", "app-log-2", False),
        ("a*z", "abcz", True),
        ("a*z", "az", True),
        ("a*z", "a", False),
        # The one character in between cannot be both.
        ("a*a", "a", False),
        ("aa*aa", "aaa", False),
        ("aa*aa", "aaaa", True),
        # Nothing but the star means anything.
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("[ab]", "a", False),
    ],
)
def test_patterns(pattern: str, channel: str, matches: bool) -> None:
    assert patterns(pattern).allows(Operation.SUBSCRIBE, channel) is matches


def test_any_of_several_patterns_is_enough() -> None:
    granted = patterns("a", "b-*", "*-c")
    allowed = ["a", "b-1", "x-c"]
    assert [name for name in (*allowed, "b", "c", "ab") if granted.allows(Operation.SUBSCRIBE, name)] == allowed


def test_a_wildcard_subscription_is_taken_as_text() -> None:
    granted = patterns("room-*")
    assert granted.allows(Operation.SUBSCRIBE, "room-*")
    assert granted.allows(Operation.SUBSCRIBE, "room-1-*")
    assert not granted.allows(Operation.SUBSCRIBE, "roo*")
    assert not granted.allows(Operation.SUBSCRIBE, "*")
    assert patterns("*").allows(Operation.SUBSCRIBE, "*")


NAMES = st.text(alphabet="ab-", max_size=5)


@given(NAMES, NAMES, NAMES, NAMES, NAMES)
def test_whoever_may_subscribe_to_a_wildcard_may_subscribe_to_all_it_matches(
    granted_prefix: str, granted_suffix: str, prefix: str, middle: str, suffix: str
) -> None:
    granted = patterns(f"{granted_prefix}*{granted_suffix}")
    if granted.allows(Operation.SUBSCRIBE, f"{prefix}*{suffix}"):
        assert granted.allows(Operation.SUBSCRIBE, prefix + middle + suffix)


# ---- tokens ----


def test_a_token_denies_what_it_does_not_grant() -> None:
    granted = Capabilities.from_token({"room-*": ["subscribe", "history"], "chat": ["publish"]})
    assert granted.allows(Operation.SUBSCRIBE, "room-1")
    assert granted.allows(Operation.HISTORY, "room-1")
    assert not granted.allows(Operation.PUBLISH, "room-1")
    assert not granted.allows(Operation.PRESENCE, "room-1")
    assert granted.allows(Operation.PUBLISH, "chat")
    assert not granted.allows(Operation.SUBSCRIBE, "chat")


@pytest.mark.parametrize("claim", [{}, {"*": []}])
def test_a_token_may_grant_nothing(claim: dict[str, Any]) -> None:
    granted = Capabilities.from_token(claim)
    assert not any(granted.allows(operation, "room") for operation in Operation)


@pytest.mark.parametrize("operation", list(Operation))
def test_every_operation_has_two_spellings_in_tokens(operation: Operation) -> None:
    for name in (operation.value, operation.value.replace("_", "-")):
        granted = Capabilities.from_token({"room": [name]})
        assert [found for found in Operation if granted.allows(found, "room")] == [operation]


def test_the_operations_of_the_specification() -> None:
    assert [operation.hyphenated for operation in Operation] == [
        "subscribe", "publish", "history", "presence",
        "annotation-subscribe", "annotation-publish", "annotation-delete-own", "annotation-delete-any",
        "message-update-own", "message-update-any", "message-delete-own", "message-delete-any",
        "message-append-own", "message-append-any", "push-admin", "push-subscribe",
    ]  # fmt: skip


MAP = "x-sockudo-capability must map channel patterns to operations"
STARS = "capability patterns must not have more than one '*'"
UNKNOWN = "unsupported capability operation"


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ([], "x-sockudo-capability must be a JSON object or object string"),
        (5, "x-sockudo-capability must be a JSON object or object string"),
        (None, "x-sockudo-capability must be a JSON object or object string"),
        ({"a": "subscribe"}, MAP),
        ({"a": None}, MAP),
        ({"a": {"subscribe": True}}, MAP),
        ({"a": [5]}, MAP),
        ({"a": [["subscribe"]]}, MAP),
        ({"": ["subscribe"]}, "capability patterns must not be empty"),
        ({"a*b*c": ["subscribe"]}, STARS),
        ({"**": []}, STARS),
        ({f"p{number}": [] for number in range(101)}, "x-sockudo-capability exceeds 100 patterns"),
        ({"a": ["fly"]}, f"{UNKNOWN} 'fly'"),
        ({"a": ["subscribe", "Subscribe"]}, UNKNOWN),
        ({"a": ["message-update_own"]}, f"{UNKNOWN} 'message-update_own'"),
        ({"a": ["*"]}, UNKNOWN),
        ({"a": [""]}, UNKNOWN),
        ({"a": ["eyJhbGciOiJIUzI1NiJ9"]}, UNKNOWN),
        ({"a": ["x" * 41]}, UNKNOWN),
    ],
)
def test_a_claim_that_cannot_be_read(claim: object, text: str) -> None:
    with pytest.raises(CapabilityError) as caught:
        Capabilities.from_token(claim)
    assert str(caught.value) == text


def test_a_hundred_patterns_are_allowed() -> None:
    assert patterns(*(f"p{number}" for number in range(100))).allows(Operation.SUBSCRIBE, "p99")


# ---- sign-ins ----


def test_a_sign_in_limits_only_what_it_names() -> None:
    granted = Capabilities.from_user_data({"subscribe": ["only-*"], "presence": []})
    assert granted.allows(Operation.SUBSCRIBE, "only-1")
    assert not granted.allows(Operation.SUBSCRIBE, "other")
    assert not granted.allows(Operation.PRESENCE, "presence-a")
    assert granted.allows(Operation.PUBLISH, "other")
    assert granted.allows(Operation.HISTORY, "other")


@pytest.mark.parametrize("operation", OTHERS)
def test_annotations_mutations_and_push_need_a_grant(operation: Operation) -> None:
    assert not Capabilities.from_user_data({}).allows(operation, "room")
    assert not NO_CAPABILITIES.allows(operation, "room")
    assert Capabilities.from_user_data({operation.value: ["room"]}).allows(operation, "room")


@pytest.mark.parametrize("operation", BASE)
def test_without_capabilities_the_base_operations_are_allowed(operation: Operation) -> None:
    assert NO_CAPABILITIES.allows(operation, "anything")
    assert Capabilities.from_user_data({}).allows(operation, "anything")


@pytest.mark.parametrize(
    "value", [None, {}, {"zzz": ["a"]}, {"zzz": 5}, {"subscribe": None}, {"message-update-own": ["a"]}]
)
def test_absent_null_and_unknown_fields_grant_nothing_and_limit_nothing(value: object) -> None:
    assert Capabilities.from_user_data(value) == NO_CAPABILITIES


def test_a_pattern_with_several_stars_matches_nothing_in_a_sign_in() -> None:
    granted = Capabilities.from_user_data({"subscribe": ["a*b*c", ""]})
    for channel in ("axbyc", "a*b*c", "abc", ""):
        assert granted.allows(Operation.SUBSCRIBE, channel) is (channel == "")


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (5, "they must be an object"),
        ([], "they must be an object"),
        ("{}", "they must be an object"),
        ({"subscribe": "a"}, "'subscribe' must be an array of strings"),
        ({"subscribe": ["a", 5]}, "'subscribe' must be an array of strings"),
        ({"push_admin": {}}, "'push_admin' must be an array of strings"),
    ],
)
def test_a_wrong_type_refuses_the_sign_in(value: object, detail: str) -> None:
    with pytest.raises(SockudoError) as caught:
        Capabilities.from_user_data(value)
    assert caught.value.spec is errors.CAPABILITIES_INVALID
    assert caught.value.text == f"Authentication error: Invalid capabilities in user_data: {detail}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Operation, "x*", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_value_is_read_or_refused(value: object) -> None:
    with contextlib.suppress(SockudoError):
        Capabilities.from_user_data(value).allows(Operation.SUBSCRIBE, "a")
    with contextlib.suppress(CapabilityError):
        Capabilities.from_token(value).allows(Operation.SUBSCRIBE, "a")


# ---- refusals ----


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        (Operation.SUBSCRIBE, "subscribe"),
        (Operation.PRESENCE, "presence"),
        (Operation.HISTORY, "history"),
        (Operation.PUBLISH, "publish"),
        (Operation.ANNOTATION_SUBSCRIBE, "receive raw annotations for"),
        (Operation.MESSAGE_UPDATE_OWN, "message-update-own"),
    ],
)
def test_a_denied_operation_is_named(operation: Operation, action: str) -> None:
    with pytest.raises(SockudoError) as caught:
        check(Capabilities.from_token({}), operation, "rw-1")
    assert caught.value.spec is errors.CAPABILITY_DENIED
    assert caught.value.text == f"Authentication error: Connection is not allowed to {action} channel 'rw-1'"


def test_an_allowed_operation_passes() -> None:
    check(patterns("rw-*"), Operation.SUBSCRIBE, "rw-1")


def test_capabilities_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        NO_CAPABILITIES._base_allowed = False  # type: ignore[misc]
