"""Every refusal of the server, in one table (spec: index § 2; http-api § 3; websocket § 9).

An `ErrorSpec` is one row: what is sent over HTTP, what over WebSocket, whether trying again can help, what it means,
what usually causes it and what to do. Calling a row makes the exception to raise::

    raise errors.EVENT_NAME_TOO_LONG(f"Event name '{name}' exceeds maximum length of {limit}")

The HTTP body, the error frame, the metric label, the log line, ``sockudo explain`` and ``docs/errors.md`` are all made
from the row. A slug declared twice fails at import. `SockudoError` is the only exception the layers above raise on
purpose; foreign exceptions are mapped at the border of their adapter.
"""

# In the order in which the reference lists them.
# isort: off
from sockudo.errors.spec import CATALOGUE, ErrorSpec, OutcomeUnknown, SockudoError
from sockudo.errors.requests import *  # noqa: F403 - a table in several parts
from sockudo.errors.connections import *  # noqa: F403
from sockudo.errors.streams import *  # noqa: F403
from sockudo.errors.webhooks import *  # noqa: F403
from sockudo.errors.dashboard import *  # noqa: F403
from sockudo.errors.push import *  # noqa: F403
from sockudo.errors.doubts import *  # noqa: F403
# isort: on

__all__ = ["CATALOGUE", "ErrorSpec", "OutcomeUnknown", "SockudoError"]
