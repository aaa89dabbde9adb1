"""What operators are shown of the address that a webhook was sent to."""

from __future__ import annotations

import pytest

from sockudo.webhooks.inspection import entry_of
from sockudo.webhooks.records import Answer, Delivery, Outcome
from unit.webhooks.parts import endpoints_of


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        # Two endpoints of one host are told apart.
        ("http://127.0.0.1:7020/flaky", "POST http://127.0.0.1:7020/flaky"),
        ("https://ann:secret@hooks.test/in?token=secret#secret", "POST https://hooks.test/in?token=…"),
    ],
)
def test_the_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    [endpoint] = endpoints_of({"url": url, "event_types": ["cache_miss"]}).endpoints
    delivery = Delivery("d1", "app", endpoint.id, 0, b'{"events":[]}', 1, 0, 0)
    entry = entry_of(endpoint, delivery, Answer(503), Outcome("waiting", None), 1)
    assert entry.request == shown
