"""The body of a publish (spec: push § 2.4), made from the options of the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sockudo.cli.moments import read_moment, read_seconds
from sockudo.cli.outcome import ExitCode, fail

__all__ = ["data_of", "moment_of", "overrides_of", "targets_of"]

_DATA_EXAMPLE: Final = """Example: --data '{"order": {"no": 8841}}'"""


def targets_of(
    channels: Sequence[str] | None, clients: Sequence[str] | None, devices: Sequence[str] | None
) -> list[dict[str, str]]:
    """The recipients that the options name; ends the command when there are none."""
    found = [
        *({"type": "channel", "channel": name} for name in channels or ()),
        *({"type": "client", "clientId": name} for name in clients or ()),
        *({"type": "device", "deviceId": name} for name in devices or ()),
    ]
    if not found:
        fail("Name the target: --channel, --client or --device.", ExitCode.USAGE)
    return found


def data_of(text: str | None) -> dict[str, Any] | None:
    """A JSON object from the command line, or from a file with ``@FILE``."""
    if text is None:
        return None
    value = _parsed(_read(text[1:], "--data") if text.startswith("@") else text, "--data", _DATA_EXAMPLE)
    if not isinstance(value, dict):
        fail("--data must be a JSON object.", ExitCode.USAGE, _DATA_EXAMPLE)
    return value


def overrides_of(path: Path | None) -> list[dict[str, Any]] | None:
    """The overrides in a file: one, a list of them, or an object with a payload for each provider."""
    if path is None:
        return None
    value = _parsed(_read(str(path), "--override"), "--override")
    if isinstance(value, Mapping) and "provider" not in value:
        value = [{"provider": name, "payload": payload} for name, payload in value.items()]
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not (isinstance(entry, dict) and isinstance(entry.get("payload"), dict)):
            fail(
                f"{path} holds no overrides.",
                ExitCode.USAGE,
                'Write {"apns": {"aps": {…}}}, or a list of {"provider": "apns", "payload": {…}}.',
            )
    return entries


def moment_of(text: str | None, option: str, now: float | None = None) -> int | None:
    """Epoch milliseconds from a moment, or from a span of time from now such as ``90s`` or ``2h``."""
    if text is None:
        return None
    seconds = read_seconds(text.strip())
    if seconds is None:
        return read_moment(text, option)
    return int(((time.time() if now is None else now) + seconds) * 1000)


def _read(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        fail(f"{option}: {path} cannot be read: {reason}.", ExitCode.USAGE)


def _parsed(text: str, option: str, *remedies: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, ValueError) else "nested too deeply"
        fail(f"{option} is not JSON: {reason}.", ExitCode.USAGE, *remedies)
