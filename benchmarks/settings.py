"""Where things are and which core does what."""

from __future__ import annotations

import json
import os
from pathlib import Path

__all__ = ["BUILD", "CLIENT_CORE", "DISK", "FRAME", "HERE", "NOISY", "PAYLOAD", "PYTHON", "ROOT", "SERVER_CORE"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = HERE / "build"
PYTHON = ROOT / ".venv/bin/python"

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = int(os.environ.get("SERVER_CORE", _CORES[0]))
CLIENT_CORE = int(os.environ.get("CLIENT_CORE", _CORES[-1]))

# Where durable things are kept: not /tmp, which is memory on many machines.
DISK = os.environ.get("BENCH_DISK", "/var/tmp")

# Bytes of data in every publish, and of the whole WebSocket frame that carries them to a subscriber.
PAYLOAD = 100
FRAME = len(json.dumps({"event": "bench-event", "channel": "bench", "data": "x" * PAYLOAD}, separators=(",", ":"))) + 4

# Cores that something else may use during a run before the report names the run as disturbed.
NOISY = 0.2
