"""What an uploaded credential must hold, so that one which cannot be used is refused at once (spec: push § 2.3).

Nothing is asked of a provider: what is right in form may still be revoked, or belong to another account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sockudo import errors
from sockudo.push.providers.accounts import AccountError
from sockudo.push.providers.keys import (
    check_certificate,
    ec_signer,
    p12_identity,
    pem_identity,
    public_point,
    vapid_signer,
)
from sockudo.push.recipients import Provider

__all__ = ["check_credential", "check_fields"]

_APNS_TOKEN: Final = ("teamId", "keyId", "privateKey")
_ACCOUNT: Final = "serviceAccountJson"
# Other files of the same consoles, by a field that they alone have.
_OTHER_FILES: Final = {
    "project_info": "is google-services.json, which belongs into the app",
    "installed": "is the file of an OAuth client",
    "web": "is the file of an OAuth client",
}


async def check_credential(
    provider: Provider, fields: Mapping[str, str], now: float, *, allow_local: bool = False
) -> None:
    """`check_fields` in another thread: a key that is protected by a passphrase takes as long as its maker wanted."""
    await asyncio.to_thread(check_fields, provider, fields, now, allow_local=allow_local)


def check_fields(provider: Provider, fields: Mapping[str, str], now: float, *, allow_local: bool = False) -> None:
    """Reads keys and certificates as a send would; ``now`` is Unix seconds, ``allow_local`` lets addresses be http.

    Raises errors.CREDENTIAL_INVALID, whose text names the field and what is wrong with it, and repeats nothing of it.
    """
    try:
        _CHECKS[provider](fields, now, allow_local)
    except AccountError as problem:
        raise errors.CREDENTIAL_INVALID(str(problem)) from None


def _check_fcm(fields: Mapping[str, str], _now: float, allow_local: bool) -> None:
    from sockudo.push.providers.fcm import account_signer, service_account

    file = _key_file(fields[_ACCOUNT])
    for name in ("client_email", "private_key"):
        if not isinstance(file.get(name), str) or not file[name].strip():
            raise AccountError(f"{_ACCOUNT} lacks {name}: it is not the key file of a service account")
    account = service_account(fields[_ACCOUNT])
    account_signer(account)
    if account.token_uri is not None and not allow_local and not account.token_uri.startswith("https://"):
        raise AccountError(f"token_uri in {_ACCOUNT} must be https")


def _key_file(text: str) -> dict[str, Any]:
    try:
        file = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        file = None
    if not isinstance(file, dict) or not file:
        raise AccountError(f"{_ACCOUNT} must be the JSON object of a service account's key file")
    for name, what in _OTHER_FILES.items():
        if name in file:
            raise AccountError(f"{_ACCOUNT} {what}, not the key file of a service account")
    return file


def _check_apns(fields: Mapping[str, str], now: float, _allow_local: bool) -> None:
    complete = all(name in fields for name in _APNS_TOKEN)
    if not ("p12" in fields or "pem" in fields or complete):
        raise AccountError("apns credentials need p12, or pem, or all of teamId, keyId and privateKey")
    if complete:
        _check_plain(fields, "teamId", "keyId")
        ec_signer(fields["privateKey"], fields["keyId"], "privateKey")
    if "pem" in fields:
        check_certificate(pem_identity(fields["pem"], "pem"), "pem", now)
    if "p12" in fields:
        check_certificate(p12_identity(fields["p12"], fields.get("p12Password"), "p12"), "p12", now)


def _check_webpush(fields: Mapping[str, str], _now: float, _allow_local: bool) -> None:
    signer = vapid_signer(fields["privateKey"], "privateKey")
    if public_point(fields["publicKey"], "publicKey") != signer.public_point():
        raise AccountError("publicKey is not the one of privateKey: browsers would refuse what this pair signs")


def _check_hms(fields: Mapping[str, str], _now: float, _allow_local: bool) -> None:
    _check_plain(fields, "hmsAppId", "clientSecret")


def _check_wns(fields: Mapping[str, str], _now: float, _allow_local: bool) -> None:
    _check_plain(fields, "packageSid", "clientSecret")


def _check_plain(fields: Mapping[str, str], *names: str) -> None:
    """What is copied from a page has no end of line in it, and no blank around it."""
    for name in names:
        value = fields[name]
        if not value.isprintable() or value != value.strip():
            raise AccountError(f"{name} has a blank, an end of line or a control character that is not a part of it")


_CHECKS: Final = {
    "fcm": _check_fcm,
    "apns": _check_apns,
    "webPush": _check_webpush,
    "hms": _check_hms,
    "wns": _check_wns,
}
