"""Six shapes of one notification, each within its provider's bound or refused (spec: push § 4)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.recipients import PROVIDERS, Provider
from sockudo.push.records import Override, Payload
from sockudo.push.rendering import LIMITS, Rendering, filled, render, render_all

FULL = Payload(
    title="Hi {{ data.who }}",
    body="b",
    icon="https://x.test/i.png",
    sound="ding",
    collapse_key="k-{{ data.no }}",
    template_data={"who": "Ana", "no": 7},
)
DATA = {"who": "Ana", "no": 7}
NOTE = {"title": "Hi Ana", "body": "b", "image": "https://x.test/i.png"}
EXPECTED: dict[Provider, Any] = {
    "fcm": {
        "message": {
            "notification": NOTE,
            "data": DATA,
            "android": {"collapse_key": "k-7", "notification": {"icon": "https://x.test/i.png", "sound": "ding"}},
        }
    },
    "apns": {
        "headers": {"apns-push-type": "alert", "apns-priority": "10", "apns-collapse-id": "k-7"},
        "aps": {"alert": {"title": "Hi Ana", "body": "b"}, "sound": "ding"},
        "data": DATA,
    },
    "webPush": {
        "headers": {"ttl": 2419200, "urgency": "normal", "topic": "k-7"},
        "notification": NOTE,
        "data": DATA,
    },
    "hms": {
        "message": {
            "notification": NOTE,
            "data": DATA,
            "android": {"collapse_key": "k-7", "notification": {"click_action": {"type": 3}, "sound": "ding"}},
        }
    },
    "wns": {
        "type": "toast",
        "toast": {
            "visual": {
                "binding": {"template": "ToastGeneric", "text": ["Hi Ana", "b"], "image": "https://x.test/i.png"}
            },
            "audio": {"src": "ding"},
        },
        "data": DATA,
    },
    "realtime": {"notification": NOTE, "data": DATA},
}


def shown(payload: Payload, *overrides: Override) -> dict[str, Any]:
    return {made.provider: json.loads(made.body) for made in render_all(payload, overrides)}


def test_each_shape_in_the_specified_order() -> None:
    assert shown(FULL) == EXPECTED
    assert [made.provider for made in render_all(FULL, [])] == list(PROVIDERS)
    assert not any(made.used_override for made in render_all(FULL, []))


def test_what_is_not_set_is_null() -> None:
    made = shown(Payload())
    assert made["fcm"] == {
        "message": {
            "notification": {"title": None, "body": None, "image": None},
            "data": None,
            "android": {"collapse_key": None, "notification": {"icon": None, "sound": None}},
        }
    }
    assert made["apns"]["headers"]["apns-collapse-id"] is None
    assert made["webPush"]["headers"]["topic"] is None
    assert made["wns"]["toast"]["visual"]["binding"]["text"] == [None, None]


def test_an_override_replaces_everything_and_is_not_substituted() -> None:
    own = Override(provider="apns", payload={"aps": {"alert": "{{ data.nobody }}"}})
    made = {each.provider: each for each in render_all(FULL, [own])}
    assert json.loads(made["apns"].body) == {"aps": {"alert": "{{ data.nobody }}"}}
    assert [provider for provider, each in made.items() if each.used_override] == ["apns"]


def test_of_two_overrides_the_last_counts_wherever_it_is_rendered() -> None:
    two = [Override(provider="fcm", payload={"n": number}) for number in (1, 2)]
    assert json.loads(render_all(FULL, two)[0].body) == {"n": 2}
    assert json.loads(render("fcm", FULL, two).body) == {"n": 2}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_alone_is_rendered_the_same(provider: Provider) -> None:
    everything = {made.provider: made for made in render_all(FULL, [])}
    assert render(provider, FULL, []) == everything[provider]


def test_placeholders_are_looked_for_in_all_five_fields() -> None:
    texts = ("title", "body", "icon", "sound", "collapse_key")
    payload = Payload(**dict.fromkeys(texts, "{{ data.x }}"), template_data={"x": "y"})
    assert all(getattr(filled(payload), name) == "y" for name in texts)
    with pytest.raises(SockudoError, match=r"placeholder key is missing \(collapseKey: data.z\)"):
        filled(Payload(collapse_key="{{ data.z }}"))


def payload_with(size: int) -> dict[str, Any]:
    """An override of so many bytes of compact JSON."""
    return {"x": "y" * (size - 8)}


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "apns"])
def test_bounds_are_exact_and_named(provider: Provider) -> None:
    limit = LIMITS[provider]
    assert len(render(provider, FULL, [Override(provider=provider, payload=payload_with(limit))]).body) == limit
    with pytest.raises(SockudoError) as caught:
        render(provider, FULL, [Override(provider=provider, payload=payload_with(limit + 1))])
    assert caught.value.spec is errors.PUSH_PAYLOAD_TOO_LARGE
    assert caught.value.spec.status == 413
    assert caught.value.text == f"{provider} payload exceeds {limit} bytes: it has {limit + 1}"


def test_of_apns_only_what_becomes_the_body_counts() -> None:
    own = {"headers": {"apns-topic": "t" * 3000}, "aps": {"alert": "a" * 2000}}
    assert len(render("apns", FULL, [Override(provider="apns", payload=own)]).body) > 4096
    size = len(msgspec.json.encode({"aps": {"alert": ""}, "data": None}))
    exact = {"headers": {"apns-topic": "t"}, "aps": {"alert": "a" * (4096 - size)}}
    render("apns", FULL, [Override(provider="apns", payload=exact)])
    over = {**exact, "aps": {"alert": "a" * (4097 - size)}}
    with pytest.raises(SockudoError, match="apns payload exceeds 4096 bytes: it has 4097"):
        render("apns", FULL, [Override(provider="apns", payload=over)])
    # Without aps the payload is sent as it is.
    with pytest.raises(SockudoError, match="apns payload exceeds 4096 bytes: it has 4097"):
        render("apns", FULL, [Override(provider="apns", payload=payload_with(4097))])


def test_the_first_that_is_too_large_is_named_whatever_the_audience() -> None:
    with pytest.raises(SockudoError, match=r"^fcm payload exceeds 4096 bytes: it has 4"):
        render_all(Payload(template_data={"x": "y" * 4190}), [])


_texts = st.none() | st.text(max_size=1500) | st.sampled_from(["{{ data.a }}", "{{ data.b }}", "x {{", "\x00", '"'])
_payloads = st.builds(
    Payload,
    title=_texts,
    body=_texts,
    icon=_texts,
    sound=_texts,
    collapse_key=_texts,
    template_data=st.none() | st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(max_size=3000), max_size=3),
)


@given(_payloads)
def test_previews_are_within_their_bounds_or_refused(payload: Payload) -> None:
    made: list[Rendering] = []
    refusal: ErrorSpec | None = None
    try:
        made = render_all(payload, [])
    except SockudoError as problem:
        refusal = problem.spec
    if refusal is not None:
        assert refusal in (errors.INVALID_INPUT, errors.PUSH_PAYLOAD_TOO_LARGE)
        return
    assert [each.provider for each in made] == list(PROVIDERS)
    for each in made:
        content = json.loads(each.body)
        measured = {"aps": content["aps"], "data": content["data"]} if each.provider == "apns" else content
        assert len(msgspec.json.encode(measured)) <= LIMITS[each.provider]
