"""Firebase Cloud Messaging, HTTP v1 (spec: push § 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from sockudo.config.sections.push_providers import PushFcm
from sockudo.outbound.ports import Reply
from sockudo.push.delivery import Material, Materials, Sent
from sockudo.push.providers.accounts import (
    AccountError,
    Own,
    RenewedToken,
    SharedCredential,
    StaticToken,
    Token,
    access_token,
    checked_endpoint,
    given,
    text_of,
)
from sockudo.push.providers.answers import accepted, json_of, refused
from sockudo.push.providers.base import (
    JSON_HEADERS,
    HttpProvider,
    Outgoing,
    Shapes,
    Surroundings,
    TokenAccount,
    encode,
    message_shape,
)
from sockudo.push.providers.keys import Signer, rsa_signer

__all__ = ["FcmProvider", "ServiceAccount", "account_signer", "fcm_meaning", "service_account"]

_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LASTS: Final = 3600
_KINDS: Final[Mapping[int, str]] = {
    401: "auth_failure",
    403: "auth_failure",
    429: "quota",
    **dict.fromkeys((500, 502, 503, 504), "unavailable"),
}
_MISSING: Final = (
    "set FCM_SERVICE_ACCOUNT_JSON, FCM_SERVICE_ACCOUNT_JSON_PATH, GOOGLE_APPLICATION_CREDENTIALS, or "
    "FCM_PROVIDER_TOKEN with FCM_PROJECT_ID, or store a credential: POST /apps/{appId}/push/credentials/fcm"
)


class ServiceAccount(msgspec.Struct):
    """What is needed of a key file."""

    client_email: str
    private_key: str
    project_id: str | None = None
    private_key_id: str | None = None
    token_uri: str | None = None


class FcmProvider(HttpProvider[PushFcm, TokenAccount]):
    """A `PushProvider` for FCM."""

    provider = "fcm"

    def __init__(self, settings: PushFcm, materials: Materials, around: Surroundings) -> None:
        super().__init__(settings, materials, around, SharedCredential.of(settings.app_id, settings.credential_id))
        self._shapes = Shapes(lambda payload: message_shape(payload, _with_texts, b"", b"}}"))

    async def _send(self, account: TokenAccount, outgoing: Outgoing) -> Sent:
        shape = self._shapes.of(outgoing.payload)
        body = shape.before + encode(outgoing.recipient.token) + shape.after

        def meaning(reply: Reply) -> Sent:
            return fcm_meaning(reply, outgoing.recipient.token, self._around.time(), account.project)

        return await self._with_bearer(account, account.url, outgoing.deadline, JSON_HEADERS, body, meaning)

    def _account(self, material: Material, theirs: bool) -> TokenAccount:
        fields, ours = material.fields, given(self._settings.project_id)
        static = fields.get("providerToken")
        if static is not None:
            return TokenAccount(StaticToken(static), self._url(ours), ours or "")
        account = service_account(fields.get("serviceAccountJson", ""))
        project = account.project_id or ours if theirs else ours or account.project_id
        return TokenAccount(
            RenewedToken(self._fetching(account), self._around.monotonic), self._url(project), project or ""
        )

    def _own(self) -> Own:
        text, source = given(self._settings.service_account_json), "FCM_SERVICE_ACCOUNT_JSON"
        path, token = given(self._settings.service_account_json_path), given(self._settings.provider_token)
        if text is None and path is not None:
            source = "FCM_SERVICE_ACCOUNT_JSON_PATH"
            text = text_of(path, f"{source} or GOOGLE_APPLICATION_CREDENTIALS")
        if text is not None:
            return Own(source, Material("process", 0, {"serviceAccountJson": text}))
        if token is not None:
            return Own("FCM_PROVIDER_TOKEN", Material("process", 0, {"providerToken": token}))
        raise AccountError(_MISSING)

    def _url(self, project: str | None) -> str:
        if not project:
            raise AccountError("there is no project id: set FCM_PROJECT_ID")
        base = checked_endpoint(self._settings.endpoint, "FCM_ENDPOINT", self._around.http)
        return f"{base}/v1/projects/{quote(project, safe='')}/messages:send"

    def _fetching(self, account: ServiceAccount) -> Callable[[], Any]:
        signer = account_signer(account)
        url = account.token_uri or _TOKEN_URI

        async def fetch() -> Token:
            now = self._around.time()
            claims = {"iss": account.client_email, "scope": _SCOPE, "aud": url, "iat": int(now)}
            form = {"grant_type": _GRANT, "assertion": signer.token({**claims, "exp": int(now) + _LASTS})}
            return await access_token(self._around.http, url, form, now)

        return fetch


def fcm_meaning(reply: Reply, token: str, now: float, project: str = "") -> Sent:
    """The table of spec: push § 8; the first row that matches. ``project`` is the one that was asked."""
    about = f"project {project}" if project else ""
    status = reply.status
    if 200 <= status < 300:
        return accepted(json_of(reply).get("name"), token=token)
    text = reply.body.decode("utf-8", "replace")
    if _is_unregistered(text):
        return refused("invalid_token", reply, now, token=token)
    if status == 403 and "SENDER_ID_MISMATCH" in text:
        return refused("project_mismatch", reply, now, reason="sender_id_mismatch", about=about)
    if status in (400, 413):
        return refused("invalid_payload", reply, now, token=token)
    if status == 404 or "NOT_FOUND" in text:
        return refused("project_mismatch", reply, now, token=token, about=about)
    return refused(_KINDS.get(status, "provider_rejected"), reply, now, token=token)


def _is_unregistered(text: str) -> bool:
    # Capitals matter: Google calls callers without a key "unregistered", too.
    if "UNREGISTERED" in text or "registration-token-not-registered" in text:
        return True
    lower = text.lower()
    if "INVALID_ARGUMENT" not in text or "registration token" not in lower:
        return False
    rest = lower.replace("invalid_argument", "")
    return any(word in rest for word in ("not a valid", "invalid", "malformed"))


def _with_texts(data: Any) -> Any:
    """FCM takes texts alone in ``data``: everything else becomes its JSON."""
    if not isinstance(data, dict):
        return data
    return {key: value if isinstance(value, str) else encode(value).decode() for key, value in data.items()}


def service_account(text: str) -> ServiceAccount:
    """Raises AccountError for what is no key file of a service account."""
    try:
        account = msgspec.json.decode(text, type=ServiceAccount)
    except (msgspec.DecodeError, UnicodeError):
        raise AccountError(
            "the service account is not the JSON of a key file with client_email and private_key"
        ) from None
    if not account.client_email.strip() or not account.private_key.strip():
        raise AccountError("the service account has an empty client_email or private_key")
    return account


def account_signer(account: ServiceAccount) -> Signer:
    """What it signs its requests for tokens with. Raises AccountError."""
    return rsa_signer(account.private_key, account.private_key_id, "private_key of the service account")
