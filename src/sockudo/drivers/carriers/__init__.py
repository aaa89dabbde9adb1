"""What stands between nodes, one module for each broker, and which one the configuration asks for."""

from sockudo.drivers.carriers.selection import configured_carrier, reaches_others

__all__ = ["configured_carrier", "reaches_others"]
