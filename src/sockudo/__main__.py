"""``python -m sockudo``: the same as the ``sockudo`` command."""

from __future__ import annotations

from sockudo.cli import main

if __name__ == "__main__":
    main()
