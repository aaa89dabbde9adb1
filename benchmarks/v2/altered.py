"""Starts the server with what has no setting: ``altered.py count FILE …`` or ``altered.py one-per-commit - …``.

``count`` counts evaluations of subscription filters and encodings of deltas, into FILE when the server ends;
``one-per-commit`` has the history commit each message on its own. What follows goes to the ``sockudo`` command.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sockudo.history.writer
import sockudo.protocol.delta.node
from sockudo.__main__ import main
from sockudo.protocol.filters import Predicate


def _counted(counts: Counter[str], name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*args: Any, **kwargs: Any) -> Any:
        counts[name] += 1
        return work(*args, **kwargs)

    return counting


def _replace(holder: Any, name: str, value: Any) -> None:
    getattr(holder, name)  # one that is not there any more must not go unnoticed
    setattr(holder, name, value)


def _start() -> None:
    what, file = sys.argv[1:3]
    del sys.argv[1:3]
    if what == "one-per-commit":
        _replace(sockudo.history.writer, "_BOUNDS", sockudo.history.writer._BOUNDS._replace(calls=1))
        main()
        return
    counts: Counter[str] = Counter()
    _replace(Predicate, "matches", _counted(counts, "evaluations", Predicate.matches))
    _replace(sockudo.protocol.delta.node, "encode", _counted(counts, "encodings", sockudo.protocol.delta.node.encode))
    try:
        main()
    finally:
        Path(file).write_text(json.dumps(counts))


if __name__ == "__main__":
    _start()
