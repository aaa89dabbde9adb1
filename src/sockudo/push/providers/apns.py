"""Apple Push Notification service, over HTTP/2 (spec: push § 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sockudo.config.sections.push_providers import PushApns
from sockudo.outbound.ports import ClientIdentity, Reply
from sockudo.push.delivery import Material, Materials, Readiness, Sent
from sockudo.push.providers.accounts import (
    AccountError,
    Own,
    RenewedToken,
    SharedCredential,
    StaticToken,
    Token,
    TokenSource,
    checked_endpoint,
    given,
    text_of,
)
from sockudo.push.providers.answers import accepted, json_of, refused
from sockudo.push.providers.base import HttpProvider, Outgoing, Shapes, Surroundings, apns_collapse_id, encode
from sockudo.push.providers.keys import Signer, check_not_over, ec_signer, end_of, p12_identity, pem_identity

__all__ = ["ApnsProvider", "apns_meaning"]

# Renewed five minutes before: what Apple takes for an hour is used for 55 minutes.
_LASTS: Final = 3600.0
_MISSING: Final = (
    "set APNS_TEAM_ID, APNS_KEY_ID and APNS_PRIVATE_KEY or APNS_PRIVATE_KEY_PATH, or APNS_PROVIDER_TOKEN, or store a "
    "credential: POST /apps/{appId}/push/credentials/apns"
)
_TOPICS: Final = frozenset({"BadTopic", "DeviceTokenNotForTopic", "TopicDisallowed", "BadCertificateEnvironment"})
_TOKEN_CASES: Final = frozenset({"ExpiredProviderToken", "TooManyProviderTokenUpdates"})
_UNAVAILABLE: Final = frozenset({500, 502, 503, 504})


class ApnsAccount:
    """Proves itself with ``tokens``, or in the TLS handshake with ``identity``, which stands in ``field``."""

    def __init__(
        self, topic: str, tokens: TokenSource | None, identity: ClientIdentity | None = None, field: str = ""
    ) -> None:
        self.topic = topic
        self.tokens = tokens
        self.identity = identity
        self.field = field
        self.ends = None if identity is None else end_of(identity)

    async def close(self) -> None:
        if self.tokens is not None:
            await self.tokens.close()


class Shape(NamedTuple):
    headers: tuple[tuple[str, str], ...]
    body: bytes
    has_expiration: bool


class ApnsProvider(HttpProvider[PushApns, ApnsAccount]):
    """A `PushProvider` for APNs."""

    provider = "apns"

    def __init__(self, settings: PushApns, materials: Materials, around: Surroundings) -> None:
        super().__init__(settings, materials, around, SharedCredential.of(settings.app_id, settings.credential_id))
        self._base = f"{settings.endpoint.rstrip('/')}/3/device/"
        self._shapes = Shapes(_shape)

    async def readiness(self, app_id: str) -> Readiness:
        """A certificate that was good when it was stored may be over by now."""
        found = await super().readiness(app_id)
        account = self._accounts.at_hand(app_id) if found.ready else None
        if account is not None and account.ends is not None:
            try:
                check_not_over(account.ends, account.field, self._around.time())
            except AccountError as error:
                return Readiness(ready=False, missing=f"{found.source}: {error}")
        return found

    async def _send(self, account: ApnsAccount, outgoing: Outgoing) -> Sent:
        shape = self._shapes.of(outgoing.payload)
        url = self._base + quote(outgoing.recipient.token, safe="")
        headers = [("apns-topic", account.topic), *shape.headers]
        if outgoing.expires_at_ms is not None and not shape.has_expiration:
            headers.append(("apns-expiration", str(max(1, outgoing.expires_at_ms // 1000))))
        http = self._around.http

        async def request(token: str | None) -> Reply:
            proof = [] if token is None else [("authorization", f"bearer {token}")]
            return await http.post(
                url, [*proof, *headers], shape.body, deadline=outgoing.deadline, http2=True, identity=account.identity
            )

        def meaning(reply: Reply) -> Sent:
            return apns_meaning(reply, outgoing.recipient.token, self._around.time(), account.topic)

        if account.tokens is None:
            return meaning(await request(None))
        return await self._with_token(account.tokens, outgoing.deadline, request, meaning, _has_expired)

    def _account(self, material: Material, theirs: bool) -> ApnsAccount:
        fields = material.fields
        checked_endpoint(self._settings.endpoint, "APNS_ENDPOINT", self._around.http)
        topic = given(self._settings.topic)
        if not topic:
            raise AccountError("there is no topic: set APNS_TOPIC to the bundle id of the app")
        static = fields.get("providerToken")
        if static is not None:
            return ApnsAccount(topic, StaticToken(static))
        if all(fields.get(name) for name in ("teamId", "keyId", "privateKey")):
            signer = ec_signer(fields["privateKey"], fields["keyId"], "privateKey")
            fetch = self._fetching(signer, fields["teamId"].strip())
            return ApnsAccount(topic, RenewedToken(fetch, self._around.monotonic))
        if fields.get("pem"):
            return ApnsAccount(topic, None, pem_identity(fields["pem"], "pem"), "pem")
        if fields.get("p12"):
            return ApnsAccount(topic, None, p12_identity(fields["p12"], fields.get("p12Password"), "p12"), "p12")
        raise AccountError("it needs teamId, keyId and privateKey, or pem, or p12")

    def _own(self) -> Own:
        """A ready token, else a key; the key's text before its file."""
        token = given(self._settings.provider_token)
        if token is not None:
            return Own("APNS_PROVIDER_TOKEN", Material("process", 0, {"providerToken": token}))
        team, key_id = given(self._settings.team_id), given(self._settings.key_id)
        key, source, path = (
            given(self._settings.private_key),
            "APNS_PRIVATE_KEY",
            given(self._settings.private_key_path),
        )
        if key is None and path is not None:
            source = "APNS_PRIVATE_KEY_PATH"
            key = text_of(path, source)
        if team is None or key_id is None or key is None:
            raise AccountError(_MISSING)
        return Own(source, Material("process", 0, {"teamId": team, "keyId": key_id, "privateKey": key}))

    def _fetching(self, signer: Signer, team: str) -> Callable[[], Any]:
        async def fetch() -> Token:
            return Token(signer.token({"iss": team, "iat": int(self._around.time())}), _LASTS)

        return fetch


