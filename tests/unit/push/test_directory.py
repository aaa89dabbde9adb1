"""Devices that are registered at the same time (spec: push § 2.1)."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import json

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.access import Access, DeviceTokens, read_access
from sockudo.push.bodies import device_from
from sockudo.push.directory import Registrations
from sockudo.push.endpoints import EndpointRules
from sockudo.push.stores.sql import MemoryPushStore
from unit.push.nodes import device_body

ADMIN = Access(admin=True)
DEVICE = device_from(json.encode(device_body()), "app")


async def test_of_many_who_register_a_device_at_once_one_gets_the_token_that_counts() -> None:
    store, tokens = MemoryPushStore(), DeviceTokens(threads=4)
    registrations = Registrations(store, tokens, EndpointRules(lambda _: True), lambda: 1)
    answers = await asyncio.gather(*(registrations.register(ADMIN, DEVICE) for _ in range(8)))
    told = [answer["deviceIdentityToken"] for answer in answers if "deviceIdentityToken" in answer]
    assert len(told) == 1
    assert [answer["change"] for answer in answers].count("inserted") == 1
    assert (await registrations.own(Access(admin=False, token=told[0]), "app", "tab-1")).id == "tab-1"
    tokens.close()


async def test_an_update_of_a_device_does_not_bring_a_rotated_token_back() -> None:
    store, tokens = MemoryPushStore(), DeviceTokens()
    registrations = Registrations(store, tokens, EndpointRules(lambda _: True), lambda: 1)
    first = (await registrations.register(ADMIN, DEVICE))["deviceIdentityToken"]
    own = Access(admin=False, token=first)
    rotated, _ = await asyncio.gather(
        registrations.register(ADMIN, DEVICE, rotate=True), registrations.register(own, DEVICE)
    )
    assert await registrations.own(Access(admin=False, token=rotated["deviceIdentityToken"]), "app", "tab-1")
    with pytest.raises(SockudoError) as caught:
        await registrations.own(own, "app", "tab-1")
    assert caught.value.spec is errors.DEVICE_TOKEN_WRONG
    tokens.close()


@pytest.mark.parametrize("capability", [None, "push-admin"])
def test_who_is_a_backend(capability: str | None) -> None:
    assert read_access(capability, "t", "Basic x") == Access(admin=True)


@pytest.mark.parametrize("capability", ["", "PUSH-ADMIN", "push-admin ", "admin"])
def test_capabilities_that_do_not_exist(capability: str) -> None:
    with pytest.raises(SockudoError) as caught:
        read_access(capability, None, None)
    assert caught.value.spec is errors.PUSH_CAPABILITY_UNKNOWN
