"""The channels that are recoverable without a store, and which of them this node has subscribers of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from sockudo.apps.policies import RecoveryPolicy, StreamPolicies
from sockudo.base.stream_records import Position
from sockudo.cluster.items import channel_topic, user_topic
from sockudo.history import Failed
from sockudo.history.heads import StreamKey
from sockudo.hub import Hub
from sockudo.protocol.frames import INTERRUPTED, Frame
from sockudo.protocol.names import META, USER_CHANNEL_PREFIX, WILDCARD, user_of

__all__ = ["RecoverableChannels", "interruption"]


_SWITCHED: Final = ("stream_reset", "stream_id_mismatch")
_HOLE: Final = ("position_expired", "hot_replay_expired_and_durable_history_disabled")

_encode = msgspec.json.Encoder().encode


class RecoverableChannels:
    """``policies`` are those of an app by its id."""

    def __init__(self, hub: Hub, policies: Callable[[str], StreamPolicies | None]) -> None:
        self._hub = hub
        self._policies = policies

    def key_of(self, topic: str) -> StreamKey | None:
        """The channel that a topic is about; None for a topic of another kind."""
        for app_id in (state.app_id for state in self._hub.states()):
            for prefix, before in ((channel_topic(app_id, ""), ""), (user_topic(app_id, ""), USER_CHANNEL_PREFIX)):
                if topic.startswith(prefix):
                    return (app_id, before + topic.removeprefix(prefix))
        return None

    def policy(self, key: StreamKey) -> RecoveryPolicy | None:
        """How a channel without a store is kept; None for every other one."""
        policies = self._policies(key[0])
        policy = None if policies is None else policies.of(key[1])
        return None if policy is None or policy.history is not None else policy.recovery

    def __iter__(self) -> Iterator[StreamKey]:
        """Those that this node has subscribers of."""
        for state in self._hub.states():
            names = [channel.name for channel in state.everything() if channel.kind not in (META, WILDCARD)]
            names += [USER_CHANNEL_PREFIX + user_id for user_id in state.user_ids()]
            yield from ((state.app_id, name) for name in names if self.policy((state.app_id, name)) is not None)

    def kept(self, *, held: bool) -> list[StreamKey]:
        """Those of which messages are kept here: of streams that are numbered here, or of the others."""
        keys = [(state.app_id, name) for state in self._hub.states() for name in state.replay.channels(held=held)]
        return [key for key in keys if self.policy(key) is not None]

    def is_heard(self, key: StreamKey) -> bool:
        """Whether this node has subscribers of the channel."""
        state, user_id = self._hub.find(key[0]), user_of(key[1])
        if state is None:
            return False
        if user_id is not None:
            return any(True for _ in state.connections_signed_in(user_id))
        return state.find(key[1]) is not None


def interruption(channel: str, before: Position, after: Position) -> Frame:
    """The frame by which clients learn that a channel does not go on behind ``before``, where they are."""
    code, reason = _SWITCHED if before.stream_id != after.stream_id else _HOLE
    failed = Failed(code, reason, before.stream_id, after.stream_id, None, after.serial or None)
    return Frame(INTERRUPTED, channel, _encode({"channel": channel, **failed._asdict()}).decode())
