"""How the push providers are reached: ``push.fcm`` and so on (spec: push § 8).

The variables are those of existing deployments: bare, and with ``PUSH_`` in front. What is here serves every app that
has stored no credentials of its own. Nothing of it leaves through ``repr``.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from sockudo.config.keys import Key

__all__ = ["PushApns", "PushFcm", "PushHms", "PushWebpush", "PushWns"]


def _both(*names: str) -> str:
    """Each name bare and with ``PUSH_``; all bare ones come first."""
    return " ".join((*names, *(f"PUSH_{name}" for name in names)))


def _useless_url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    return None if usable else "is not an absolute http or https address"


_APP: Final = "App whose stored credential serves every app that has none of its own"
_CREDENTIAL: Final = "Id of that credential"


class _Hidden(msgspec.Struct, frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class PushFcm(_Hidden, frozen=True):
    """Firebase Cloud Messaging."""

    endpoint: Annotated[str, Key("Where it is asked", env=_both("FCM_ENDPOINT"), check=_useless_url)] = (
        "https://fcm.googleapis.com"
    )
    project_id: Annotated[
        str | None, Key("Project; without it, the one of the service account", env=_both("FCM_PROJECT_ID"))
    ] = None
    service_account_json: Annotated[
        str | None, Key("The service account's key file as text", env=_both("FCM_SERVICE_ACCOUNT_JSON"), secret=True)
    ] = None
    service_account_json_path: Annotated[
        str | None,
        Key(
            "The service account's key file",
            env="FCM_SERVICE_ACCOUNT_JSON_PATH PUSH_FCM_SERVICE_ACCOUNT_JSON_PATH "
            "GOOGLE_APPLICATION_CREDENTIALS PUSH_GOOGLE_APPLICATION_CREDENTIALS",
        ),
    ] = None
    provider_token: Annotated[
        str | None,
        Key("A ready access token that never ends; needs `project_id`", env=_both("FCM_PROVIDER_TOKEN"), secret=True),
    ] = None
    app_id: Annotated[str | None, Key(_APP, env=_both("FCM_APP_ID"))] = None
    credential_id: Annotated[str | None, Key(_CREDENTIAL, env=_both("FCM_CREDENTIAL_ID"))] = None


class PushApns(_Hidden, frozen=True):
    """Apple Push Notification service."""

    endpoint: Annotated[str, Key("Where it is asked", env=_both("APNS_ENDPOINT"), check=_useless_url)] = (
        "https://api.push.apple.com"
    )
    topic: Annotated[str | None, Key("Bundle id of the app; required", env=_both("APNS_TOPIC"))] = None
    provider_token: Annotated[
        str | None, Key("A ready token that never ends", env=_both("APNS_PROVIDER_TOKEN"), secret=True)
    ] = None
    team_id: Annotated[str | None, Key("Team that the key belongs to", env=_both("APNS_TEAM_ID"))] = None
    key_id: Annotated[str | None, Key("Id of the key", env=_both("APNS_KEY_ID"))] = None
    private_key: Annotated[str | None, Key("The key as PEM text", env=_both("APNS_PRIVATE_KEY"), secret=True)] = None
    private_key_path: Annotated[str | None, Key("File of the key", env=_both("APNS_PRIVATE_KEY_PATH"))] = None
    app_id: Annotated[str | None, Key(_APP, env=_both("APNS_APP_ID"))] = None
    credential_id: Annotated[str | None, Key(_CREDENTIAL, env=_both("APNS_CREDENTIAL_ID"))] = None


class PushWebpush(_Hidden, frozen=True):
    """Browsers. The lists of hosts hold for WNS, too."""

    vapid_private_key: Annotated[
        str | None,
        Key(
            "Private key (P-256, base64url) that identifies this server to the browsers' services",
            env="VAPID_PRIVATE_KEY PUSH_VAPID_PRIVATE_KEY PUSH_WEBPUSH_VAPID_PRIVATE_KEY",
            secret=True,
        ),
    ] = None
    vapid_contact: Annotated[
        str,
        Key(
            "Address at which the push services reach the operator of this server",
            env="VAPID_CONTACT PUSH_VAPID_CONTACT PUSH_WEBPUSH_VAPID_CONTACT",
        ),
    ] = "mailto:sockudo-webpush@example.com"
    allowed_hosts: Annotated[
        tuple[str, ...],
        Key("Hosts that endpoints may have, each exact or as `.suffix`; empty = any", env="PUSH_WEBPUSH_ALLOWED_HOSTS"),
    ] = ()
    denied_hosts: Annotated[
        tuple[str, ...], Key("Hosts that endpoints must not have", env="PUSH_WEBPUSH_DENIED_HOSTS")
    ] = ()
    allow_local_endpoints: Annotated[
        bool,
        Key(
            "Endpoints of every provider may be http and private or loopback: for tests alone",
            env="PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS",
        ),
    ] = False


class PushHms(_Hidden, frozen=True):
    """Huawei Mobile Services."""

    endpoint: Annotated[str, Key("Where it is asked", env=_both("HMS_ENDPOINT"), check=_useless_url)] = (
        "https://push-api.cloud.huawei.com"
    )
    oauth_endpoint: Annotated[
        str, Key("Where access tokens are asked for", env=_both("HMS_OAUTH_ENDPOINT"), check=_useless_url)
    ] = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"
    app_id: Annotated[str | None, Key("Id of the app at Huawei", env=_both("HMS_APP_ID"))] = None
    provider_token: Annotated[
        str | None, Key("A ready access token that never ends", env=_both("HMS_PROVIDER_TOKEN"), secret=True)
    ] = None


class PushWns(_Hidden, frozen=True):
    """Windows Notification Service."""

    oauth_endpoint: Annotated[
        str, Key("Where access tokens are asked for", env=_both("WNS_OAUTH_ENDPOINT"), check=_useless_url)
    ] = "https://login.live.com/accesstoken.srf"
    provider_token: Annotated[
        str | None, Key("A ready access token that never ends", env=_both("WNS_PROVIDER_TOKEN"), secret=True)
    ] = None
