"""The data folder as a place that one server uses: a lock that the kernel takes back when its process ends."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from sockudo import errors
from sockudo.storage.occupants import Held, Occupant
from sockudo.storage.sqlite_files import make_private_file

__all__ = ["FILE_NAME", "FolderPlace", "occupant_of"]

FILE_NAME: Final = "server.lock"

_LONGEST: Final = 4096


class FolderPlace:
    """Holds ``server.lock`` in the data directory locked; what stands in the file says who does.

    The file stays when its server ends: without the lock it means nothing.
    """

    def __init__(self, data_dir: Path | str, occupant: Occupant) -> None:
        self._path = Path(data_dir) / FILE_NAME
        self._occupant = occupant
        self._descriptor: int | None = None

    @property
    def name(self) -> str:
        return f"the folder {self._path.parent.absolute()} (data_dir)"

    async def claim(self) -> Held | None:
        return await asyncio.to_thread(self._claim)

    async def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _claim(self) -> Held | None:
        if self._descriptor is not None:
            return None
        try:
            make_private_file(self._path)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, self._occupant.text.encode(), 0)
        except OSError as error:
            found = Occupant.read(os.pread(descriptor, _LONGEST, 0))
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return Held(found, certain=True)
            raise _unusable(error) from error
        self._descriptor = descriptor
        return None


def occupant_of(data_dir: Path) -> Occupant | None:
    """Who uses the folder, as far as its file says. Raises `OSError` for a file that cannot be read."""
    try:
        found = Occupant.read((data_dir / FILE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    return None if found is None or found.has_ended else found


def _unusable(error: OSError) -> errors.SockudoError:
    return errors.SERVICE_UNAVAILABLE(
        f"{FILE_NAME} in data_dir cannot be used: {(error.strerror or 'it failed').lower()}"
    )
