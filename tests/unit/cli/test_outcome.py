"""How commands end, in words."""

from __future__ import annotations

import pytest
import typer

from sockudo.cli.outcome import failures, in_seconds
from sockudo.client.failures import UnreachableError


@pytest.mark.parametrize(("seconds", "words"), [(1, "1 second"), (0, "0 seconds"), (2.5, "2.5 seconds")])
def test_spans(seconds: float, words: str) -> None:
    assert in_seconds(seconds) == words


def test_what_to_do_about_a_failure_is_that_of_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    for advice, said in (("Renew it.", "Renew it."), ("", "Is the server running?")):
        with pytest.raises(typer.Exit) as caught, failures():
            raise UnreachableError("https://ws.test", "no", advice)
        assert caught.value.exit_code == 3
        told = capsys.readouterr().err
        assert said in told
        assert ("Is the server running?" in told) == (not advice)
