"""What a send to a push provider costs this process, through each adapter, against a stand-in that answers after 20 ms.

The stand-in is a process of its own. Printed: sends per second as they came, CPU of this process per send, and what
one core would come to.

    .venv/bin/python benchmarks/micro/push_providers.py [--sends 4000] [--at-once 64]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sockudo.config.sections.push import Push
from sockudo.config.sections.push_providers import PushApns, PushFcm, PushHms, PushWebpush, PushWns
from sockudo.outbound.addresses import is_public
from sockudo.outbound.exchange import Exchange
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers import Surroundings, push_providers
from sockudo.push.recipients import ApnsRecipient, FcmRecipient, HmsRecipient, WebRecipient, WnsRecipient
from sockudo.push.records import Payload
from sockudo.push.rendering import render
from sockudo.testing import BrowserKeys

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.certificates import write_certificate

NOTIFICATION = Payload(title="Shipped", body="Parcel 8841 is on its way", collapse_key="p-1", template_data={"no": 8841})


async def no_credential(*_):
    return None


async def no_publish(*_):
    return None


def stand_in(*options):
    command = [sys.executable, "-m", "sockudo.testing.push_server", "--port", "0", "--delay-ms", "20", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def providers(plain, secure, http):
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    settings = Push(
        **{f"{name}_enabled": True for name in ("fcm", "apns", "webpush", "hms", "wns")},
        fcm=PushFcm(endpoint=plain, project_id="p", provider_token="t" * 180),
        apns=PushApns(endpoint=secure, topic="t", team_id="T", key_id="K", private_key=key.decode()),
        webpush=PushWebpush(vapid_private_key=base64.urlsafe_b64encode(os.urandom(32)).decode()),
        hms=PushHms(endpoint=plain, app_id="1", provider_token="t" * 180),
        wns=PushWns(provider_token="t" * 180),
    )
    rules = EndpointRules(is_public, allow_local=True)
    return push_providers(settings, rules, no_credential, no_publish, Surroundings(http, time.time, time.monotonic))


async def timed(name, one, sends, at_once):
    await one(0)
    numbers = iter(range(1, sends + 1))

    async def worker():
        for number in numbers:
            await one(number)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    print(f"{name:<34} {sends / took:>9,.0f} /s {cpu / sends * 1e6:>9,.0f} µs {sends / cpu:>9,.0f} /s and core")


def sender(provider, name, recipient):
    payload = msgspec.json.decode(render(name, NOTIFICATION, []).body)

    async def one(number):
        sent = await provider.send("app", payload, recipient(number), expires_at_ms=None)
        assert sent.outcome == "accepted", sent

    return one


async def measure(sends, at_once, plain, secure, cafile):
    http = Exchange(allow_local=True, cafile=cafile)
    made, keys = providers(plain, secure, http), BrowserKeys()
    recipients = {
        "fcm": lambda n: FcmRecipient(f"{n:0152x}"),
        "apns": lambda n: ApnsRecipient(f"{n:064x}"),
        "webPush": lambda n: WebRecipient(f"{plain}/wpush/{n:0100x}", keys.p256dh, keys.auth),
        "hms": lambda n: HmsRecipient(f"{n:0130x}"),
        "wns": lambda n: WnsRecipient(f"{plain}/wns/{n:0100x}"),
    }
    for name, recipient in recipients.items():
        await timed(name, sender(made[name], name, recipient), sends, at_once)
    for provider in made.values():
        await provider.close()
    await http.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sends", type=int, default=4000)
    parser.add_argument("--at-once", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = write_certificate(Path(folder))
        plain, plain_url = stand_in()
        secure, secure_url = stand_in("--certificate", str(certificate), "--key", str(key))
        try:
            uvloop.run(measure(given.sends, given.at_once, plain_url, secure_url, str(certificate)))
        finally:
            plain.terminate()
            secure.terminate()
            plain.wait()
            secure.wait()


if __name__ == "__main__":
    main()
