"""What operators may do to a stream by hand, as they ask for it (spec: history § 7.2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from sockudo import errors

__all__ = ["Purge", "Reset"]

_Serial = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Time = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Reset(msgspec.Struct):
    """The body of a reset: everything is dropped, and the channel goes on as a new stream."""

    confirm_channel: str
    confirm_operation: str
    reason: str
    requested_by: str | None = None

    def check(self, channel: str) -> None:
        """Raises errors.INVALID_INPUT unless whoever asks means this channel and this operation."""
        _confirm(self, channel, "reset")

    def echo(self) -> dict[str, Any]:
        """What the reply repeats of the request."""
        return {"ok": True, "operation": "reset", **_who(self)}


class Purge(msgspec.Struct, kw_only=True):
    """The body of a purge: rows strictly before a bound are dropped, or all; the stream goes on."""

    confirm_channel: str
    confirm_operation: str
    reason: str
    requested_by: str | None = None
    mode: Literal["all", "before_serial", "before_time_ms"]
    before_serial: _Serial | None = None
    before_time_ms: _Time | None = None

    def check(self, channel: str) -> None:
        """Raises errors.INVALID_INPUT, also for bounds that the mode does not have."""
        _confirm(self, channel, "purge")
        given = {"before_serial": self.before_serial, "before_time_ms": self.before_time_ms}
        present = [name for name, value in given.items() if value is not None]
        if self.mode == "all" and present:
            raise errors.INVALID_INPUT("Purge mode 'all' does not accept bounds")
        if self.mode != "all" and present != [self.mode]:
            raise errors.INVALID_INPUT(f"Purge mode '{self.mode}' requires {self.mode} only")

    def echo(self) -> dict[str, Any]:
        """What the reply repeats of the request."""
        bounds = {"before_serial": self.before_serial, "before_time_ms": self.before_time_ms}
        return {"ok": True, "operation": "purge", **_who(self), "mode": self.mode, **bounds}


def _confirm(request: Reset | Purge, channel: str, operation: str) -> None:
    if request.confirm_channel != channel:
        raise errors.INVALID_INPUT("confirm_channel must exactly match the channel path")
    if request.confirm_operation != operation:
        raise errors.INVALID_INPUT(f"confirm_operation must be '{operation}'")
    if not request.reason.strip():
        raise errors.INVALID_INPUT("reason must not be empty")


def _who(request: Reset | Purge) -> dict[str, Any]:
    return {"channel": request.confirm_channel, "reason": request.reason, "requested_by": request.requested_by}
