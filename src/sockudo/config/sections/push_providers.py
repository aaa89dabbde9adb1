"""How the push providers are reached: ``push.fcm`` and so on (spec: push § 8).

The variables are those of existing deployments: bare, and with ``PUSH_`` in front. What is here serves every app that
has stored no credentials of its own. Nothing of it leaves through ``repr``.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from sockudo.config.keys import Section, setting

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


class _Hidden(Section, frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class PushFcm(_Hidden, frozen=True):
    """Firebase Cloud Messaging."""

    endpoint: str = setting(
        "https://fcm.googleapis.com", "Where it is asked", env=_both("FCM_ENDPOINT"), check=_useless_url
    )
    project_id: str | None = setting(
        None, "Project; without it, the one of the service account", env=_both("FCM_PROJECT_ID")
    )
    service_account_json: str | None = setting(
        None, "The service account's key file as text", env=_both("FCM_SERVICE_ACCOUNT_JSON"), secret=True
    )
    service_account_json_path: str | None = setting(
        None,
        "The service account's key file",
        env="FCM_SERVICE_ACCOUNT_JSON_PATH PUSH_FCM_SERVICE_ACCOUNT_JSON_PATH "
        "GOOGLE_APPLICATION_CREDENTIALS PUSH_GOOGLE_APPLICATION_CREDENTIALS",
    )
    provider_token: str | None = setting(
        None, "A ready access token that never ends; needs `project_id`", env=_both("FCM_PROVIDER_TOKEN"), secret=True
    )
    app_id: str | None = setting(None, _APP, env=_both("FCM_APP_ID"))
    credential_id: str | None = setting(None, _CREDENTIAL, env=_both("FCM_CREDENTIAL_ID"))


class PushApns(_Hidden, frozen=True):
    """Apple Push Notification service."""

    endpoint: str = setting(
        "https://api.push.apple.com", "Where it is asked", env=_both("APNS_ENDPOINT"), check=_useless_url
    )
    topic: str | None = setting(None, "Bundle id of the app; required", env=_both("APNS_TOPIC"))
    provider_token: str | None = setting(
        None, "A ready token that never ends", env=_both("APNS_PROVIDER_TOKEN"), secret=True
    )
    team_id: str | None = setting(None, "Team that the key belongs to", env=_both("APNS_TEAM_ID"))
    key_id: str | None = setting(None, "Id of the key", env=_both("APNS_KEY_ID"))
    private_key: str | None = setting(None, "The key as PEM text", env=_both("APNS_PRIVATE_KEY"), secret=True)
    private_key_path: str | None = setting(None, "File of the key", env=_both("APNS_PRIVATE_KEY_PATH"))
    app_id: str | None = setting(None, _APP, env=_both("APNS_APP_ID"))
    credential_id: str | None = setting(None, _CREDENTIAL, env=_both("APNS_CREDENTIAL_ID"))


class PushWebpush(_Hidden, frozen=True):
    """Browsers. The lists of hosts hold for WNS, too."""

    vapid_private_key: str | None = setting(
        None,
        "Private key (P-256, base64url) that identifies this server to the browsers' services",
        env="VAPID_PRIVATE_KEY PUSH_VAPID_PRIVATE_KEY PUSH_WEBPUSH_VAPID_PRIVATE_KEY",
        secret=True,
    )
    vapid_contact: str = setting(
        "mailto:sockudo-webpush@example.com",
        "Address at which the push services reach the operator of this server",
        env="VAPID_CONTACT PUSH_VAPID_CONTACT PUSH_WEBPUSH_VAPID_CONTACT",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (), "Hosts that endpoints may have, each exact or as `.suffix`; empty = any"
    )
    denied_hosts: tuple[str, ...] = setting((), "Hosts that endpoints must not have")
    allow_local_endpoints: bool = setting(
        False,
        "Endpoints of every provider may be http and private or loopback: for tests alone",
        env="PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS",
    )


class PushHms(_Hidden, frozen=True):
    """Huawei Mobile Services."""

    endpoint: str = setting(
        "https://push-api.cloud.huawei.com", "Where it is asked", env=_both("HMS_ENDPOINT"), check=_useless_url
    )
    oauth_endpoint: str = setting(
        "https://oauth-login.cloud.huawei.com/oauth2/v3/token",
        "Where access tokens are asked for",
        env=_both("HMS_OAUTH_ENDPOINT"),
        check=_useless_url,
    )
    app_id: str | None = setting(None, "Id of the app at Huawei", env=_both("HMS_APP_ID"))
    provider_token: str | None = setting(
        None, "A ready access token that never ends", env=_both("HMS_PROVIDER_TOKEN"), secret=True
    )


class PushWns(_Hidden, frozen=True):
    """Windows Notification Service."""

    oauth_endpoint: str = setting(
        "https://login.live.com/accesstoken.srf",
        "Where access tokens are asked for",
        env=_both("WNS_OAUTH_ENDPOINT"),
        check=_useless_url,
    )
    provider_token: str | None = setting(
        None, "A ready access token that never ends", env=_both("WNS_PROVIDER_TOKEN"), secret=True
    )
