"""Names from Pusher, Soketi and Reverb are read, or answered with the name to use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sockudo.config import Loaded, foreign
from sockudo.config.schema import declared, value_at, variables

Load = Callable[..., Loaded]


@pytest.mark.parametrize(("name", "path"), list(foreign.READ.items()))
def test_a_name_with_an_equivalent_is_read(name: str, path: str, loaded: Load) -> None:
    setting = declared()[path]
    text = {"bool": "0", "int": "77"}.get(setting.kind, "abc")
    got = loaded(env={name: text})
    assert str(value_at(got.settings, path)) in {text, "False"}
    ours = setting.key.names[0] if setting.key.names else path
    assert f"{name} read as {ours}" in got.sources
    assert got.warnings == ()


@pytest.mark.parametrize("name", foreign.ADVICE)
def test_a_name_without_one_is_answered(name: str, loaded: Load) -> None:
    (warning,) = loaded(env={name: "1"}).warnings
    assert warning == f"{name} not read: {foreign.ADVICE[name]}"


def test_our_own_name_wins(loaded: Load) -> None:
    got = loaded(env={"PORT": "1", "SOKETI_PORT": "2", "REVERB_SERVER_PORT": "3"})
    assert got.settings.port == 1
    assert got.warnings == (
        "SOKETI_PORT is not read: PORT sets port already",
        "REVERB_SERVER_PORT is not read: PORT sets port already",
    )


def test_a_foreign_name_wins_over_the_file(loaded: Load) -> None:
    assert loaded("port = 1", env={"SOKETI_PORT": "2"}).settings.port == 2


def test_the_first_of_two_servers_wins(loaded: Load) -> None:
    got = loaded(env={"SOKETI_PORT": "2", "REVERB_SERVER_PORT": "3"})
    assert got.settings.port == 2
    assert got.warnings == ("REVERB_SERVER_PORT is not read: SOKETI_PORT sets port already",)


def test_client_side_names_are_told_in_one_line(loaded: Load) -> None:
    (warning,) = loaded(env={"REVERB_HOST": "x", "REVERB_PORT": "1", "PUSHER_HOST": "y"}).warnings
    assert warning.startswith("PUSHER_HOST, REVERB_HOST, REVERB_PORT not read: clients and publishers use it")


def test_families(loaded: Load) -> None:
    (warning,) = loaded(env={"SOKETI_DB_REDIS_HOST": "x"}).warnings
    assert warning.startswith("SOKETI_DB_REDIS_HOST not read: ADAPTER_DRIVER says how nodes are joined")
    assert foreign.advice("SOMETHING_ELSE") is None


def test_the_tables_do_not_overlap() -> None:
    assert not foreign.READ.keys() & foreign.ADVICE.keys()
    assert not (foreign.READ.keys() | foreign.ADVICE.keys()) & variables().keys()
