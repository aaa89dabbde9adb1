"""Plain questions over HTTP to anything that answers: a server, a proxy in front of it, or something else."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from sockudo.base.version import __version__
from sockudo.client.failures import UnreachableError
from sockudo.client.trust import Trust

__all__ = ["Answer", "Http", "transport"]

_MOST_READ = 4 * 1024 * 1024
_SYSTEM = Trust()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Header names are lower-case; ``sent_at`` and ``came_at`` are Unix seconds of this machine."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: float = 0.0
    came_at: float = 0.0

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    @property
    def intermediary(self) -> str | None:
        """The header by which a proxy shows itself, None when there is none: the server sends none of these."""
        for name in ("server", "via", "cf-ray", "x-served-by", "x-cache", "x-amz-cf-id"):
            if self.headers.get(name):
                return f"{name.title()}: {self.headers[name][:60]}"
        return None


def transport(*, secure: bool, trust: Trust = _SYSTEM) -> httpx.AsyncHTTPTransport:
    """Connections without a proxy of ours, trusting whom this system trusts (and ``SSL_CERT_FILE``), and ``trust``."""
    return httpx.AsyncHTTPTransport(verify=(trust.context() or ssl.create_default_context()) if secure else False)


class Http:
    """Asks the server at ``url``; every question ends within ``timeout`` seconds, and redirects are not followed."""

    def __init__(self, url: str, timeout: float, trust: Trust = _SYSTEM) -> None:
        self.url = url
        self._timeout = timeout
        self._client = httpx.AsyncClient(
            transport=transport(secure=url.startswith("https:"), trust=trust),
            timeout=timeout,
            headers={"User-Agent": f"sockudo-doctor/{__version__}"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET ``target``, a path with its query; raises `UnreachableError` when no answer in HTTP comes in time."""
        sent_at = time.time()
        try:
            async with self._client.stream("GET", self.url + target, headers=dict(headers or {})) as response:
                came_at = time.time()
                body = await _read(response)
        except httpx.TimeoutException:
            raise UnreachableError(self.url, f"no answer within {self._timeout:g} s") from None
        except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError) as error:
            raise UnreachableError.of(self.url, error) from None
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, found, body, sent_at, came_at)


async def _read(response: httpx.Response) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_READ:
            break
    return b"".join(pieces)
