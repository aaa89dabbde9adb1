"""The sockets that a supervisor opens for its workers, and what becomes of them when the settings change."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sockudo.config.schema import build
from sockudo.edge.listeners import ListenError
from sockudo.server.listening import Listening


def opened(**values: object) -> Listening:
    return Listening.open(build({**_LOCAL, **values}), 3)


_LOCAL = {"host": "127.0.0.1", "port": 0, "metrics.port": 0, "metrics.host": "127.0.0.1"}


def port_of(each: socket.socket) -> int:
    return int(each.getsockname()[1])


def test_each_worker_has_a_socket_of_its_own_on_one_port() -> None:
    listening = opened()
    every = listening._sockets["main"]
    assert len({each.fileno() for [each] in every}) == 3
    assert len({port_of(each) for [each] in every}) == 1
    listening.close()
    assert all(each.fileno() == -1 for [each] in every)


def test_operators_reach_the_first_worker() -> None:
    listening = opened()
    assert len(listening._sockets["metrics"]) == 1
    assert "metrics" in listening.of(0, ())
    listening.close()
    listening = opened()
    assert "metrics" not in listening.of(1, ())
    listening.close()


def test_in_its_own_process_a_worker_keeps_its_own_sockets_alone() -> None:
    listening, other = opened(), opened()
    mine = listening.of(1, [other])
    assert all(each.fileno() >= 0 for sockets in mine.values() for each in sockets)
    open_ones = [each for made in (listening, other) for each in made._every() if each.fileno() >= 0]
    assert open_ones == list(mine["main"])
    listening.close()


def test_a_port_that_another_server_has_is_refused() -> None:
    listening = opened()
    port = port_of(listening._sockets["main"][0][0])
    with pytest.raises(ListenError, match="Address already in use") as refused:
        opened(port=port)
    assert refused.value.taken == port
    listening.close()


def test_what_stays_is_kept_and_what_changes_is_opened_anew() -> None:
    before = opened()
    after = before.changed(build({**_LOCAL, "metrics.host": "127.0.0.2"}), 3)
    assert after._sockets["main"] is before._sockets["main"]
    assert after._sockets["metrics"] is not before._sockets["metrics"]
    before.close(kept=after)
    assert all(each.fileno() >= 0 for each in after._every())
    assert before._sockets["metrics"][0][0].fileno() == -1
    after.close()


def test_a_change_that_cannot_be_made_leaves_what_is_there(tmp_path: Path) -> None:
    before = opened()
    with pytest.raises(ListenError):
        before.changed(build({**_LOCAL, "host": "192.0.2.1"}), 3)
    assert all(each.fileno() >= 0 for each in before._every())
    before.close()


def test_a_unix_socket_is_one_for_all_and_its_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    listening = opened(**{"unix_socket.enabled": True, "unix_socket.path": str(path)})
    assert len({each.fileno() for [each] in listening._sockets["unix"]}) == 1
    assert "main" not in listening._sockets
    assert path.is_socket()
    listening.close()
    assert not path.exists()


def arrivals(listening: Listening) -> list[int]:
    """How many of sixty connections each worker finds."""
    every = [each for [each] in listening._sockets["main"]]
    port = next(port_of(each) for each in every if each.fileno() >= 0)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    found = []
    for each in every:
        count = 0
        while each.fileno() >= 0:
            try:
                each.accept()[0].close()
            except BlockingIOError:
                break
            count += 1
        found.append(count)
    for client in clients:
        client.close()
    return found


def test_while_a_worker_is_away_the_others_have_its_connections() -> None:
    listening = opened()
    listening.rest(1)
    first, second, third = arrivals(listening)
    assert (second, first + third) == (0, 60)
    listening.wake(1)
    listening.wake(0)
    found = arrivals(listening)
    assert (sum(found), min(found) > 0) == (60, True)
    assert not any(each.get_inheritable() or each.getblocking() for [each] in listening._sockets["main"])
    listening.close()


def test_the_last_socket_and_one_that_all_share_stay_open(tmp_path: Path) -> None:
    listening = opened()
    for slot in (0, 1, 2):
        listening.rest(slot)
    assert [each.fileno() >= 0 for [each] in listening._sockets["main"]] == [False, False, True]
    # The first one alone serves operators.
    assert listening._sockets["metrics"][0][0].fileno() >= 0
    listening.wake(0)
    assert sum(arrivals(listening)) == 60
    listening.close()
    listening = opened(**{"unix_socket.enabled": True, "unix_socket.path": str(tmp_path / "s.sock")})
    listening.rest(0)
    assert listening._sockets["unix"][0][0].fileno() >= 0
    listening.close()
