"""Random plan files: each is read, checked and rehearsed as `c1m load --plan` does, or refused."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from random import Random
from typing import Any

import click

from c1m.cli.load import load
from c1m.errors import C1mError
from c1m.loadgen.plan import make_plan
from c1m.results.options import OPTIONS, LoadOptions

from .streams import mutated

TOKENS = (
    b"=", b"[", b"]", b"[[x]]", b"{", b"}", b'"', b"'''", b'"""', b"\n", b"#", b",", b".", b"nan",
    b"1979-05-27", b"0x", b"1e999", b"-0", b"true", b"\\u0000", b"\\ud800", b"\xff", b"\x00",
    b"connections", b"stage", b"target", b"a.b = 1\n", b"9" * 30,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    0, 1, -1, 5, 1000, 1 << 70, 0.5, -0.0, 1e-9, 1e300, True, False, "", "1k", "10s", "5/s", "1M",
    "nan", "uniform", "zipf:1.2", "poisson", "é", "\0", "a" * 3000, [], ["5s"], [[1]], {"a": 1},
    "p99 < 5ms", "check:total == 0", "GET", "name: value", "tcp://127.0.0.1:1", "echo", "hold",
    "http://127.0.0.1:1/a", ["tcp://127.0.0.1:1"], "ws://127.0.0.1:1", "redis://127.0.0.1:1",
    ["ramp 10", "hold for 1s at 5/s"], ["ramp 0..100 in 2s", "drain to 0"], ["storm 10 for 5s"],
)  # fmt: skip
LIKELY = ("connections", "hold", "rate", "stages", "timeout", "scenario", "require", "targets")


def run(random: Random) -> int:
    """One execution; the file's length."""
    text = mutated(random, _plan(random).encode(), TOKENS, 0.3)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "plan.toml"
        path.write_bytes(text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _read(["tcp://127.0.0.1:1"] * (random.random() < 0.5), str(path))
        except C1mError as error:
            assert error.message, text
        except click.UsageError as error:
            assert error.format_message(), text
    return len(text)


def _read(targets: list[str], path: str) -> None:
    with load.make_context("load", [*targets, "--plan", path]) as context:
        given = context.params
    plain = {name: list(one) if isinstance(one, tuple) else one for name, one in given.items()}
    found: dict[str, Any] = {option.field: plain[name] for name, option in OPTIONS.items()}
    make_plan(LoadOptions(**found))


def _plan(random: Random) -> str:
    names = [name.replace("_", random.choice("-_")) for name in OPTIONS]
    keys = random.choices(LIKELY, k=random.randrange(4)) + random.choices(
        names, k=random.choice((0, 1, 1, 3))
    )
    return "".join(f"{key} = {_toml(random.choice(VALUES))}\n" for key in dict.fromkeys(keys))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)
