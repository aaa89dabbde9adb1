"""The command around the listener: arguments in, exit codes out."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from sockudo.cli import listening
from sockudo.cli.listen_options import V2Options
from sockudo.client.failures import ClientError, ClosedError, UnreachableError


class FakeListener:
    """Keeps how it was made; ends as the test says."""

    made: ClassVar[dict[str, Any]]
    outcome: bool | BaseException = True
    printed = 0

    def __init__(self, target: Any, channels: list[str], printer: Any, **options: Any) -> None:
        type(self).made = {"url": target.url, "channels": channels, **options}

    async def run(self, seconds: float | None) -> bool:
        type(self).made["seconds"] = seconds
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> type[FakeListener]:
    class Own(FakeListener):
        made: ClassVar[dict[str, Any]] = {}

    monkeypatch.setattr(listening, "Listener", Own)
    return Own


def test_arguments(run: Any, listener: type[FakeListener]) -> None:
    result = run("listen", "harbor", "presence-crew", "--user-id", "8", "--user-info", '{"a":1}', "--count", "2", "--timeout", "1.5")  # fmt: skip  # noqa: E501
    assert result.exit_code == 0
    assert listener.made == {
        "url": "https://ws.example.com",
        "channels": ["harbor", "presence-crew"],
        "user_id": "8",
        "user_info": {"a": 1},
        "count": 2,
        "v2": None,
        "origin": None,
        "seconds": 1.5,
    }


def test_as_a_page_of_an_origin(run: Any, listener: type[FakeListener]) -> None:
    assert run("listen", "harbor", "--origin", "https://shop.test").exit_code == 0
    assert listener.made["origin"] == "https://shop.test"
    assert run("listen", "harbor", "--origin", "shop.test").exit_code == 2


def test_arguments_of_protocol_two(run: Any, listener: type[FakeListener]) -> None:
    result = run(
        "listen", "harbor", "--protocol", "2", "--rewind", "5m", "--event", "tide", "--filter", "metres>2",
        "--format", "msgpack", "--token", "-", stdin="a.b.c\n",
    )  # fmt: skip
    assert result.exit_code == 0
    tags = {"key": "metres", "cmp": "gt", "val": "2"}
    wanted = {"events": ["tide"], "tags": tags}
    assert listener.made["v2"] == V2Options("msgpack", "a.b.c", wanted, {"seconds": 300})


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (KeyboardInterrupt(), 0, ""),
        (UnreachableError("https://ws.example.com", "Connection refused"), 3, "Connection refused"),
        (ClosedError(4001, "Application does not exist", established=False), 1, "sockudo explain unknown_app"),
        (ClientError("The server sent something else"), 1, "Is this a Sockudo server?"),
    ],
)
def test_how_it_ends(run: Any, listener: type[FakeListener], outcome: BaseException, code: int, said: str) -> None:
    listener.outcome = outcome
    result = run("listen", "harbor")
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_too_few_events_in_time_have_an_exit_code_of_their_own(run: Any, listener: type[FakeListener]) -> None:
    listener.outcome = False
    result = run("listen", "harbor", "--count", "3", "--timeout", "2")
    assert result.exit_code == 4
    assert "0 of 3 events came within 2 seconds." in result.stderr
    assert run("listen", "harbor", "--timeout", "2").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("presence-crew",), "give a user id"),
        (("presence-crew", "--user-id", "8", "--user-info", "{"), "--user-info is not JSON"),
        (("harbor", "--count", "0"), "--count"),
        ((), "CHANNEL"),
        (("harbor", "--filter", "a=b"), "--filter is not known to protocol 1."),
        (("harbor", "--protocol", "3"), "--protocol"),
    ],
)
def test_usage(run: Any, listener: type[FakeListener], arguments: tuple[str, ...], said: str) -> None:
    result = run("listen", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert listener.made == {}
