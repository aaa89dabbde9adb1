"""One system call for the deliveries of a whole fan-out: Linux's io_uring, as far as a server that writes needs it.

A ``send()`` for each subscriber costs the way into the kernel and back, and in Python the call itself, each time. Here
the same sends lie in memory that is shared with the kernel, and one call does them all: a publish to a thousand
subscribers takes about two thirds of the CPU.

Everything is done when the call returns, and nothing ever waits: each send is ``MSG_DONTWAIT``, so the kernel keeps no
request. It answers for the sends alone that did not take all their bytes (``IOSQE_CQE_SKIP_SUCCESS``; with
``MSG_WAITALL`` a part is no success). The names and numbers are those of Linux's ``io_uring.h``, version 5.18.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import socket
import sys
from array import array
from typing import Final, Literal

import structlog

__all__ = ["NoRingError", "SendRing", "open_ring"]

_log = structlog.get_logger("sockudo.edge")

# Keeps the interpreter's lock, as `sockudo.edge.direct` does, and for the same reason.
_syscall: Final = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_IO_URING_SETUP: Final = 425
_IO_URING_ENTER: Final = 426

_SETUP_SUBMIT_ALL: Final = 1 << 7
_FEAT_SINGLE_MMAP: Final = 1 << 0
_FEAT_CQE_SKIP: Final = 1 << 11
_OFFSET_OF_SQES: Final = 0x10000000

_OP_SEND: Final = 26
_CQE_SKIP_SUCCESS: Final = 1 << 6
_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_WAITALL | socket.MSG_NOSIGNAL
_SQE_SIZE: Final = 64
_CQE_SIZE: Final = 16
_UINT32: Final = 0xFFFFFFFF

# Sends in one call: a few milliseconds, within which nothing else is done.
_ENTRIES: Final = 512


class NoRingError(Exception):
    """This system has no io_uring for us; the text names the reason."""


class _Offsets(ctypes.Structure):
    """``struct io_sqring_offsets`` and ``io_cqring_offsets``: they differ in what the last three mean."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("head", "tail", "mask", "entries", "flags_or_overflow")),
        *((name, ctypes.c_uint32) for name in ("dropped_or_cqes", "array_or_flags", "reserved")),
        ("user_address", ctypes.c_uint64),
    ]


