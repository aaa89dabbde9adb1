"""Templates: which language is taken, and who wins field by field (spec: push § 4)."""

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
from sockudo.push.records import Localized, Override, Payload, Template
from sockudo.push.rendering import (
    LIMITS,
    MOST_TEXT_BYTES,
    Rendering,
    filled,
    localized,
    merged,
    render,
    render_all,
    substituted,
)

LOCALES = {name: Localized(title=name, body="b") for name in ("en", "de", "de-AT", "zh-Hant", "zh-Hant-TW-x", "pt_BR")}

DATA: dict[str, Any] = {
    "name": "Ana",
    "no": 8841,
    "price": 2.5,
    "new": True,
    "none": None,
    "list": [1],
    "parcel": {"no": 7, "a": {"b": {"c": "deep", "d": {"e": "deeper"}}}},
    "": "empty",
}

FULL = Payload(
    title="Hi {{ data.who }}",
    body="b",
    icon="https://x.test/i.png",
    sound="ding",
    collapse_key="k-{{ data.no }}",
    template_data={"who": "Ana", "no": 7},
)
DATA_RENDERING = {"who": "Ana", "no": 7}
NOTE = {"title": "Hi Ana", "body": "b", "image": "https://x.test/i.png"}
EXPECTED: dict[Provider, Any] = {
    "fcm": {
        "message": {
            "notification": NOTE,
            "data": DATA_RENDERING,
            "android": {"collapse_key": "k-7", "notification": {"icon": "https://x.test/i.png", "sound": "ding"}},
        }
    },
    "apns": {
        "headers": {"apns-push-type": "alert", "apns-priority": "10", "apns-collapse-id": "k-7"},
        "aps": {"alert": {"title": "Hi Ana", "body": "b"}, "sound": "ding"},
        "data": DATA_RENDERING,
    },
    "webPush": {
        "headers": {"ttl": 2419200, "urgency": "normal", "topic": "k-7"},
        "notification": NOTE,
        "data": DATA_RENDERING,
    },
    "hms": {
        "message": {
            "notification": NOTE,
            "data": DATA_RENDERING,
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
        "data": DATA_RENDERING,
    },
    "realtime": {"notification": NOTE, "data": DATA_RENDERING},
}


def a_template(**fields: Any) -> Template:
    return Template(app_id="app", template_id="shipped", **{"default_locale": "en", "locales": LOCALES, **fields})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("de", "de"),
        ("de-AT", "de-AT"),
        ("de_AT", "de-AT"),
        ("de-CH", "de"),
        ("de-AT-1996", "de-AT"),
        ("zh_Hant_TW", "zh-Hant"),
        # The exact key comes before any other spelling.
        ("pt_BR", "pt_BR"),
        ("pt-BR", "en"),
        ("fr", "en"),
        ("DE", "en"),
        ("-", "en"),
        ("", "en"),
        ("  ", "en"),
        (None, "en"),
        (7, "en"),
        (["de"], "en"),
    ],
)
def test_the_nearest_language(asked: Any, found: str) -> None:
    payload = Payload(template_id="shipped", template_data={"locale": asked})
    assert localized(a_template(), payload).title == found


def test_without_data_it_is_the_default() -> None:
    assert localized(a_template(default_locale="de"), Payload()).title == "de"


def test_the_request_wins_field_by_field() -> None:
    texts = Localized(title="T", body="B {{ data.no }}", icon="https://x.test/i", sound="ding", collapse_key="k")
    template = a_template(locales={"en": texts})
    payload, _ = merged(Payload(title="mine", sound="", template_id="shipped"), [], template)
    assert payload == Payload(
        title="mine",
        body="B {{ data.no }}",
        icon="https://x.test/i",
        sound="",
        collapse_key="k",
        template_id="shipped",
    )


def test_overrides_are_replaced_by_provider() -> None:
    own = Override(provider="apns", payload={"aps": {"alert": "request"}})
    kept = {
        "apns": Override(provider="apns", payload={"aps": {"alert": "template"}}),
        "webpush": Override(provider="webPush", payload={"notification": {}}),
    }
    _, overrides = merged(Payload(template_id="shipped"), [own], a_template(provider_overrides=kept))
    assert overrides == [kept["webpush"], own]


