"""Forms of the area Push: cancel, replay, remove, store a credential, send a test."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.dashboard.asked import Form, known_app, read_form
from sockudo.dashboard.replies import redirect
from sockudo.errors import SockudoError
from sockudo.push.access import Access
from sockudo.push.credentials import credential_from
from sockudo.push.dashboard import desk
from sockudo.push.dashboard.desk import PushArea
from sockudo.push.dashboard.pages import AREA, credentials_page, list_url, publish_url, trial_page
from sockudo.push.outcomes import cancel, replay
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.trial import trial_from, try_out

__all__ = ["acting_routes"]

_ADMIN: Final = Access(admin=True)
_FIELDS: Final = {
    "fcm": ("serviceAccountJson",),
    "apns": ("teamId", "keyId", "privateKey", "pem", "p12", "p12Password"),
    "webpush": ("publicKey", "privateKey"),
    "hms": ("hmsAppId", "clientSecret"),
    "wns": ("packageSid", "clientSecret"),
}
_TOKENS: Final = {
    "fcm": ("gcm", "registrationToken"),
    "apns": ("apns", "deviceToken"),
    "hms": ("hms", "registrationToken"),
    "wns": ("wns", "channelUri"),
}


def acting_routes(area: PushArea) -> list[Route]:
    """What is sent to them is a form; each leads on to a page with the result."""

    async def stop(request: Request) -> Response:
        app_id, publish_id = known_app(area.board, path_part(request, "app_id")).id, path_part(request, "publish_id")
        done = await cancel(desk.opened(area), app_id, publish_id)
        notice = "It is cancelled: nothing is sent any more." if done else "It could not be cancelled any more."
        return redirect(request, publish_url(app_id, publish_id), notice)

    async def again(request: Request) -> Response:
        sent = await read_form(request)
        app_id = known_app(area.board, sent.get("app_id")).id
        await replay(desk.opened(area), app_id, sent.get("id"))
        return redirect(request, list_url("dead-letters", app_id=app_id), "The dead letter is sent again.")

    async def remove(request: Request) -> Response:
        sent = await read_form(request)
        app_id, device_id = known_app(area.board, sent.get("app_id")).id, sent.get("id")
        await (await desk.directory(area)).devices.delete(_ADMIN, app_id, device_id)
        return redirect(request, list_url("devices", app_id=app_id), f"Device {device_id} is removed.")

    return [
        Route(f"{AREA}/{{app_id}}/publishes/{{publish_id}}/cancel", stop, methods=["POST"]),
        Route(f"{AREA}/dead-letters/replay", again, methods=["POST"]),
        Route(f"{AREA}/devices/remove", remove, methods=["POST"]),
        Route(f"{AREA}/credentials/store", partial(_store, area), methods=["POST"]),
        Route(f"{AREA}/test", partial(_test, area), methods=["POST"]),
    ]


async def _store(area: PushArea, request: Request) -> Response:
    sent = await read_form(request)
    app_id = known_app(area.board, sent.get("app_id")).id
    provider = desk.asked_provider(sent.get("provider"))
    name = ROUTE_NAMES[provider]
    fields = {field: sent.get(field) for field in _FIELDS[name] if sent.get(field).strip()}
    if sent.get("credentialId").strip():
        fields["credentialId"] = sent.get("credentialId").strip()
    try:
        wanted = credential_from(msgspec.json.encode(fields), provider)
        await (await desk.directory(area)).credentials.put(app_id, wanted)
    except SockudoError as error:
        return await credentials_page(area, request, app_id, error, name)
    notice = f"The credential {wanted.credential_id} is stored. It is used within seconds."
    return redirect(request, list_url("credentials", app_id=app_id), notice)


async def _test(area: PushArea, request: Request) -> Response:
    sent = await read_form(request)
    app_id = known_app(area.board, sent.get("app_id")).id
    given = {"provider": sent.get("provider"), "device_id": sent.get("device_id").strip()}
    try:
        trial = await try_out(desk.opened(area), app_id, trial_from(_trial_body(sent, given)))
    except SockudoError as error:
        return trial_page(area, request, app_id, given=given, error=error)
    return trial_page(area, request, app_id, given=given, result=trial.as_dict())


def _trial_body(sent: Form, given: dict[str, str]) -> bytes:
    body: dict[str, object] = {"provider": given["provider"]}
    body["payload"] = {"title": sent.get("title") or None, "body": sent.get("body") or None}
    token = sent.get("token").strip()
    if given["device_id"]:
        body["deviceId"] = given["device_id"]
    if token:
        body["recipient"] = _recipient(given["provider"], token)
    return msgspec.json.encode(body)


def _recipient(provider: str, token: str) -> dict[str, str]:
    if provider != "webpush":
        kind, field = _TOKENS.get(provider, ("gcm", "registrationToken"))
        return {"transportType": kind, field: token}
    try:
        given = msgspec.json.decode(token, type=dict[str, object])
        keys = msgspec.convert(given.get("keys", given), dict[str, object])
        found = {"endpoint": given["endpoint"], "p256dh": keys["p256dh"], "auth": keys["auth"]}
        return {"transportType": "web", **msgspec.convert(found, dict[str, str])}
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError):
        raise errors.INVALID_INPUT("The token of webpush is the JSON of a browser's subscription") from None
