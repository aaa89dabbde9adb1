"""`sockudo listen` while it runs, against connections that follow a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import typer

from sockudo.cli import listening
from sockudo.cli.listen_options import Since, V2Options
from sockudo.cli.listening import Listener
from sockudo.cli.printer import Printer
from sockudo.cli.target import Target
from sockudo.client.auth import Credentials
from sockudo.client.events import Event
from sockudo.client.failures import ApiError, ClosedError, UnreachableError
from sockudo.client.wire import V1, Wire

APP = Credentials("4471", "pier-key", "tide-secret")
TARGET = Target("http://127.0.0.1:6001", APP)


def _event(event: str, channel: str | None = None, data: Any = None, user_id: str | None = None) -> Event:
    return Event(event, channel, data, user_id, "")


def _ack(channel: str) -> Event:
    return _event("pusher_internal:subscription_succeeded", channel, {})


def _error(code: int, message: str) -> Event:
    return _event("pusher:error", None, {"code": code, "message": message})


class FakeSocket:
    """A connection that gives these events and then ends as said; without an end it stays silent."""

    def __init__(self, *script: Event | Exception) -> None:
        self._script = iter(script)
        self.sent: list[tuple[Any, ...]] = []

    async def __aenter__(self) -> FakeSocket:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def subscribe(self, channel: str, credentials: Credentials, **member: Any) -> None:
        self.sent.append(("subscribe", channel, credentials, member))

    async def resume(self, positions: Any) -> None:
        self.sent.append(("resume", positions))

    async def enable_deltas(self, *algorithms: str) -> None:
        self.sent.append(("enable_deltas", *algorithms))

    async def signin(self, credentials: Credentials, user_id: str) -> None:
        self.sent.append(("signin", user_id, credentials))

    async def receive(self) -> Event:
        step = next(self._script, None)
        if step is None:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")
        if isinstance(step, Exception):
            raise step
        return step


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Queues what each attempt to connect gives; every queued attempt must be made."""
    attempts: list[FakeSocket | Exception] = []

    class Connector:
        wires: ClassVar[list[Wire]] = []

        @classmethod
        async def connect(cls, url: str, key: str, *, origin: str | None, wire: Wire, tls: object) -> FakeSocket:
            assert (url, key, origin, tls) == ("http://127.0.0.1:6001", "pier-key", None, None)
            cls.wires.append(wire)
            attempt = attempts.pop(0)
            if isinstance(attempt, Exception):
                raise attempt
            return attempt

    monkeypatch.setattr(listening, "Socket", Connector)
    yield lambda *queued: attempts.extend(queued)
    assert attempts == []


