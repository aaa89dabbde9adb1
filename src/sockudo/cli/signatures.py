"""Options that several commands have, written once: a command takes what they come to, typer sees each of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

__all__ = ["Command", "in_place_of"]

Command = Callable[..., None]


def in_place_of(
    parameter: str, options: Mapping[str, tuple[Any, Any]], read: Callable[..., Any]
) -> Callable[[Command], Command]:
    """Gives a command ``options`` in place of its ``parameter``, which then holds what ``read`` makes of them.

    ``options`` has annotation and default of each by its name, and ``read`` takes them under these names.
    """

    def decorated(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in options}
            command(**arguments, **{parameter: read(**given)})

        signature = inspect.signature(command, eval_str=True)
        parameters = [each for each in signature.parameters.values() if each.name != parameter]
        for name, (annotation, default) in options.items():
            parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
        wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
        wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return wrapped

    return decorated
