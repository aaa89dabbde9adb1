"""The servers that are compared: how each is built, started and named."""

from benchmarks.peers.catalogue import PEERS, Peer

__all__ = ["PEERS", "Peer"]
