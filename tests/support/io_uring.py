"""Whether this machine has io_uring, asked of the kernel and not of the server."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import pytest

__all__ = ["needs_io_uring"]

_SETUP = 425
_SUBMIT_ALL = 1 << 7


@cache
def _refusal() -> str:
    """Why the kernel gives nobody a ring; empty where it does."""
    parameters = (ctypes.c_uint32 * 30)()
    parameters[2] = _SUBMIT_ALL
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(_SETUP, 8, ctypes.byref(parameters))
    if descriptor < 0:
        return os.strerror(ctypes.get_errno())
    os.close(descriptor)
    return ""


needs_io_uring = pytest.mark.skipif(bool(_refusal()), reason=f"no io_uring on this machine: {_refusal()}")
"""Marks tests of what only a kernel with io_uring can do."""
