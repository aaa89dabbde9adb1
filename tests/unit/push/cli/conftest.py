"""Commands run without a server."""

from support.command_fixtures import _commands_read_once, api, run, without_variables_of_the_suite

__all__ = ["_commands_read_once", "api", "run", "without_variables_of_the_suite"]
