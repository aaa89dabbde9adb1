"""The decoders inside the JavaScript SDK make of our deltas what we put into them."""

from __future__ import annotations

import base64
import functools
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from sockudo.protocol.delta.settings import Algorithm, encode
from support.parts import cannot_run

HERE = Path(__file__).parent / "javascript"
PART = "delta decoders of the JavaScript SDK (fossil-delta, @ably/vcdiff-decoder)"
EXAMPLES = int(os.environ.get("SOCKUDO_EXAMPLES", "100"))

Pair = tuple[bytes, bytes]


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the packages that ``package-lock.json`` locks installed once per version of that file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        cannot_run(PART, "node and npm are not installed (apt-get install nodejs npm)")
    stamp = HERE / "node_modules" / ".installed-from"
    wanted = (HERE / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        command = [npm, "ci", "--no-audit", "--no-fund"]
        run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=100, check=False)
        if run.returncode != 0:
            cannot_run(PART, f"npm ci failed: {(run.stderr.strip().splitlines() or ['no output'])[-1]}")
        stamp.write_text(wanted)
    return node


def decoded(node: str, algorithm: Algorithm, pairs: list[tuple[bytes, bytes]]) -> list[bytes]:
    """The targets of pairs of base and delta."""
    lines = [json.dumps([algorithm, base64.b64encode(a).decode(), base64.b64encode(b).decode()]) for a, b in pairs]
    run = subprocess.run(
        [node, str(HERE / "decode.mjs")], input="\n".join(lines), capture_output=True, text=True, timeout=60, check=True
    )
    targets = run.stdout.splitlines()
    assert len(targets) == len(pairs)
    assert [target for target in targets if target.startswith("error: ")] == []
    return [base64.b64decode(target) for target in targets]


def quote(generator: random.Random, size: int) -> bytes:
    """A frame as it is on the wire, with the numbers and letters that JavaScript would write in another way."""
    values = [1.0, 1e-7, 98.6, 'a "quote" \\ \n', "naïve 漢字 👩‍👩‍👧", "\u2028", generator.random(), 10**20]
    rows = [{"n": n, "v": generator.choice(values), "pad": "x" * generator.randrange(30)} for n in range(size)]
    frame = {"event": "quote", "channel": "fx:desk", "data": json.dumps(rows, ensure_ascii=False), "serial": size}
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()


def examples() -> list[Pair]:
    generator = random.Random(11)
    pairs: list[Pair] = []
    for _ in range(EXAMPLES):
        base = quote(generator, generator.randrange(1, 30))
        target = bytearray(base)
        for _ in range(generator.randrange(4)):
            at = generator.randrange(len(target))
            target[at : at + generator.randrange(40)] = generator.randbytes(generator.randrange(40))
        pairs.append((base, bytes(target)))
        pairs.append((base, quote(generator, generator.randrange(1, 30))))
    pairs += [
        (b"x" * 65_536, b"x" * 30_000 + b"y" + b"x" * 30_000),
        (b"x" * 70_000, b"x" * 35_000 + b"y" + b"x" * 35_000),
        (generator.randbytes(20_000), generator.randbytes(20_000)),
        (quote(generator, 2_000), quote(generator, 2_000)),
    ]
    return pairs


@functools.cache
def encoded(algorithm: Algorithm) -> tuple[list[Pair], list[bytes]]:
    """Bases with the deltas from them, and the targets."""
    pairs = examples()
    return [(base, encode(algorithm, base, target)) for base, target in pairs], [target for _, target in pairs]


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_what_is_encoded_decodes(node: str, algorithm: Algorithm) -> None:
    deltas, targets = encoded(algorithm)
    assert decoded(node, algorithm, deltas) == targets


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_the_end_of_the_base_does_not_matter(node: str, algorithm: Algorithm) -> None:
    deltas, targets = encoded(algorithm)
    endings = (b',"__delta_seq":70001,"__conflation_key":"a\\"b"}', b'b"}', b":7}")
    others = [(base[:-1] + ending, delta) for ending in endings for base, delta in deltas]
    assert decoded(node, algorithm, others) == targets * len(endings)
