"""Who asks for something of push: a backend, or a device for itself (spec: push § 1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from sockudo import errors

__all__ = ["Access", "read_access"]

_ADMIN: Final = "push-admin"
_SUBSCRIBE: Final = "push-subscribe"


class Access(NamedTuple):
    """``push-admin``, or ``push-subscribe`` with what was sent as the token of a device; None where nothing was."""

    admin: bool
    token: str | None = None

    def require_admin(self) -> None:
        """Raises errors.PUSH_CAPABILITY for a device."""
        if not self.admin:
            raise errors.PUSH_CAPABILITY("push-admin capability is required")

    def require_token(self) -> str:
        """The token of the device. Raises errors.DEVICE_TOKEN_MISSING without one."""
        if not self.token:
            raise errors.DEVICE_TOKEN_MISSING("deviceIdentityToken is required")
        return self.token

    def __repr__(self) -> str:
        return f"<Access {_ADMIN if self.admin else _SUBSCRIBE}>"


def read_access(capability: str | None, token: str | None, authorization: str | None) -> Access:
    """From the headers. Raises errors.PUSH_CAPABILITY_UNKNOWN, and errors.DEVICE_TOKEN_MISSING for an Authorization
    that is no bearer token.
    """
    if capability is None or capability == _ADMIN:
        return Access(admin=True)
    if capability != _SUBSCRIBE:
        raise errors.PUSH_CAPABILITY_UNKNOWN("unknown push capability requested")
    if token is None and authorization is not None:
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise errors.DEVICE_TOKEN_MISSING("Authorization must be Bearer with the deviceIdentityToken")
    return Access(admin=False, token=token.strip() if token is not None else None)
