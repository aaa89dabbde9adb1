"""How a command of ``sockudo`` is made, and the commands of the core; `sockudo.server.commands` has the whole table."""
