"""Files that settings name: read whenever an account is looked up, so that a new key needs no restart."""

from __future__ import annotations

from pathlib import Path

from sockudo.push.providers.accounts import AccountError

__all__ = ["text_of"]


def text_of(path: str, setting: str) -> str:
    """Raises AccountError that names the setting."""
    try:
        return Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise AccountError(f"the file that {setting} names cannot be read: {reason}") from None
