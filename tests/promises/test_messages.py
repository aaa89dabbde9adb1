"""A change of a message is there after ``kill -9``, or it is not; repeated under its ``op_id`` it is there once."""

from __future__ import annotations

import random
import signal
import threading
from http.client import HTTPException
from typing import Any

from promises.restarts import Restart
from support.server import ServerProcess
from support.waiting import wait_until

WRITERS = 8
ROUNDS = 3


def change(server: ServerProcess, serial: str, fragment: str) -> dict[str, Any]:
    path = f"/apps/{server.app.id}/channels/chat/messages/{serial}/append"
    reply = server.signed("POST", path, body={"data": f"<{fragment}>", "op_id": fragment})
    assert reply.status == 200, reply
    answer: dict[str, Any] = reply.json()
    return answer


def append_until_killed(server: ServerProcess, serial: str, name: str, after: int) -> tuple[dict[str, Any], set[str]]:
    """What was answered, and what was asked for when the process was killed, after so many answers."""
    answered: dict[str, Any] = {}
    asked: set[str] = set()

    def write(number: int) -> None:
        for count in range(1_000_000):
            fragment = f"{name}.{number}.{count}"
            asked.add(fragment)
            try:
                answered[fragment] = change(server, serial, fragment)
            except (OSError, HTTPException):
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    wait_until(lambda: len(answered) >= after, "appends to be answered")
    server.send_signal(signal.SIGKILL)
    for writer in writers:
        writer.join()
    return answered, asked - answered.keys()


def test_a_change_happened_wholly_or_not_at_all(restart: Restart) -> None:
    restart.configure(versioned_messages={"enabled": True})
    server = restart()
    body = {"name": "said", "channel": "chat", "data": "", "info": ""}
    reply = server.signed("POST", f"/apps/{server.app.id}/events", body=body)
    serial = reply.json()["channels"]["chat"]["message_serial"]
    done: dict[str, int] = {}
    for number in range(ROUNDS):
        answered, unknown = append_until_killed(server, serial, str(number), random.randrange(20, 120))
        assert server.wait() == -signal.SIGKILL
        server = restart()
        again = {fragment: change(server, serial, fragment) for fragment in answered}
        assert again == {fragment: {**answer, "status": "duplicate"} for fragment, answer in answered.items()}
        done |= {fragment: answer["delivery_serial"] for fragment, answer in answered.items()}
        done |= {fragment: change(server, serial, fragment)["delivery_serial"] for fragment in unknown}
    item = server.signed("GET", f"/apps/{server.app.id}/channels/chat/messages/{serial}").json()["item"]
    assert sorted(done.values()) == list(range(2, len(done) + 2))
    assert item["data"] == "".join(f"<{fragment}>" for fragment in sorted(done, key=lambda each: done[each]))
