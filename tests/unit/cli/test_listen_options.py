"""What of protocol V2 goes together."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from sockudo.cli.listen_options import Delta, Format, Since, V2Options, Wishes, read_options


def test_nothing_asked_for() -> None:
    assert read_options(1, Wishes(), ["harbor"]) is None
    assert read_options(2, Wishes(), ["harbor"]) == V2Options()


@pytest.mark.parametrize(
    ("wishes", "options"),
    [
        (Wishes(rewind="10"), V2Options(rewind=10)),
        (Wishes(rewind="90s"), V2Options(rewind={"seconds": 90})),
        (Wishes(rewind="2h"), V2Options(rewind={"seconds": 7200})),
        (Wishes(rewind="1d"), V2Options(rewind={"seconds": 86_400})),
        (Wishes(since="0"), V2Options(since=Since(0))),
        (Wishes(since="41@6f0c-1"), V2Options(since=Since(41, "6f0c-1"))),
        (Wishes(delta=Delta.FOSSIL), V2Options(delta="fossil")),
        (Wishes(delta=Delta.VCDIFF), V2Options(delta="xdelta3")),
        (Wishes(delta=Delta.XDELTA3, format=Format.JSON), V2Options(delta="xdelta3")),
        (Wishes(delta=Delta.FOSSIL, format=Format.MSGPACK), V2Options("msgpack", delta="fossil")),
        (Wishes(format=Format.PROTOBUF, token="a.b.c"), V2Options(format="protobuf", token="a.b.c")),
        (Wishes(events=["a"]), V2Options(filter={"events": ["a"]})),
    ],
)
def test_what_it_comes_to(wishes: Wishes, options: V2Options) -> None:
    assert read_options(2, wishes, ["harbor"]) == options


@pytest.mark.parametrize(
    ("protocol", "wishes", "channels", "said"),
    [
        (1, Wishes(format=Format.JSON), ["a"], "--format is not known to protocol 1."),
        (1, Wishes(token="x"), ["a"], "--token is not known to protocol 1."),
        (1, Wishes(events=["x"]), ["a"], "--event is not known to protocol 1."),
        (1, Wishes(rewind="1"), ["a"], "--rewind is not known to protocol 1."),
        (1, Wishes(since="1"), ["a"], "--since is not known to protocol 1."),
        (1, Wishes(delta=Delta.VCDIFF), ["a"], "--delta is not known to protocol 1."),
        (2, Wishes(rewind="1", since="1"), ["a"], "--rewind and --since exclude each other."),
        (2, Wishes(rewind="1"), ["a", "b-*"], "b-* is a pattern"),
        (2, Wishes(since="1"), ["a", "b"], "--since is for one channel"),
        (2, Wishes(rewind="0"), ["a"], "--rewind: '0' cannot be read."),
        (2, Wishes(rewind="0s"), ["a"], "--rewind: '0s' cannot be read."),
        (2, Wishes(rewind="-5"), ["a"], "--rewind: '-5' cannot be read."),
        (2, Wishes(rewind="five"), ["a"], "--rewind: 'five' cannot be read."),
        (2, Wishes(since="x"), ["a"], "--since: 'x' cannot be read."),
        (2, Wishes(since="5@"), ["a"], "--since: '5@' cannot be read."),
    ],
)
def test_what_does_not_go_together(
    protocol: int, wishes: Wishes, channels: list[str], said: str, capsys: pytest.CaptureFixture[Any]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        read_options(protocol, wishes, channels)
    assert caught.value.exit_code == 2
    assert said in capsys.readouterr().err
