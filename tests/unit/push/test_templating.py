"""Templates: which language is taken, and who wins field by field (spec: push § 4)."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.records import Localized, Override, Payload, Template
from sockudo.push.templating import localized, merged

LOCALES = {name: Localized(title=name, body="b") for name in ("en", "de", "de-AT", "zh-Hant", "zh-Hant-TW-x", "pt_BR")}


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
