"""Scenarios by name."""

from __future__ import annotations

from c1m.errors import UsageError
from c1m.loadgen.scenario import DEFAULT_MESSAGE, Hold, Scenario, Templates


def make_scenario(
    name: str,
    *,
    message: str | bytes | None,
    expect: str | bytes | None,
    connections: int,
    seed: int,
) -> Scenario:
    """The scenario of this name, begun for so many connections."""
    if name == "hold":
        made: Scenario = Hold()
    elif name in ("echo", "ping", "lines"):
        text = message if message is not None else DEFAULT_MESSAGE
        made = Templates(
            name, text, expect if expect is not None else text, by_line=name == "lines"
        )
    else:
        raise UsageError(f"There is no scenario {name!r}.")
    made.begin(connections, seed)
    return made
