"""When the command began. Loaded before everything else, which is why it is a module of its own."""

import time
from typing import Final

__all__ = ["BEGAN"]

BEGAN: Final = time.monotonic()
"""In seconds of the monotonic clock."""
