"""io_uring refused, short of memory, broken or untruthful; `test_bulk_writers` has what it writes when all is well."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sockudo.edge import ring as module
from sockudo.edge.ring import NoRingError, SendRing
from support.io_uring import needs_io_uring
from unit.edge.socket_pairs import Pairs

FEW = 8
"""Sends that one call does here, so that it takes several."""


pytestmark = needs_io_uring


@pytest.fixture
def ring(stack: contextlib.ExitStack) -> SendRing:
    made = SendRing(FEW)
    stack.callback(made.close)
    return made


def test_closing_gives_everything_back(stack: contextlib.ExitStack) -> None:
    pairs = Pairs(stack, 3)
    before, mapped = os.listdir("/proc/self/fd"), Path("/proc/self/maps").read_text().count("io_uring")
    ring = SendRing(FEW)
    assert len(os.listdir("/proc/self/fd")) > len(before)
    ring.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert Path("/proc/self/maps").read_text().count("io_uring") == mapped
    assert ring.write(pairs.descriptors, b"late") == [(0, 0), (1, 0), (2, 0)]
    ring.close()


def test_a_ring_that_breaks_takes_nothing_any_more_and_says_so_once(
    stack: contextlib.ExitStack, ring: SendRing
) -> None:
    pairs = Pairs(stack, 20)
    other = stack.enter_context(socket.socket())
    os.dup2(other.fileno(), ring._descriptor)
    with capture_logs() as logs:
        for _ in range(2):
            assert ring.write(pairs.descriptors, b"news") == [(number, 0) for number in range(20)]
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "no io_uring any more: each delivery is a system call")
    ]
    assert all(pairs.read(number) == b"" for number in range(20))


def test_what_the_kernel_does_not_take_is_not_sent_later(
    stack: contextlib.ExitStack, ring: SendRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, kernel = Pairs(stack, 6), module._syscall

    def short(number: int, descriptor: int, count: int, *more: int) -> int:
        return int(kernel(number, descriptor, count - 2, *more))

    monkeypatch.setattr(module, "_syscall", short)
    refused = dict(ring.write(pairs.descriptors, b"one"))
    assert refused == dict.fromkeys(refused, 0)
    assert 0 < len(refused) < 6
    monkeypatch.undo()
    assert ring.write(pairs.descriptors, b"two") == []
    for number in range(6):
        assert pairs.read(number) == (b"two" if number in refused else b"onetwo")


def test_a_moment_without_memory_is_no_reason_to_give_up(
    stack: contextlib.ExitStack, ring: SendRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = Pairs(stack, 6)

    def out_of_memory(*_: int) -> int:
        ctypes.set_errno(errno.ENOMEM)
        return -1

    monkeypatch.setattr(module, "_syscall", out_of_memory)
    assert ring.write(pairs.descriptors, b"one") == [(number, 0) for number in range(6)]
    monkeypatch.undo()
    assert ring.write(pairs.descriptors, b"two") == []
    assert [pairs.read(number) for number in range(6)] == [b"two"] * 6


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSYS, "the kernel has none, or a security profile hides it"),
        (errno.EPERM, "it is forbidden here: kernel.io_uring_disabled, or a security profile"),
        (errno.EINVAL, "the kernel is older than 5.18"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_system_without_it_says_why(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    def refusing(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(module, "_syscall", refusing)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NoRingError) as refusal:
        SendRing(FEW)
    assert str(refusal.value) == reason
    assert os.listdir("/proc/self/fd") == before


def test_memory_that_cannot_be_shared_with_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(module.mmap, "mmap", refusing)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NoRingError, match="Operation not permitted"):
        SendRing(FEW)
    assert os.listdir("/proc/self/fd") == before


def test_a_kernel_that_does_not_tell_of_a_part_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without it a part counts as success, of which the kernel says nothing.
    monkeypatch.setattr(module, "_FLAGS", module._FLAGS & ~socket.MSG_WAITALL)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NoRingError, match="does not report how much"):
        SendRing(FEW)
    assert os.listdir("/proc/self/fd") == before


def test_another_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "darwin")
    with pytest.raises(NoRingError, match="only Linux"):
        SendRing()
