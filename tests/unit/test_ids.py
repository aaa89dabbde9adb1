"""Identifiers: random, unique, and of the form that they claim."""

from __future__ import annotations

import os
import uuid

from sockudo.ids import app_credentials, socket_id, unique_id


def test_unique_ids_are_random_uuids() -> None:
    made = [unique_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    parsed = [uuid.UUID(each) for each in made]
    assert [str(each) for each in parsed] == made
    assert {each.version for each in parsed} == {4}
    assert {each.variant for each in parsed} == {uuid.RFC_4122}
    assert {each[19] for each in made} == set("89ab")


def test_a_child_process_makes_others() -> None:
    unique_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, unique_id().encode())
        os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    assert uuid.UUID(theirs)
    assert theirs not in {unique_id() for _ in range(64)}


def test_socket_ids_are_two_numbers() -> None:
    for _ in range(100):
        parts = socket_id().split(".")
        assert len(parts) == 2
        assert all(0 <= int(part) <= 10_000_000_000 and str(int(part)) == part for part in parts)


def test_credentials_differ() -> None:
    first, second = app_credentials(), app_credentials()
    assert len(set(first) | set(second)) == 6