def test_an_override_under_another_providers_key_is_refused() -> None:
    kept = {"fcm": Override(provider="apns", payload={})}
    with pytest.raises(SockudoError) as caught:
        merged(Payload(template_id="shipped"), [], a_template(provider_overrides=kept))
    assert caught.value.spec is errors.INVALID_INPUT
    assert caught.value.text == ("push template shipped keeps an override for apns under the key of another provider")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("no placeholder", "no placeholder"),
        ("", ""),
        ("Hi {{ data.name }}!", "Hi Ana!"),
        ("{{data.name}}{{  data.no  }}", "Ana8841"),
        ("{{ data.price }} {{ data.new }}", "2.5 true"),
        ("[{{ data.none }}]", "[]"),
        ("{{ data.parcel.no }}", "7"),
        ("{{ data.parcel.a.b.c }}", "deep"),
        ("a } b { c }} d", "a } b { c }} d"),
    ],
)
def test_values_are_put_in(text: str, made: str) -> None:
    assert substituted(text, DATA, "title") == made


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert substituted("{{ data.a }}", {"a": "{{ data.b }}"}, "title") == "{{ data.b }}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ data.nobody }}", "placeholder key is missing (title: data.nobody)"),
        ("{{ data.parcel.no.more }}", "placeholder key is missing (title: data.parcel.no.more)"),
        ("{{ data..no }}", "placeholder key is missing (title: data..no)"),
        ("{{ data.list }}", "placeholder value must be scalar (title: data.list)"),
        ("{{ data.parcel }}", "placeholder value must be scalar (title: data.parcel)"),
        ("{{ name }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data. }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.na-me }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.näme }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.parcel.a.b.d.e }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{}}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.name", "unterminated placeholder (title)"),
        ("{{ data.name }", "unterminated placeholder (title)"),
        ("{{ {{ data.name }}", "unterminated placeholder (title)"),
    ],
)
def test_refusals_name_field_and_key(text: str, reason: str) -> None:
    with pytest.raises(SockudoError) as caught:
        substituted(text, DATA, "title")
    assert caught.value.spec is errors.INVALID_INPUT
    assert caught.value.text == f"invalid template substitution: {reason}"


@pytest.mark.parametrize("data", [None, {}])
def test_without_data_every_key_is_missing(data: dict[str, Any] | None) -> None:
    with pytest.raises(SockudoError, match="placeholder key is missing"):
        substituted("{{ data.a }}", data, "body")


def test_a_text_may_grow_to_its_bound_in_bytes_and_no_further() -> None:
    data = {"a": "é" * (MOST_TEXT_BYTES // 2)}
    assert len(substituted("{{ data.a }}", data, "body").encode()) == MOST_TEXT_BYTES
    with pytest.raises(SockudoError, match=r"rendered output is too large \(over 4096 bytes\) \(body\)"):
        substituted("{{ data.a }}.", data, "body")
    with pytest.raises(SockudoError, match="rendered output is too large"):
        substituted("{{ data.a }}" * 1000, {"a": "x" * 4000}, "body")


_words = st.sampled_from(["{{", "}}", "{", "}", " ", "data.", "data.a", "data.b.c", ".", "é", "x" * 50, "\0"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(_words, max_size=40).map("".join), st.dictionaries(st.sampled_from(["a", "b"]), _values, max_size=2))
def test_any_text_is_within_its_bound_or_refused(text: str, data: dict[str, Any]) -> None:
    made: str | SockudoError
    try:
        made = substituted(text, data, "title")
    except SockudoError as problem:
        made = problem
    if isinstance(made, SockudoError):
        assert made.spec is errors.INVALID_INPUT
        assert made.text.startswith("invalid template substitution: ")
    else:
        assert len(made.encode()) <= MOST_TEXT_BYTES


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
