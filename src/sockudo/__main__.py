"""Where the ``sockudo`` command begins, before anything of it is loaded, and where it ends."""

from __future__ import annotations

import gc

from sockudo.server import began as _began  # noqa: F401 - the clock is read when this is loaded

__all__ = ["main"]

# So many new objects, and the collector looks for unused ones.
_GC_THRESHOLD = 50_000


def main() -> None:
    """Run the command line; ends the process with one of the exit codes of `sockudo.cli.outcome`."""
    # A short command is imports for the most part. They make many objects and no garbage, which is not looked for.
    gc.set_threshold(_GC_THRESHOLD)
    from sockudo.server.commands import app

    try:
        app()
    finally:
        # The interpreter's last look for garbage would take a sixth of a short command, just before all of it goes.
        gc.freeze()


if __name__ == "__main__":
    main()
