"""The servers that are compared: how each is built, started and named."""

from benchmarks.peers.catalogue import PEERS, Command, Peer, sockudo_config

__all__ = ["PEERS", "Command", "Peer", "sockudo_config"]
