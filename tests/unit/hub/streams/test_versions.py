"""The rules of messages that change (spec: messages § 2 to 4)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.base.message_records import Change, Latest, Mutation, Version, channel_of_log, is_log, log_of
from sockudo.base.stream_records import Create
from sockudo.hub.streams.versions import (
    Applied,
    VersionSerials,
    applied,
    decode_version,
    encode_version,
    later_serial,
    latest_without,
    made_by,
    serial_of_message,
    valid_serial,
    with_data,
)

SERIAL = f"{100:020d}:a:{1:020d}"


def a_version(data: Any = "text", **fields: Any) -> Version:
    return with_data(Version("create", SERIAL, SERIAL, 100, history_serial=7, name="said", **fields), data)


def a_mutation(action: Change, number: int = 2, at: int = 200, **fields: Any) -> Mutation:
    return Mutation(action, SERIAL, f"{at:020d}:b:{number:020d}", at, **fields)


def done(current: Version, mutation: Mutation) -> Applied:
    outcome = applied(current, mutation)
    assert isinstance(outcome, Applied)
    return outcome


def test_a_log_has_a_name_that_no_channel_has() -> None:
    assert (is_log(log_of("room")), is_log("room")) == (True, False)
    assert (channel_of_log(log_of("room")), channel_of_log("room")) == ("room", None)


def test_serials_sort_in_the_order_of_time() -> None:
    now = [1.5]
    serials = VersionSerials(" edge a ", lambda: now[0])
    first, at_ms = serials.next()
    second, _ = serials.next()
    now[0] = 1.501
    third, _ = serials.next()
    assert (first, at_ms) == ("00000000000000001500:edgea:00000000000000000001", 1500)
    assert first < second < third
    assert VersionSerials("  ", lambda: 1.0).next()[0].split(":")[1] == "node"


def test_a_serial_without_room_is_moved() -> None:
    current, early = f"{500:020d}:z:{9:020d}", f"{400:020d}:a:{1:020d}"
    assert later_serial(early, current) == f"{501:020d}:a:{1:020d}"
    assert later_serial(f"{600:020d}:a:{1:020d}", current) == f"{600:020d}:a:{1:020d}"


@pytest.mark.parametrize(
    ("text", "valid"),
    [("", False), ("a b", False), ("a\u2003b", False), ("a" * 128, True), ("é" * 65, False), (SERIAL, True)],
)
def test_what_can_be_a_serial(text: str, valid: bool) -> None:
    assert valid_serial(text) is valid


def test_fields_are_kept_replaced_and_cleared() -> None:
    current = a_version(extras={"a": 1}, owner="u-1", user_id="u-1", tags={"t": "x"})
    kept = done(current, a_mutation("update", data="new", client_id="u-2")).latest
    assert (kept.name, kept.extras, kept.text, kept.client_id) == ("said", {"a": 1}, "new", "u-2")
    assert (kept.owner, kept.user_id, kept.history_serial) == ("u-1", "u-1", 7)
    empty = done(current, a_mutation("update", name="", extras={"b": 2})).latest
    assert (empty.name, empty.extras, empty.text) == ("", {"b": 2}, "text")
    cleared = done(current, a_mutation("delete", name=None, data=None, extras=None)).latest
    assert (cleared.name, cleared.data, cleared.extras) == (None, None, None)


def test_a_delete_keeps_the_data() -> None:
    outcome = done(a_version(), a_mutation("delete"))
    assert (outcome.latest.action, outcome.latest.data) == ("delete", "text")
    assert outcome.logged == outcome.latest


def test_what_described_the_version_before_does_not_describe_the_next() -> None:
    metadata = msgspec.Raw(b'{"by":"ui"}')
    first = done(a_version(), a_mutation("update", data="x", description="why", metadata=metadata)).latest
    second = done(first, a_mutation("append", 3, data="y")).latest
    assert (second.description, bytes(second.metadata), second.client_id) == (None, b"", None)


def test_an_append_is_logged_as_its_fragment() -> None:
    outcome = done(a_version("né"), a_mutation("append", data="w"))
    assert (outcome.latest.text, outcome.logged.text) == ("néw", "w")
    assert (outcome.latest.length, outcome.logged.length) == (3, 3)
    assert done(a_version(None), a_mutation("append", data="w")).latest.text == "w"


def test_what_is_refused() -> None:
    assert applied(None, a_mutation("append", data="x")) == "unknown"
    assert applied(a_version(msgspec.Raw(b"{}")), a_mutation("append", data="x")) == "not_text"
    own = a_version(owner="u-1")
    assert applied(own, a_mutation("update", data="x", owner="u-2")) == "not_owner"
    assert applied(a_version(), a_mutation("update", data="x", owner=None)) == "not_owner"
    assert isinstance(applied(own, a_mutation("update", data="x", owner="u-1")), Applied)


def test_data_may_become_so_long_and_no_longer() -> None:
    full = a_version("é" * 5)
    assert full.size == 10
    assert done(full, a_mutation("append", data="é", most_bytes=12)).logged.size == 12
    assert applied(full, a_mutation("append", data="é", most_bytes=11)) == "too_long"
    assert applied(full, a_mutation("update", data="x" * 12, most_bytes=11)) == "too_long"
    assert applied(full, a_mutation("update", data=msgspec.Raw(b"[1,2,3]"), most_bytes=6)) == "too_long"
    assert done(full, a_mutation("update", data="x" * 11, most_bytes=11)).latest.size == 11
    assert done(full, a_mutation("delete", most_bytes=1)).latest.size == 10
    assert done(full, a_mutation("delete", data=None, most_bytes=1)).latest.size == 0


def test_a_message_may_have_so_many_appends() -> None:
    current = a_version()
    for _ in range(2):
        current = done(current, a_mutation("append", data="x", most_appends=2)).latest
    assert current.appends == 2
    assert applied(current, a_mutation("append", data="x", most_appends=2)) == "too_often"
    current = done(current, a_mutation("update", data="", most_appends=2)).latest
    assert applied(current, a_mutation("append", data="x", most_appends=2)) == "too_often"
    assert done(current, a_mutation("append", data="x")).latest.appends == 3


def test_a_version_is_known_again_at_any_time() -> None:
    create = Create(a_version(), "room")
    assert made_by(a_version("else"), create)
    mutation = a_mutation("append", data="x")
    late = done(a_version(), a_mutation("append", data="x", at=1)).latest
    assert made_by(late, mutation)
    assert not made_by(late, a_mutation("append", 3, data="x"))
    assert not made_by(a_version(), mutation)


def test_a_row_of_the_history_names_its_message() -> None:
    assert serial_of_message(b'{"event":"x","message_serial":"m"}') == "m"
    assert serial_of_message(b'{"event":"x"}') is None
    assert serial_of_message(b"none") is None


VALUES = st.one_of(st.none(), st.text(max_size=20), st.just(msgspec.Raw(b'{"a":[1]}')))
CHANGES = st.lists(
    st.one_of(
        st.builds(dict, action=st.just("append"), data=st.text(min_size=1, max_size=20)),
        st.builds(
            dict,
            action=st.sampled_from(["update", "delete"]),
            data=st.one_of(st.just(msgspec.UNSET), VALUES),
            name=st.one_of(st.just(msgspec.UNSET), st.none(), st.text(max_size=5)),
            extras=st.sampled_from([msgspec.UNSET, None, {"a": 1}]),
        ),
    ),
    max_size=12,
)


def _bytes_of(data: Any) -> bytes:
    return data.encode(errors="surrogatepass") if isinstance(data, str) else bytes(data or b"")


@given(VALUES, CHANGES, st.data())
def test_the_log_makes_the_message_again(data: Any, changes: list[dict[str, Any]], choice: st.DataObject) -> None:
    """At every version: from the rows, without those that are taken back, and through what is stored of them."""
    current = a_version(data)
    logged, states = [Latest(1, current)], [Latest(1, current)]
    for number, change in enumerate(changes, 2):
        outcome = applied(current, a_mutation(number=number, at=choice.draw(st.integers(50, 250)), **change))
        if not isinstance(outcome, Applied):
            assert (outcome, change["action"]) == ("not_text", "append")
            continue
        assert outcome.latest.version_serial > current.version_serial
        assert (outcome.latest.message_serial, outcome.latest.history_serial) == (SERIAL, 7)
        assert outcome.latest.length == len(outcome.latest.text or "")
        assert outcome.latest.size == len(_bytes_of(outcome.latest.data))
        current = decode_version(encode_version(outcome.latest))
        logged.append(Latest(len(logged) + 1, decode_version(encode_version(outcome.logged))))
        states.append(Latest(len(states) + 1, current))
    kept = choice.draw(st.integers(1, len(logged)))
    rows = logged[:kept]
    whole = max(number for number, row in enumerate(rows) if row.version.action != "append")
    again = latest_without(rows[whole:][::-1], states[-1])
    assert (again.serial, encode_version(again.version)) == (kept, encode_version(states[kept - 1].version))
