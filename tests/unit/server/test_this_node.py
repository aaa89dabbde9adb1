"""What a node says of itself to people: its name, and where it keeps things."""

from __future__ import annotations

import socket

from sockudo.config.schema import build
from sockudo.server.this_node import uses

HOST = socket.gethostname()
MADE_UP = "b6567e3e-7ce1-4d87-9006-c2462135e326"


def test_a_node_is_called_by_its_label_or_by_where_it_listens() -> None:
    assert build({"instance.process_id": "realtime-2", "port": 6001}).node_name == "realtime-2"
    assert build({"instance.process_id": "realtime-2/1"}).node_name == "realtime-2/1"
    assert build({"instance.process_id": MADE_UP, "port": 6001}).node_name == f"{HOST}:6001"
    assert build({"instance.process_id": f"{MADE_UP}/1", "port": 6001}).node_name == f"{HOST}:6001/1"
    unix = {"unix_socket.enabled": True, "unix_socket.path": "/run/s.sock"}
    assert build({"instance.process_id": MADE_UP, **unix}).node_name == f"{HOST} /run/s.sock"


def test_what_is_kept_where_has_no_secrets() -> None:
    settings = build(
        {
            "app_manager.driver": "pgsql",
            "history.enabled": True,
            "history.backend": "mysql",
            "queue.driver": "redis",
            "push.storage_driver": "memory",
            "database.postgres.password": "hush",
            "database.redis.password": "hush",
            "database.redis.host": "cache-1",
        }
    )
    found = uses(settings, "nats at broker:4222")
    assert found == {
        "nodes": "nats at broker:4222",
        "apps": "postgres localhost:5432/sockudo",
        "webhooks": "redis cache-1:6379",
        "history": "mysql localhost:3306/sockudo",
        "push": "memory",
    }
    assert "hush" not in str(found)
    assert "nodes" not in uses(settings, "")
