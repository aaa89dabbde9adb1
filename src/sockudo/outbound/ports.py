"""What a request to a server of others is answered with, and the port by which push providers make theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

__all__ = ["ClientIdentity", "ExchangeError", "HttpExchange", "Reply"]


class Reply(NamedTuple):
    """An answer. Names of ``headers`` are in lower case; ``body`` has 64 KiB at most.

    ``whole`` is False when the connection broke within the body, or its end had not come by the deadline: what the head
    says holds all the same. ``answered_at`` is when the head was there, in the loop's time; 0 from a client that
    does not note it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True
    answered_at: float = 0.0


class ExchangeError(Exception):
    """There was no answer: ``problem`` is a word for why, from `sockudo.outbound.problems`. Holds no address."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class ClientIdentity(NamedTuple):
    """The certificate, with its chain, and the key that this side shows: all as one PEM text. ``name`` tells two apart
    without telling what is in them."""

    name: str
    pem: bytes

    def __repr__(self) -> str:
        return f"<ClientIdentity {self.name}>"


class HttpExchange(Protocol):
    """Posts to https addresses on the public internet, and to no others unless local ones are allowed."""

    @property
    def allows_local(self) -> bool:
        """Whether http, and private and loopback addresses, are allowed."""
        ...

    async def post(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        deadline: float,
        http2: bool = False,
        identity: ClientIdentity | None = None,
    ) -> Reply:
        """One request, answered by ``deadline`` in the loop's time; connecting has five seconds of it.

        Names of ``headers`` are in lower case. Redirects are answers like others. Raises ExchangeError.
        """
        ...
