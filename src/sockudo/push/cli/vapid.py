"""``sockudo push vapid``: the pair of keys by which push services know who sends (RFC 8292)."""

from __future__ import annotations

import base64
from typing import Annotated, Final, NamedTuple

import typer

from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.push.cli.options import print_json

__all__ = ["VapidKeys", "new_keys", "vapid"]

_PRIVATE_BYTES: Final = 32


class VapidKeys(NamedTuple):
    """Base64url without padding: a point of P-256, uncompressed, and the number that belongs to it."""

    public: str
    private: str


def new_keys() -> VapidKeys:
    """A new pair."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    number = key.private_numbers().private_value.to_bytes(_PRIVATE_BYTES, "big")
    return VapidKeys(_text(point), _text(number))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def vapid(
    *,
    contact: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where push services can write to you: mailto:… or https://…")
    ] = "mailto:you@example.com",
    as_json: Annotated[bool, typer.Option("--json", help="Print the pair as JSON.")] = False,
) -> None:
    """Make a pair of VAPID keys for Web Push, and print where to put them. Nothing is stored."""
    if not contact.startswith(("mailto:", "https://")):
        fail(f"--contact '{contact}' is neither mailto: nor https:.", ExitCode.USAGE)
    keys = new_keys()
    if as_json:
        print_json({"publicKey": keys.public, "privateKey": keys.private, "contact": contact})
        return
    note("# The environment of the server; the private key is a secret. Make the pair once: with another one")
    note("# every browser has to subscribe again.")
    typer.echo("PUSH_WEBPUSH_ENABLED=true")
    typer.echo(f"VAPID_PRIVATE_KEY={keys.private}")
    typer.echo(f"VAPID_CONTACT={contact}")
    note("# Goes into pages, as applicationServerKey; it is no secret.")
    typer.echo(f"VAPID_PUBLIC_KEY={keys.public}")
