"""Names asked for at a broker and the waits that its confirmations end."""

from __future__ import annotations

from sockudo.drivers.carriers.confirmations import Confirmations


async def test_a_name_is_asked_for_once_and_all_who_wait_go_on() -> None:
    names = Confirmations()
    first, second = names.ask("a", connected=True), names.ask("a", connected=True)
    assert names.take_unasked() == ["a"]
    assert names.take_unasked() == []
    names.confirm(["a"])
    await first
    await second


async def test_a_confirmed_name_is_not_asked_for_again_while_connected() -> None:
    names = Confirmations()
    names.ask("a", connected=True)
    names.take_unasked()
    names.confirm(["a"])
    await names.ask("a", connected=True)
    assert names.take_unasked() == []


async def test_a_new_connection_has_confirmed_nothing() -> None:
    names = Confirmations()
    names.ask("a", connected=True)
    names.take_unasked()
    names.confirm(["a"])
    waits = names.ask("a", connected=False)
    names.begin(["b", "a"])
    assert names.take_unasked() == ["b", "a"]
    names.confirm(["b", "a"])
    await waits


async def test_what_is_forgotten_before_it_was_asked_for_needs_no_unsubscribe() -> None:
    names = Confirmations()
    waits = names.ask("a", connected=True)
    assert names.forget("a") is False
    await waits
    assert names.take_unasked() == []
    names.ask("b", connected=True)
    names.take_unasked()
    assert names.forget("b") is True
