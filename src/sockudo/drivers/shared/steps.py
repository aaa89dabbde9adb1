"""The steps of a cache: those that come while others are carried out are carried out next, together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

from sockudo import errors
from sockudo.cluster.stores import Claiming, Outcome, StoredEvent
from sockudo.storage.group_commit import Bounds, Call, GroupCommit

__all__ = ["CACHE", "LIMITS", "CacheSteps", "Step"]

CACHE: Final = "The cache"
LIMITS: Final = "The store of limits"

# In bytes, as are the weights of steps; a step costs about so much beside its value.
_BOUNDS: Final = Bounds(group=1024 * 1024, waiting=32 * 1024 * 1024, calls=1000)
_STEP_BYTES: Final = 256


class Step(NamedTuple):
    """``one`` and ``other`` are mark and name of a claim, or stream id and serial of an event."""

    what: Literal["claim", "done", "free", "put", "get"]
    key: str
    one: bytes | str = ""
    other: str = ""
    ms: int = 0
    value: bytes = b""


class CacheSteps:
    """The calls of a `CacheStore`, as steps that ``carry_out`` does in their order.

    It answers a claim with its outcome, as text, and a reply; a question with the bytes and the milliseconds left, or
    with nothing where there is no event; and all else with nothing.
    """

    def __init__(self, carry_out: Callable[[Sequence[Step]], Awaitable[Sequence[Sequence[Any]]]]) -> None:
        self._carry_out = carry_out
        self._group = GroupCommit(self._do_all, _BOUNDS, _refusal, name="the cache", withdraw=_unclaimed)

    async def close(self) -> None:
        """Returns once every call has its answer."""
        await self._group.close()

    async def claim(self, key: bytes, mark: bytes, name: str, lease: float) -> Claiming:
        found: tuple[Outcome, bytes] = await self._do(Step("claim", f"key:{key.hex()}", mark, name, _ms(lease)))
        return Claiming(found[0], bytes(found[1]))

    async def end(self, key: bytes, mark: bytes, name: str, reply: bytes | None, ttl: float) -> None:
        what: Literal["done", "free"] = "free" if reply is None else "done"
        await self._do(Step(what, f"key:{key.hex()}", mark, name, _ms(ttl), reply or b""))

    async def put(self, key: bytes, event: StoredEvent, ttl: float) -> None:
        place = event.stream_id, str(event.serial)
        await self._do(Step("put", f"event:{key.hex()}", *place, _ms(ttl), event.value))

    async def get(self, key: bytes) -> tuple[bytes, float] | None:
        found = await self._do(Step("get", f"event:{key.hex()}"))
        return (bytes(found[0]), found[1] / 1000) if found else None

    async def _do(self, step: Step) -> Any:
        return await self._group.do(step, _STEP_BYTES + len(step.value))

    async def _do_all(self, calls: Sequence[Call]) -> Sequence[Any]:
        return await self._carry_out([call.request for call in calls])


def _unclaimed(step: Step, result: Any) -> Sequence[Step]:
    """What undoes a claim that no caller waits for any more."""
    claimed = step.what == "claim" and result[0] == "claimed"
    return [step._replace(what="free")] if claimed else ()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _refusal(text: str) -> errors.SockudoError:
    return errors.SERVICE_UNAVAILABLE(f"{CACHE} {text}", retry_after=1)
