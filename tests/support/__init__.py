"""What tests against a started server have in common: processes, signatures, waiting."""

from __future__ import annotations

import pytest

# Their own assertions are worth as much detail as those of the tests.
pytest.register_assert_rewrite("support.raw", "support.websocket")
