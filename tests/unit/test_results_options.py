"""The options of a load run: one description for the library, the command and a plan's file."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import c1m
from c1m.cli.load import load, read_plan
from c1m.errors import UsageError
from c1m.results.options import OPTIONS, LoadOptions, checked, plain


def test_the_library_takes_every_option_with_its_default() -> None:
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(c1m.load).parameters.items()
        if name not in ("on_progress", "on_signals", "on_end")
    }
    assert given.keys() == OPTIONS.keys()
    assert checked(given | {"target": None}) == LoadOptions()


def test_the_command_has_every_option_with_its_default() -> None:
    context = load.make_context("load", ["tcp://127.0.0.1:1"])
    by_target = ("connections", "hold")  # what holds without these depends on the target
    for name, option in OPTIONS.items():
        found, default = context.params[name], getattr(LoadOptions(), option.field)
        assert name == "target" or found == (() if default == [] else default), name
        if name in by_target:
            continue
        if option.unset and default not in (None, []) and option.kind.name not in ("text",):
            assert option.kind.check(name, option.unset) == default, name


def test_a_plan_has_every_option_by_its_name(tmp_path: Path) -> None:
    """And by that of the command."""
    plan = tmp_path / "plan.toml"
    for name, option in OPTIONS.items():
        for key in {name, option.flags.removeprefix("--")}:
            plan.write_text(f'{key} = "5"\n')
            assert read_plan(str(plan), load)[name] in ("5", ("5",))
    plan.write_text('targets = ["a", "b"]\n')
    assert read_plan(str(plan), load) == {"target": ("a", "b")}


def test_what_is_given_is_checked_by_its_name() -> None:
    found = checked({"target": "a", "hold": "1.5s", "rate": "300/m", "require": ("x", "y")})
    assert found == LoadOptions(
        targets=["a"], hold_ns=1_500_000_000, rate_per_s=5.0, require=["x", "y"]
    )
    with pytest.raises(UsageError, match="5,000 is too large for pipeline"):
        checked({"pipeline": 5_000})


def test_help_has_no_marks_and_keeps_what_is_in_brackets() -> None:
    text = "Needs `c1m[cluster]`; see [docs/a.md](../how-to/a.md), as [b](b.md#c)."
    assert plain(text) == "Needs c1m[cluster]; see docs/a.md, as b."
    assert "(needs c1m[cluster]; see docs/" in OPTIONS["cluster"].plain_help
    assert not any("](" in option.plain_help for option in OPTIONS.values())