def apns_meaning(reply: Reply, token: str, now: float, topic: str = "") -> Sent:
    """The table of spec: push § 8; the first row that matches. ``topic`` is the one that was sent."""
    status = reply.status
    if 200 <= status < 300:
        return accepted(reply.headers.get("apns-id"), token=token)
    reason = json_of(reply).get("reason")
    if status == 403 and reason in _TOKEN_CASES:
        return refused("auth_failure", reply, now, token=token, retry=True)
    kind = _kind(status, reason)
    about = f"apns-topic {topic}" if topic and kind == "apns_topic_mismatch" else ""
    return refused(kind, reply, now, token=token, about=about)


def _kind(status: int, reason: object) -> str:
    if status == 410 or (status == 400 and reason == "BadDeviceToken"):
        return "invalid_token"
    if status == 400 and reason in _TOPICS:
        return "apns_topic_mismatch"
    if status in (400, 413):
        return "invalid_payload"
    if status == 403:
        return "auth_failure"
    if status == 429:
        return "quota"
    return "unavailable" if status in _UNAVAILABLE else "provider_rejected"


def _has_expired(sent: Sent, reply: Reply) -> bool:
    return reply.status == 403 and json_of(reply).get("reason") == "ExpiredProviderToken"


def _shape(payload: Mapping[str, Any]) -> Shape:
    given = payload.get("headers")
    headers = given if isinstance(given, dict) else {}
    chosen = [
        ("apns-push-type", _text(headers.get("apns-push-type")) or "alert"),
        ("apns-priority", _text(headers.get("apns-priority")) or "10"),
    ]
    collapse = headers.get("apns-collapse-id")
    if isinstance(collapse, str) and collapse:
        chosen.append(("apns-collapse-id", apns_collapse_id(collapse)))
    expiration = _text(headers.get("apns-expiration"))
    if expiration is not None:
        chosen.append(("apns-expiration", expiration))
    content = {"aps": payload["aps"], "data": payload.get("data")} if "aps" in payload else payload
    return Shape(tuple(chosen), encode(content), expiration is not None)


def _text(value: object) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None or isinstance(value, bool) else str(value)
