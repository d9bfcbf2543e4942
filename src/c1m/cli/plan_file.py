"""A plan in a TOML file: the options of `c1m load` by their names, without the dashes.

    target = "tcp://127.0.0.1:8001"
    stages = ["ramp 0..100k in 10s", "hold 100k for 1m at 20k/s"]
    require = ["p99 < 50ms", "lost == 0"]

What is given on the command line beside it goes before the file.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from decimal import Decimal
from typing import Any

import click

from c1m.errors import UsageError
from c1m.files import read_text

PLURALS = {"stages": "stage", "require": "require", "sources": "source", "targets": "target"}
NOT_HERE = {"plan", "help"}


def read_plan(path: str, command: click.Command) -> dict[str, Any]:
    """What the file says, by the names of the command's parameters.

    Raises UsageError in one sentence, with the file's name, for what cannot be read.
    """
    text = read_text(path)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: what Python refuses
        raise UsageError(f"{path} is not TOML: {error}.", "See `c1m load --help`.") from None
    known = _parameters(command)
    found: dict[str, Any] = {}
    for key, value in data.items():
        option = PLURALS.get(key, key).replace("_", "-")
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f"Is {near[0]!r} meant?" if near else f"There are: {', '.join(sorted(known))}."
            raise UsageError(f"{path} has {key!r}, which `c1m load` does not know.", hint)
        found[known[option].name or option] = _value(path, key, value, known[option])
    return found


def _parameters(command: click.Command) -> dict[str, click.Parameter]:
    named: dict[str, click.Parameter] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            named["target"] = parameter
            continue
        for option in parameter.opts:
            if option.startswith("--") and option[2:] not in NOT_HERE:
                named[option[2:]] = parameter
    return named


def _value(path: str, key: str, value: Any, parameter: click.Parameter) -> Any:
    """As it would stand on the command line: texts, or lists of them."""
    if isinstance(value, list) and (parameter.multiple or parameter.nargs == -1):
        return tuple(_plain(path, key, item) for item in value)
    is_flag = isinstance(parameter, click.Option) and parameter.is_flag
    one = value if is_flag and isinstance(value, bool) else _plain(path, key, value)
    return (one,) if parameter.multiple or parameter.nargs == -1 else one


def _plain(path: str, key: str, value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{Decimal(repr(value)):f}"  # all digits: 1e-05 would be no number behind an option
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise UsageError(
        f"In {path}, {key!r} is {value!r}.", "Give a text or a number, as on the command line."
    )
