"""The loads: what each asks of the generator, and which bare floor belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["GENERATOR_LOADS", "LOADS", "Load"]


@dataclass(frozen=True)
class Load:
    """One load.

    ``arguments`` go to the generator, beside the time to measure when ``timed``, which is ``stretch`` times the
    usual where little CPU time passes. ``floors`` are runs of bare
    ``send()``: a suffix of the load's name to (sockets, messages per send); those of ``-uring`` are many sends to a
    system call. Loads of one ``batch`` share a server
    that is fresh for the batch. A ``scenario`` is driven by a module of its own and has a fresh server to itself.
    """

    name: str
    title: str
    arguments: tuple[str, ...] = ()
    timed: bool = True
    stretch: int = 1
    floors: dict[str, tuple[int, int]] = field(default_factory=dict)
    batch: int = 1
    scenario: bool = False


def _fan(window: int) -> Load:
    floors = {"": (1000, 1), "-uring": (1000, 1)} | ({"-coalesced": (1000, window)} if window > 1 else {})
    title = f"1,000 subscribers, {window} in flight"
    return Load(f"fan-{window}", title, ("-c", "1000", "-w", str(window)), floors=floors)


# The connections come first: their memory is that of a fresh server.
_ALL = [
    Load("connections", "5,000 idle subscribers of one channel", ("-c", "5000", "-o", "3"), timed=False),
    *(_fan(window) for window in (1, 4, 16, 64)),
    Load(
        "channels",
        "1,000 channels of 3 subscribers, 16 in flight",
        ("-n", "1000", "-c", "3000", "-w", "16"),
        floors={"": (3000, 1), "-uring": (3000, 1)},
        batch=2,
    ),
    Load(
        "open",
        "100 publishes a second to 500 subscribers, on a fixed schedule",
        ("-c", "500", "-r", "100", "-w", "16"),
        stretch=4,
        floors={"": (500, 1), "-uring": (500, 1)},
        batch=2,
    ),
    Load("publish", "publishes to a channel without subscribers, 16 in flight", ("-x", "-w", "16"), batch=2),
    Load("crowd", "a small channel, ten publishes a second, beside one of 15,000", scenario=True),
    Load("stalled", "1,000 subscribers of a busy channel and one that stops reading", scenario=True),
]

LOADS = {load.name: load for load in _ALL}
GENERATOR_LOADS = [name for name, load in LOADS.items() if not load.scenario]
