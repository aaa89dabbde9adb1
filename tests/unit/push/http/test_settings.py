"""The routes of credentials and templates, and that nothing planted comes out anywhere (spec: push § 2.3 and 4)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog

from sockudo.push.secrecy import Envelopes
from support.edge import Response
from support.inside import live_app
from support.push_accounts import (
    apns_certificate,
    apns_key,
    apns_p12,
    keys_examined_once,
    service_account,
    vapid_key,
    vapid_public_key,
)
from unit.push.nodes import ENCRYPTION_KEY, PushNode, device_body

ACCOUNT = json.loads(service_account("https://oauth.test/token")) | {"note": "planted-key"}
BODIES: dict[str, dict[str, Any]] = {
    "fcm": {"serviceAccountJson": ACCOUNT},
    "apns": {"teamId": "TEAM", "keyId": "KEY", "privateKey": f"planted-key {apns_key()}"},
    "webpush": {"publicKey": vapid_public_key(), "privateKey": vapid_key()},
    "hms": {"hmsAppId": "100", "clientSecret": "planted-key"},
    "wns": {"packageSid": "ms-app://x", "clientSecret": "planted-key"},
}
TEMPLATE = {
    "templateId": "shipped",
    "defaultLocale": "en",
    "locales": {"en": {"title": "Shipped {{ data.no }}", "body": "b"}, "de": {"title": "Versandt", "body": "b"}},
}


@pytest.fixture(scope="module", autouse=True)
def _keys_examined_once() -> Iterator[None]:
    with keys_examined_once():
        yield


@pytest.fixture
def node() -> PushNode:
    return PushNode()


def refused(reply: Response, status: int, code: str, slug: str) -> str:
    text = reply.error
    assert (reply.status, reply.json()["code"]) == (status, code), text
    assert reply.json()["docs"] == f"errors.md#{slug}"
    return text


# ---- credentials ----


@pytest.mark.parametrize(
    ("route", "provider"),
    [("fcm", "fcm"), ("apns", "apns"), ("webpush", "webPush"), ("hms", "hms"), ("wns", "wns")],
)
async def test_a_credential_is_stored_under_its_route_and_never_shown(
    node: PushNode, route: str, provider: str
) -> None:
    reply = await node.ask("POST", f"/credentials/{route}", BODIES[route])
    shown = {"app_id": "app", "credential_id": route, "provider": provider, "version": 1}
    assert (reply.status, reply.json()) == (201, shown)
    assert (await node.ask("GET", "/credentials")).json() == {"items": [shown], "next_cursor": None, "has_more": False}
    stored = await node.store.credential("app", route)
    assert stored is not None
    assert b"planted" not in msgspec.json.encode(stored)
    sealed = [value for value in stored.material.values() if value.startswith("envelope:v1:aes256gcm:")]
    planted = "planted-key" if "planted-key" in str(BODIES[route]) else vapid_key()
    assert any(planted in Envelopes(ENCRYPTION_KEY).open(value) for value in sealed)
    notes = await node.store.operator_notes("app", "", 10)
    assert [note.subject for note in notes] == [f"credential:{route}:{route}:1"]
    material = await node.directory.credentials.material_for("app", provider)  # type: ignore[arg-type]
    assert material is not None
    assert set(material.fields) == set(BODIES[route])
    assert "planted" not in repr(material)


async def test_a_credential_with_an_id_and_a_version_in_the_other_spelling(node: PushNode) -> None:
    body = {"credential_id": "main", "version": 7, "service_account_json": json.dumps(ACCOUNT)}
    reply = await node.ask("POST", "/credentials/fcm", body)
    assert reply.json() == {"app_id": "app", "credential_id": "main", "provider": "fcm", "version": 7}
    material = await node.directory.credentials.material_for("app", "fcm")
    assert material is not None
    assert (material.credential_id, material.version) == ("main", 7)
    assert json.loads(material.fields["serviceAccountJson"]) == ACCOUNT


@pytest.mark.parametrize(
    "body",
    [
        {"p12": apns_p12()},
        {"p12": apns_p12(), "p12Password": ""},
        {"p12": re.sub("(.{76})", r"\1\n", apns_p12("x")), "p12_password": "x"},
        {"pem": apns_certificate()},
        {"teamId": "t", "keyId": "k", "privateKey": apns_key()},
        {"pem": apns_certificate(), "teamId": "t"},
    ],
)
async def test_every_form_of_apns(node: PushNode, body: dict[str, str]) -> None:
    assert (await node.ask("POST", "/credentials/apns", body)).status == 201


@pytest.mark.parametrize(
    ("route", "body", "status", "told"),
    [
        ("fcm", {}, 422, "Wrong shape of the JSON body: the required field 'serviceAccountJson' is missing"),
        ("fcm", {"serviceAccountJson": 5}, 422, "Wrong shape of the JSON body: field 'serviceAccountJson': expected "),
        ("fcm", {"serviceAccountJson": {}}, 400, "serviceAccountJson must be the JSON object of a service account's"),
        ("fcm", {"serviceAccountJson": "planted"}, 400, "serviceAccountJson must be the JSON object of a service"),
        ("fcm", {"serviceAccountJson": '["planted"]'}, 400, "serviceAccountJson must be the JSON object of a service"),
        ("fcm", {"serviceAccountJson": " "}, 400, "serviceAccountJson must not be empty"),
        ("fcm", {**BODIES["fcm"], "version": 0}, 400, "version must be 1 or more"),
        ("fcm", {**BODIES["fcm"], "credentialId": " "}, 400, "credentialId must not be empty"),
        ("apns", {}, 400, "apns credentials need p12, or pem, or all of teamId, keyId and privateKey"),
        ("apns", {"teamId": "t", "keyId": "k"}, 400, "apns credentials need p12, or pem, or all of teamId, keyId and"),
        ("apns", {"p12": "planted!"}, 400, "p12 is not base64 of a PKCS #12 file"),
        ("apns", {"p12": apns_p12("planted")}, 400, "p12 is protected by a passphrase: give it as p12Password"),
        ("apns", {**BODIES["apns"], "privateKey": "planted"}, 400, "privateKey holds no private key in PEM form"),
        (
            "webpush",
            {**BODIES["webpush"], "privateKey": "planted"},
            400,
            "privateKey is no P-256 private key of 32 bytes",
        ),
        ("apns", {"pem": ""}, 400, "pem must not be empty"),
        (
            "webpush",
            {"publicKey": "p"},
            422,
            "Wrong shape of the JSON body: the required field '",
        ),
        ("webpush", {"publicKey": "p", "privateKey": " "}, 400, "privateKey must not be empty"),
        ("hms", {"hmsAppId": "", "clientSecret": "planted"}, 400, "hmsAppId must not be empty"),
        ("wns", {"packageSid": "p", "clientSecret": ""}, 400, "clientSecret must not be empty"),
    ],
)
async def test_credentials_that_are_refused(
    node: PushNode, route: str, body: dict[str, Any], status: int, told: str
) -> None:
    reply = await node.ask("POST", f"/credentials/{route}", body)
    kept = "invalid_input" if "version" in told or "credentialId" in told else "credential_invalid"
    code = "credential_invalid" if kept == "credential_invalid" and status == 400 else "invalid_input"
    text = refused(reply, status, code, "wrong_shape" if status == 422 else kept)
    assert text.startswith(told)
    assert "planted" not in text
    assert await node.store.credentials("app", "", 10) == []


@pytest.mark.parametrize("route", ["realtime", "pigeon", "webPush", "FCM"])
async def test_providers_without_credentials(node: PushNode, route: str) -> None:
    told = refused(await node.ask("POST", f"/credentials/{route}", {}), 404, "not_found", "not_found")
    assert told == "There are no push credentials but of fcm, apns, webpush, hms, wns"


async def test_without_an_encryption_key_nothing_is_stored() -> None:
    node = PushNode(encryption_key=" ")
    reply = await node.ask("POST", "/credentials/webpush", BODIES["webpush"])
    told = refused(reply, 400, "invalid_input", "encryption_key_missing")
    assert told == "PUSH_CREDENTIAL_ENCRYPTION_KEY must be configured before storing push credentials"
    assert await node.store.credentials("app", "", 10) == []
    assert (await node.ask("GET", "/credentials")).json()["items"] == []


async def test_credentials_are_listed_by_id_each_once(node: PushNode) -> None:
    for name in ("b", "a-1", "a-11", "a", "é"):
        await node.ask("POST", "/credentials/webpush", {**BODIES["webpush"], "credentialId": name})
    assert [row["credential_id"] for row in await node.walk("/credentials")] == ["a", "a-1", "a-11", "b", "é"]


# ---- templates ----


async def test_a_template_comes_back_as_it_was_sent(node: PushNode) -> None:
    whole = {"appId": "app", **TEMPLATE, "providerOverrides": {}}
    reply = await node.ask("POST", "/templates", {"appId": "another", **TEMPLATE})
    assert (reply.status, reply.json()) == (201, whole)
    one = await node.ask("GET", "/templates/shipped")
    assert (one.status, one.json()) == (200, whole)
    changed = {**TEMPLATE, "providerOverrides": {"webpush": {"payload": {"headers": {"ttl": 5}}}}}
    reply = await node.ask("POST", "/templates", changed)
    assert reply.json()["providerOverrides"] == {"webPush": {"provider": "webPush", "payload": {"headers": {"ttl": 5}}}}
    assert await node.walk("/templates") == [reply.json()]


async def test_a_template_that_is_not_there(node: PushNode) -> None:
    told = refused(await node.ask("GET", "/templates/nope"), 404, "template_not_found", "template_not_found")
    assert told == "template not found"
    for _ in range(2):
        gone = await node.ask("DELETE", "/templates/nope")
        assert (gone.status, gone.body) == (204, b"")
    await node.ask("POST", "/templates", TEMPLATE)
    refused(
        await node.ask("GET", "/templates/shipped", app=live_app("other")), 404, "template_not_found",
        "template_not_found",
    )  # fmt: skip
    await node.ask("DELETE", "/templates/shipped")
    refused(await node.ask("GET", "/templates/shipped"), 404, "template_not_found", "template_not_found")


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"defaultLocale": "fr"}, 400, "defaultLocale must be a key of locales"),
        ({"locales": {"en": {"title": " ", "body": "b"}}}, 400, "locales.en.title must not be empty"),
        (
            {"locales": {"en": {"title": "t"}}},
            422,
            "Wrong shape of the JSON body: field 'locales[...]': the required field 'body' is missing",
        ),
        ({"locales": []}, 422, "Wrong shape of the JSON body: field 'locales': expected object, got array"),
        (
            {"providerOverrides": {"apns": {"provider": "fcm", "payload": {}}}},
            400,
            "providerOverrides.fcm is under the key of another provider",
        ),
        (
            {"providerOverrides": {"apns": {"payload": {"headers": {"apns-push-type": "x"}}}}},
            400,
            "invalid apns override: ",
        ),
        ({"templateId": ""}, 400, "templateId must not be empty"),
    ],
)
async def test_templates_that_are_refused(node: PushNode, change: dict[str, Any], status: int, told: str) -> None:
    reply = await node.ask("POST", "/templates", {**TEMPLATE, **change})
    text = refused(reply, status, "invalid_input", "wrong_shape" if status == 422 else "invalid_input")
    assert text.startswith(told)
    assert await node.store.templates("app", "", 10) == []


async def test_templates_are_listed_by_id_each_once(node: PushNode) -> None:
    for name in ("b", "a/1", "a", "aa"):
        await node.ask("POST", "/templates", {**TEMPLATE, "templateId": name})
    assert [row["templateId"] for row in await node.walk("/templates")] == ["a", "a/1", "aa", "b"]


# ---- secrets ----


async def test_nothing_planted_is_in_any_answer_or_log(capsys: pytest.CaptureFixture[str]) -> None:
    node = PushNode(allow_local=True)
    answers: list[bytes] = []

    async def ask(*parts: Any, **options: Any) -> Response:
        reply = await node.ask(*parts, **options)
        answers.append(reply.body)
        return reply

    endpoint = "https://push.test/planted-endpoint?planted=1"
    recipients = [
        {"transportType": "gcm", "registrationToken": "planted-token"},
        {"transportType": "web", "endpoint": endpoint, "p256dh": "planted-p256dh", "auth": "planted-auth"},
        {"transportType": "wns", "channelUri": "https://wns.test/planted"},
        {"transportType": "apns", "deviceToken": "planted-token"},
        {"transportType": "web", "endpoint": "planted-no-url", "p256dh": "planted", "auth": "planted"},
        {"transportType": "gcm", "registrationToken": "planted" * 1000},
        {"transportType": "planted", "registrationToken": "planted"},
        {"transportType": "gcm", "deviceToken": "planted"},
        {"transportType": "gcm", "registrationToken": ["planted"]},
    ]
    with structlog.testing.capture_logs() as logs:
        for number, recipient in enumerate(recipients):
            push = {"recipient": recipient, "errorReason": "planted-token of a device"}
            body = device_body(f"d{number}", push=push, deviceSecret="planted", metadata={"planted": 1})
            reply = await ask("POST", "/deviceRegistrations", body)
            assert reply.status in (201, 400, 422)
        headers = {"X-Sockudo-Device-Identity-Token": "planted-identity"}
        await ask("GET", "/deviceRegistrations/d0", device="planted-identity")
        await ask("GET", "/deviceRegistrations", headers=headers)
        await ask("DELETE", "/deviceRegistrations", clientId="u-91")
        for route, fields in BODIES.items():
            assert (await ask("POST", f"/credentials/{route}", fields)).status == 201
            await ask("POST", f"/credentials/{route}", {"serviceAccountJson": "planted", "p12": "planted!"})
            await ask("POST", f"/credentials/{route}", b'{"serviceAccountJson": "planted", "planted')
        await ask("GET", "/credentials")
        await ask("POST", "/templates", {**TEMPLATE, "providerOverrides": {"apns": {"payload": ["planted"]}}})
        await ask("GET", "/templates", cursor="planted")
    output = capsys.readouterr()
    for text in (*(answer.decode() for answer in answers), repr(logs), output.out, output.err):
        assert "planted" not in text, text
    assert [line["action"] for line in logs if line.get("event") == "push audit"] == [
        "removeWhere", *["credentialWrite"] * 5,
    ]  # fmt: skip
