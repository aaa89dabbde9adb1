"""Identifiers: random, unique, and of the form that they claim."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

import pytest

from sockudo.base.ids import app_credentials, derived_id, socket_id, unique_id


def test_unique_ids_are_random_uuids() -> None:
    made = [unique_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    parsed = [uuid.UUID(each) for each in made]
    assert [str(each) for each in parsed] == made
    assert {each.version for each in parsed} == {4}
    assert {each.variant for each in parsed} == {uuid.RFC_4122}
    assert {each[19] for each in made} == set("89ab")


@pytest.mark.parametrize("make", [unique_id, socket_id])
def test_a_child_process_makes_others(make: Callable[[], str]) -> None:
    make()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, make().encode())
        os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    assert theirs
    assert theirs not in {make() for _ in range(64)}


def test_socket_ids_are_two_numbers_each_its_own() -> None:
    made = [socket_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    numbers = [part for each in made for part in each.split(".")]
    assert len(numbers) == 20_000
    assert all(0 <= int(part) <= 10_000_000_000 and str(int(part)) == part for part in numbers)
    # Spread over all of it, and not the halves of one number.
    assert 0.45 < sum(int(part) > 5_000_000_000 for part in numbers) / 20_000 < 0.55


def test_credentials_differ() -> None:
    first, second = app_credentials(), app_credentials()
    assert len(set(first) | set(second)) == 6


def test_a_derived_id_looks_like_a_random_one_and_depends_on_every_part() -> None:
    made = derived_id(b"key", "app", "room")
    assert uuid.UUID(made).version == 4
    assert made == derived_id(b"key", "app", "room")
    others = [derived_id(b"other", "app", "room"), derived_id(b"key", "approom"), derived_id(b"key", "ap", "proom")]
    assert len({made, *others}) == 4
