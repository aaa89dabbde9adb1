"""A stand-in for the providers of push notifications: see `sockudo.testing.MockPushProvider`."""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys

import uvloop

from sockudo.testing.push_answers import PROFILES
from sockudo.testing.push_provider import MockPushProvider


async def _serve(provider: MockPushProvider) -> None:
    async with provider:
        sys.stdout.write(f"listening on {provider.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sockudo.testing.push_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--profile", choices=PROFILES, default="ok")
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1, help="of the profile flaky")
    parser.add_argument("--certificate", help="PEM file: HTTPS, with HTTP/2")
    parser.add_argument("--key", help="PEM file of the certificate's key")
    given = parser.parse_args()
    tls = None
    if given.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(given.certificate, given.key)
    provider = MockPushProvider(
        host=given.host,
        port=given.port,
        tls=tls,
        profile=given.profile,
        delay=given.delay_ms / 1000,
        seed=given.seed,
    )
    uvloop.run(_serve(provider))


if __name__ == "__main__":
    _main()
