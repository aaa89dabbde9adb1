"""The order of the checks, what a failed one makes pointless, and a check that does not come to an end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sockudo.client.failures import UnreachableError
from sockudo.doctor import Check, Deployment, Finding, Options, checks_with, examination, examine
from sockudo.doctor.finding import not_checked, ok, problem, warning
from sockudo.webhooks.doctor import CHECKS

DEPLOYMENT = Deployment("https://ws.test")


def saying(name: str, finding: Finding | Exception, *needs: str) -> Check:
    async def run(_: Deployment) -> Sequence[Finding]:
        if isinstance(finding, Exception):
            raise finding
        return [finding]

    return Check(name, f"about {name}", run, needs)


async def states(*checks: Check) -> dict[str, str]:
    found = [each async for each in examine(DEPLOYMENT, checks)]
    return {each.check: each.state for each in found}


async def test_what_needs_a_failed_check_is_left_out_and_what_needs_that_too() -> None:
    checks = (
        saying("port", problem("closed")),
        saying("server", ok("never"), "port"),
        saying("publish", ok("never"), "server"),
        saying("disk", ok("room")),
    )
    began: list[str] = []
    found = [each async for each in examine(DEPLOYMENT, checks, lambda check: began.append(check.name))]
    assert [(each.check, each.state) for each in found] == [
        ("port", "problem"),
        ("server", "not_checked"),
        ("publish", "not_checked"),
        ("disk", "ok"),
    ]
    assert found[2].seen == "because of the problem with port"
    assert began == ["port", "disk"]


@pytest.mark.parametrize("finding", [warning("so so"), not_checked("no"), ok("yes")])
async def test_only_problems_stop_others(finding: Finding) -> None:
    found = await states(saying("a", finding), saying("b", ok("yes"), "a"))
    assert found["b"] == "ok"


async def test_a_check_that_was_not_asked_for_counts_as_passed() -> None:
    assert await states(saying("b", ok("yes"), "a")) == {"b": "ok"}


async def test_no_answer_is_a_problem_and_a_defect_is_not_hidden() -> None:
    gone = UnreachableError("https://ws.test", "Connection reset by peer")
    assert await states(saying("a", gone)) == {"a": "problem"}
    with pytest.raises(ZeroDivisionError):
        await states(saying("a", ZeroDivisionError()))


async def test_a_check_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def hang(_: Deployment) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(examination, "_LONGEST", 0.01)
    deployment = Deployment("https://ws.test", options=Options(idle=0.0))
    (found,) = [each async for each in examine(deployment, [Check("a", "hangs", hang)])]
    assert found.state == "problem"
    assert "did not end" in found.seen


def test_needs_are_checks_that_come_before() -> None:
    seen: set[str] = set()
    for check in checks_with(CHECKS):
        assert set(check.needs) <= seen, check.name
        assert check.name not in seen
        seen.add(check.name)


@pytest.mark.parametrize(
    ("url", "host", "port", "secure", "loopback"),
    [
        ("https://ws.test", "ws.test", 443, True, False),
        ("http://127.0.0.1:6001", "127.0.0.1", 6001, False, True),
        ("http://[::1]", "::1", 80, False, True),
    ],
)
def test_where_a_deployment_is(url: str, host: str, port: int, secure: bool, loopback: bool) -> None:
    at = Deployment(url)
    assert (at.host, at.port, at.secure, at.on_loopback) == (host, port, secure, loopback)


async def test_which_addresses_are_of_this_machine() -> None:
    elsewhere, here = Deployment("http://192.0.2.1:6001"), Deployment("http://127.0.0.1")
    await elsewhere.locate()
    assert [address for _, address in elsewhere.addresses] == ["192.0.2.1"]
    assert elsewhere.is_here() is False
    assert here.is_here() is True


async def test_a_name_that_leads_nowhere() -> None:
    nowhere = Deployment("http://nowhere.invalid")
    (found,) = [each async for each in examine(nowhere, [check for check in checks_with(()) if check.name == "port"])]
    assert found.state == "problem"
    assert "nowhere.invalid leads nowhere" in found.seen
