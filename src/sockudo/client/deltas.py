"""Messages that come as the difference from the one before, put together again
(spec: filters-deltas § 2.6, 2.9 and 2.13)."""

from __future__ import annotations

import binascii
import json
import re
from dataclasses import replace
from typing import Final

from sockudo.client import vcdiff
from sockudo.client.events import Event, read_event
from sockudo.protocol.delta import fossil

__all__ = ["Deltas", "LostBaseError"]

# Metadata are the last members of a frame, without spaces.
_METADATA: Final = re.compile(r',"__delta_seq":([0-9]+)(?:,"__conflation_key":("(?:[^"\\]|\\.)*"))?\}\Z')
_MAX_GROUPS: Final = 1000
_DECODERS: Final = {"fossil": fossil.decode, "xdelta3": vcdiff.decode}


class LostBaseError(Exception):
    """A difference from a message that is not here; ``channel`` is the one to ask anew for whole messages of."""

    def __init__(self, channel: str, reason: str) -> None:
        super().__init__(f"A message of {channel} could not be put together: {reason}")
        self.channel = channel


class Deltas:
    """The last message of each channel and conflation key on one connection; begins anew with the next one.

    ``reduced``: the connection's format is a binary one, where differences are made of event, channel and data alone
    (spec: filters-deltas § 2.13), so that what came as one has no tags.
    """

    def __init__(self, *, reduced: bool = False) -> None:
        self._reduced = reduced
        self._bases: dict[tuple[str, str | None], tuple[int, str]] = {}
        self._algorithm = "fossil"

    def read(self, event: Event) -> Event:
        """The event itself, or the one that it stands for; raises `LostBaseError` when its base is missing."""
        if event.event == "sockudo:delta" and event.channel is not None:
            return self._whole(event, event.channel)
        if event.event == "sockudo:delta_compression_enabled" and isinstance(event.data, dict):
            self._algorithm = str(event.data.get("algorithm") or self._algorithm)
        elif event.channel is not None and (found := _METADATA.search(event.raw)) is not None:
            key = None if found[2] is None else json.loads(found[2])
            self._keep(event.channel, key, int(found[1]), event.raw[: found.start()] + "}")
        return event

    def _keep(self, channel: str, key: str | None, number: int, text: str) -> None:
        group = (channel, key)
        self._bases.pop(group, None)
        self._bases[group] = (number, text)
        if len(self._bases) > _MAX_GROUPS:
            del self._bases[next(iter(self._bases))]

    def _whole(self, event: Event, channel: str) -> Event:
        data = event.data if isinstance(event.data, dict) else {}
        key, number = data.get("conflation_key"), data.get("seq")
        base_number, base = self._bases.get((channel, key), (None, ""))
        if base_number is None or base_number != data.get("base_index") or not isinstance(number, int):
            raise LostBaseError(channel, "the message that it is the difference from is not here")
        decode = _DECODERS.get(str(data.get("algorithm") or self._algorithm))
        if decode is None:
            raise LostBaseError(channel, f"the format '{data.get('algorithm')}' is not known")
        try:
            text = decode(base.encode(), binascii.a2b_base64(str(data.get("delta")))).decode()
        except ValueError as error:
            raise LostBaseError(channel, str(error)) from None
        self._keep(channel, key, number, text)
        whole = read_event(text)
        if self._reduced:
            # The text has no ids, which are fields of the difference.
            whole = replace(whole, message_id=event.message_id, stream_id=event.stream_id, serial=event.serial)
        return whole
