"""What tests against a started server have in common: processes, signatures, waiting."""

from __future__ import annotations

import sys

# Processes of the tests import parts of it, and have no use for what takes longer to load than all of these.
if "pytest" in sys.modules:
    import pytest

    # Their own assertions are worth as much detail as those of the tests.
    pytest.register_assert_rewrite("support.raw", "support.websocket")