class _Parameters(ctypes.Structure):
    """``struct io_uring_params``."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("sq_entries", "cq_entries", "flags", "sq_cpu", "sq_idle", "features")),
        ("wq_descriptor", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
        ("sq", _Offsets),
        ("cq", _Offsets),
    ]


class SendRing:
    """Writes the same bytes to many sockets; a `sockudo.hub.BulkWriter`. For one thread."""

    def __init__(self, entries: int = _ENTRIES) -> None:
        """Raises `NoRingError`. ``entries`` is a power of two: the most sends that one call does."""
        if sys.platform != "linux":
            raise NoRingError("only Linux has it")
        self._entries = entries
        self._usable = True
        # The same eight bytes twice: what points to the data, and as a number. A cast takes ten times as long.
        self._pointer = ctypes.c_char_p()
        self._address = ctypes.c_size_t.from_buffer(self._pointer)
        self._owned = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            try:
                self._map(self._set_up())
                self._prepare()
                self._prove()
            except OSError as problem:
                raise NoRingError(problem.strerror or "it failed") from problem
            undo.pop_all()

    # ---- making it ----

    def _set_up(self) -> _Parameters:
        parameters = _Parameters(flags=_SETUP_SUBMIT_ALL)
        self._descriptor = _syscall(_IO_URING_SETUP, self._entries, ctypes.byref(parameters))
        if self._descriptor < 0:
            number = ctypes.get_errno()
            reasons = {
                errno.ENOSYS: "the kernel has none, or a security profile hides it",
                errno.EPERM: "it is forbidden here: kernel.io_uring_disabled, or a security profile",
                errno.EINVAL: "the kernel is older than 5.18",
            }
            raise NoRingError(reasons.get(number, os.strerror(number)))
        self._owned.callback(os.close, self._descriptor)
        wanted = _FEAT_SINGLE_MMAP | _FEAT_CQE_SKIP
        if parameters.features & wanted != wanted:
            raise NoRingError("the kernel is older than 5.18")
        return parameters

    def _map(self, parameters: _Parameters) -> None:
        sq, cq = parameters.sq, parameters.cq
        end_of_sq = sq.array_or_flags + parameters.sq_entries * 4
        end_of_cq = cq.dropped_or_cqes + parameters.cq_entries * _CQE_SIZE
        rings = self._memory(max(end_of_sq, end_of_cq), 0)
        sqes = self._memory(parameters.sq_entries * _SQE_SIZE, _OFFSET_OF_SQES)
        self._words = self._view(rings, "I")
        self._sq_head, self._sq_tail = sq.head // 4, sq.tail // 4
        self._cq_head, self._cq_tail = cq.head // 4, cq.tail // 4
        self._cq_mask = parameters.cq_entries - 1
        self._first_cqe = cq.dropped_or_cqes
        self._results, self._wide = self._view(rings, "i"), self._view(rings, "Q")
        # One column for each field of the SQEs that is not always the same: fd, addr and len.
        self._fds = self._column(sqes, "i", 4)
        self._addresses = self._column(sqes, "Q", 16)
        self._sizes = self._column(sqes, "I", 24)
        self._sqes = sqes
        # Which SQE stands where: each in its own place, for ever.
        places = sq.array_or_flags // 4
        self._words[places : places + self._entries] = array("I", range(self._entries))

    def _memory(self, size: int, offset: int) -> memoryview:
        access = mmap.PROT_READ | mmap.PROT_WRITE
        shared = mmap.MAP_SHARED | mmap.MAP_POPULATE
        mapped = mmap.mmap(self._descriptor, size, flags=shared, prot=access, offset=offset)
        self._owned.callback(mapped.close)
        return self._own(memoryview(mapped))

    def _view(self, memory: memoryview, kind: Literal["B", "I", "Q", "i"]) -> memoryview:
        return self._own(memory[: len(memory) // 8 * 8].cast(kind))

    def _column(self, sqes: memoryview, kind: Literal["B", "I", "Q", "i"], at: int) -> memoryview:
        whole = self._view(sqes, kind)
        return self._own(whole[at // whole.itemsize :: _SQE_SIZE // whole.itemsize])

    def _own(self, view: memoryview) -> memoryview:
        self._owned.callback(view.release)
        return view

    def _prepare(self) -> None:
        """Everything in the SQEs that never changes."""
        with self._column(self._sqes, "B", 0) as opcodes, self._column(self._sqes, "B", 1) as flags:
            opcodes[:] = array("B", [_OP_SEND]) * self._entries
            flags[:] = array("B", [_CQE_SKIP_SUCCESS]) * self._entries
        with self._column(self._sqes, "I", 28) as message_flags, self._column(self._sqes, "Q", 32) as user_data:
            message_flags[:] = array("I", [_FLAGS]) * self._entries
            user_data[:] = array("Q", range(self._entries))

    def _prove(self) -> None:
        """Tries what everything depends on: that the kernel reports, and rightly, how much a full socket has taken."""
        data = bytes(range(256)) * 4096
        pairs = [socket.socketpair() for _ in range(2)]
        with contextlib.ExitStack() as stack:
            for one in (one for pair in pairs for one in pair):
                stack.enter_context(one).setblocking(False)
            (full, reader), (well, listener) = pairs
            some, few = full.fileno(), well.fileno()
            refused = self.write(array("i", [some, -1, some]), data)
            taken = [size for _, size in refused]
            if [position for position, _ in refused] != [0, 1, 2] or not 0 < taken[0] < len(data) or any(taken[1:]):
                raise NoRingError("the kernel does not report how much a socket has taken")
            arrived = b"".join(iter(lambda: _read(reader), b""))
            if self.write(array("i", [few, some]), b"x") or _read(listener) != b"x" or arrived != data[: taken[0]]:
                raise NoRingError("the kernel does not send what it says")

    # ---- using it ----

    def write(self, descriptors: array[int], data: bytes) -> list[tuple[int, int]]:
        """See `sockudo.hub.BulkWriter`."""
        refused: list[tuple[int, int]] = []
        self._pointer.value = data
        address = self._address.value
        count, size, done = len(descriptors), len(data), 0
        while done < count:
            if not self._usable:
                return refused + [(position, 0) for position in range(done, count)]
            slot = self._words[self._sq_tail] & (self._entries - 1)
            # At most up to the end of the ring; what is left over begins it anew.
            part = min(count - done, self._entries - slot)
            places = slice(slot, slot + part)
            self._fds[places] = descriptors[done : done + part]
            self._addresses[places] = array("Q", [address]) * part
            self._sizes[places] = array("I", [size]) * part
            submitted = self._submit(part)
            self._collect(refused, done - slot, size)
            refused.extend((position, 0) for position in range(done + submitted, done + part))
            done += part
        return refused

    def _submit(self, count: int) -> int:
        """Has the next SQEs done, and returns how many were; the kernel may be short of memory."""
        words = self._words
        words[self._sq_tail] = (words[self._sq_tail] + count) & _UINT32
        submitted: int = _syscall(_IO_URING_ENTER, self._descriptor, count, 0, 0, 0, 0)
        if submitted == count:
            return count
        # What was not taken must not be done later, together with something else.
        words[self._sq_tail] = words[self._sq_head]
        if submitted < 0:
            number, submitted = ctypes.get_errno(), 0
            if number not in (errno.EAGAIN, errno.EBUSY, errno.ENOMEM, errno.EINTR):
                self._usable = False
                _log.error("no io_uring any more: each delivery is a system call", reason=os.strerror(number))
        return submitted

    def _collect(self, refused: list[tuple[int, int]], first: int, size: int) -> None:
        """Adds the kernel's results of sends that did not take everything; ``first`` is what slot 0 stands for."""
        words = self._words
        head, tail = words[self._cq_head], words[self._cq_tail]
        while head != tail:
            at = self._first_cqe + (head & self._cq_mask) * _CQE_SIZE
            slot, taken = self._wide[at // 8], max(self._results[at // 4 + 2], 0)
            if taken != size:
                refused.append((first + slot, taken))
            head = (head + 1) & _UINT32
        words[self._cq_head] = head

    def close(self) -> None:
        """Gives the memory and the descriptors back; nothing is written any more."""
        self._usable = False
        self._owned.close()


def open_ring() -> SendRing | None:
    """The ring of a server, or None where there is none; the log names the reason."""
    try:
        ring = SendRing()
    except NoRingError as reason:
        _log.info("no io_uring: each delivery is a system call", reason=str(reason))
        return None
    _log.info("deliveries through io_uring")
    return ring


def _read(peer: socket.socket) -> bytes:
    try:
        return peer.recv(1 << 20)
    except BlockingIOError:
        return b""