def _listener(channels: list[str], waits: list[float] | None = None, **options: Any) -> Listener:
    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    printer = Printer(as_json=options.pop("as_json", True), everything=options.pop("everything", False))
    return Listener(TARGET, channels, printer, sleep=sleep, **options)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_events_become_json_lines_until_enough_came(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    socket = FakeSocket(
        _ack("presence-crew"),
        _ack("harbor"),
        _event("pusher_internal:subscription_count", "harbor", {"subscription_count": 1}),
        _event("tide", "harbor", {"metres": 2.4}),
        _event("pusher:ping"),
        _event("client-typing", "presence-crew", "é", "crew-9"),
        _event("pusher_internal:member_added", "presence-crew", {"user_id": "crew-9"}),
        _event("one", "too many"),
    )
    connect(socket)
    listener = _listener(["harbor", "presence-crew", "harbor"], user_id="crew-8", user_info={"a": 1}, count=3)
    assert await listener.run(None) is True
    assert listener.printed == 3
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert all(isinstance(line.pop("time"), float) for line in lines)
    assert lines == [
        {"event": "tide", "channel": "harbor", "data": {"metres": 2.4}},
        {"event": "client-typing", "channel": "presence-crew", "data": "é", "user_id": "crew-9"},
        {"event": "pusher_internal:member_added", "channel": "presence-crew", "data": {"user_id": "crew-9"}},
    ]
    assert captured.err.count("Listening to harbor, presence-crew on http://127.0.0.1:6001") == 1
    member = {"user_id": "crew-8", "user_info": {"a": 1}, "options": {}}
    assert socket.sent == [
        ("subscribe", "harbor", APP, member),
        ("subscribe", "presence-crew", APP, member),
    ]


async def test_time_runs_out(connect: Any) -> None:
    connect(FakeSocket(_ack("harbor")))
    assert await _listener(["harbor"], count=1).run(0.01) is False


async def test_a_user_channel_signs_in_first(connect: Any) -> None:
    socket = FakeSocket(_ack("#server-to-user-crew-8"), _event("hello", "#server-to-user-crew-8"))
    connect(socket)
    assert await _listener(["#server-to-user-crew-8"], count=1).run(None)
    assert socket.sent[0] == ("signin", "crew-8", APP)


async def test_comes_back_as_the_close_code_says(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    draining = ApiError(503, "service_unavailable", "The server is shutting down.")
    connect(
        FakeSocket(_ack("harbor"), _event("first", "harbor"), ClosedError(4200, "Server shutting down")),
        draining,
        UnreachableError("http://127.0.0.1:6001", "Connection refused"),
        ClosedError(4100, "Over capacity", established=False),
        FakeSocket(_ack("harbor"), ClosedError(1006, "")),
        FakeSocket(_ack("harbor"), _event("second", "harbor")),
    )
    waits: list[float] = []
    assert await _listener(["harbor"], waits, count=2).run(None)
    assert waits == [0.0, 1.0, 2.0, 4.0, 1.0]
    captured = capsys.readouterr()
    assert [json.loads(line)["event"] for line in captured.out.splitlines()] == ["first", "second"]
    assert "4200 Server shutting down. Connecting again." in captured.err
    assert "Connecting again in 4 s." in captured.err


@pytest.mark.parametrize("code", [4001, 4009, 4301])
async def test_stays_away_when_told_so(connect: Any, code: int) -> None:
    connect(FakeSocket(_ack("harbor"), ClosedError(code, "Go away")))
    with pytest.raises(ClosedError) as caught:
        await _listener(["harbor"]).run(None)
    assert caught.value.code == code


async def test_an_app_with_allowed_origins_is_explained(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connect(ClosedError(4009, "Origin not allowed"))
    with pytest.raises(typer.Exit) as ended:
        await _listener(["harbor"]).run(None)
    assert ended.value.exit_code == 1
    assert "name one of the app's allowed_origins" in capsys.readouterr().err


@pytest.mark.parametrize(
    "first",
    [
        UnreachableError("http://127.0.0.1:6001", "Connection refused"),
        ApiError(503, "service_unavailable", "The server is shutting down."),
    ],
)
async def test_a_first_connection_that_fails_is_not_waited_for(connect: Any, first: Exception) -> None:
    connect(first)
    with pytest.raises(type(first)):
        await _listener(["harbor"]).run(None)


async def test_an_upgrade_that_will_never_work_ends_it(connect: Any) -> None:
    connect(
        FakeSocket(_ack("harbor"), ClosedError(4200, "")),
        ApiError(400, "invalid_input", "No."),
    )
    with pytest.raises(ApiError):
        await _listener(["harbor"]).run(None)


async def test_a_refused_subscription_ends_it_with_an_explanation(
    connect: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(FakeSocket(_error(4009, "Authentication error: Channel requires authentication")))
    with pytest.raises(typer.Exit) as caught:
        await _listener(["private-pier"]).run(None)
    assert caught.value.exit_code == 1
    said = capsys.readouterr().err
    assert "Channel requires authentication (4009)" in said
    # The command signs itself: what a backend could do wrong is no help.
    assert "The secret is not that of app 4471 with the key pier-key" in said
    assert "channel_data" not in said


async def test_another_refusal_is_explained_by_the_catalogue(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connect(FakeSocket(_error(4009, "Authentication error: Authentication signature required for this channel")))
    with pytest.raises(typer.Exit):
        await _listener(["private-pier"]).run(None)
    assert "sockudo explain channel_auth_missing" in capsys.readouterr().err


async def test_later_complaints_are_only_reported(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connect(FakeSocket(_ack("harbor"), _error(4000, "Odd"), _event("x", "harbor")))
    assert await _listener(["harbor"], count=1).run(None)
    assert "The server says: Odd (4000)" in capsys.readouterr().err


async def test_the_warning_before_a_close_is_not_a_refused_subscription(connect: Any) -> None:
    """A draining server first sends an error frame with the code of the close that follows."""
    connect(
        FakeSocket(_error(4200, "Server shutting down"), ClosedError(4200, "Server shutting down")),
        FakeSocket(_ack("harbor"), _event("x", "harbor")),
    )
    assert await _listener(["harbor"], count=1).run(None)


# ---- protocol V2 ----


def _ack_v2(channel: str, serial: int, stream: str = "s-1") -> Event:
    return Event(
        "sockudo_internal:subscription_succeeded", channel, {}, None, "", None, None, None, stream, serial, None
    )


def _message(channel: str, serial: int, stream: str = "s-1") -> Event:
    return Event("tide", channel, serial, None, "", None, None, f"m-{serial}", stream, serial, None)


def _resumed(recovered: list[Any] = [], failed: list[Any] = []) -> Event:  # noqa: B006
    return _event("sockudo:resume_success", None, {"recovered": recovered, "failed": failed})


async def test_v1_is_spoken_unless_asked_otherwise(connect: Any) -> None:
    connect(FakeSocket(_ack("harbor"), _event("x", "harbor")))
    await _listener(["harbor"], count=1).run(None)
    assert listening.Socket.wires == [V1]  # type: ignore[attr-defined]


async def test_all_that_v2_knows_goes_into_the_subscription(connect: Any) -> None:
    socket = FakeSocket(_ack_v2("harbor", 3), _message("harbor", 4))
    connect(socket)
    v2 = V2Options("json", "a.b.c", {"events": ["tide"]}, {"seconds": 90}, None, "xdelta3")
    assert await _listener(["harbor", "#server-to-user-crew-8"], count=1, v2=v2).run(None)
    assert listening.Socket.wires == [Wire(2, "json", "a.b.c")]  # type: ignore[attr-defined]
    asked = {"rewind": {"seconds": 90}, "filter": {"events": ["tide"]}}
    member = {"user_id": None, "user_info": None, "options": asked}
    # With a token the connection is somebody already: it must not sign in.
    assert socket.sent == [
        ("enable_deltas", "xdelta3"),
        ("subscribe", "harbor", APP, member),
        ("subscribe", "#server-to-user-crew-8", APP, member),
    ]


async def test_after_a_loss_it_goes_on_where_it_was(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    second = FakeSocket(
        _ack_v2("harbor", 7),
        _message("harbor", 8),  # live, before the server has got to the resume
        _message("harbor", 6),
        _message("harbor", 7),
        _message("harbor", 8),
        _resumed([{"channel": "harbor", "source": "cold", "replayed": 3, "position": None}]),
        _message("harbor", 9),
    )
    connect(FakeSocket(_ack_v2("harbor", 4), _message("harbor", 5), ClosedError(4200, "Server shutting down")), second)
    assert await _listener(["harbor"], count=5, v2=V2Options(rewind=2)).run(None)
    captured = capsys.readouterr()
    assert [json.loads(line)["serial"] for line in captured.out.splitlines()] == [5, 6, 7, 8, 9]
    assert "harbor: recovered 3 events from the history." in captured.err
    position = {"harbor": {"stream_id": "s-1", "serial": 5, "last_message_id": "m-5"}}
    member = {"user_id": None, "user_info": None, "options": {}}
    assert second.sent == [("subscribe", "harbor", APP, member), ("resume", position)]


async def test_going_on_from_a_serial_waits_for_the_stream(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    socket = FakeSocket(
        _ack_v2("harbor", 7),
        _message("harbor", 7),
        _resumed([{"channel": "harbor", "source": "hot", "replayed": 1, "position": None}]),
    )
    connect(socket)
    assert await _listener(["harbor"], count=1, v2=V2Options(since=Since(6))).run(None)
    assert socket.sent[1] == ("resume", {"harbor": {"stream_id": "s-1", "serial": 6}})
    assert "harbor: recovered 1 event from memory." in capsys.readouterr().err


async def test_a_server_that_recovers_nothing_any_more(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connect(
        FakeSocket(_ack_v2("harbor", 4), ClosedError(4200, "")),
        FakeSocket(_ack("harbor"), _error(4301, "Connection recovery is not enabled"), _event("x", "harbor")),
    )
    assert await _listener(["harbor"], count=1, v2=V2Options()).run(None)
    said = capsys.readouterr().err
    assert "harbor: not recovered: Connection recovery is not enabled (4301). Events after serial 4 may be" in said


async def test_what_the_server_says_of_tokens_and_differences(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connect(
        FakeSocket(
            _event("sockudo:delta_compression_enabled", None, {"enabled": False, "algorithm": "fossil"}),
            _ack_v2("harbor", 1),
            _event("sockudo:delta", "harbor", {}),
            _event("sockudo:token_expired", None, {"code": 40160, "reason": "revoked"}),
            ClosedError(4009, "capability token revoked"),
        )
    )
    with pytest.raises(ClosedError):
        await _listener(["harbor"], v2=V2Options(delta="fossil")).run(None)
    said = capsys.readouterr().err
    assert "The server sends no differences" in said
    assert "An event of harbor was lost" in said
    assert "The token is revoked." in said
