"""`c1m compare`: what changed between two runs or two sets of runs, with an exit status for CI."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import click

from c1m.errors import UsageError
from c1m.units import format_number_of, parse_share

_BETWEEN = "vs"


_OPTIONS = [
    click.Argument(["records"], nargs=-1, required=True, metavar="A.json... [vs] B.json..."),
    click.Option(["--fail-on"], type=click.Choice(["worse", "any"]), default="worse",
                 show_default=True,
                 help="any: also where a figure is better or conditions differ."),
    click.Option(["--metric", "metrics"], multiple=True, metavar="NAME",
                 help="Compare only this figure, e.g. rate or p99; may be given more than once."),
    click.Option(["--tolerance"], metavar="SHARE",
                 help="Smaller changes are no difference, e.g. 5%; with too few records to tell a "
                 "change from noise, larger ones are worse or better.  [default: 2%]"),
    click.Option(["--json", "json_path"], metavar="FILE",
                 help="Also write the comparison as JSON."),
    click.Option(["--quiet"], is_flag=True, help="Print only what came of it, in one line."),
]  # fmt: skip


@click.command(params=_OPTIONS)
def compare(
    records: tuple[str, ...],
    fail_on: str,
    metrics: tuple[str, ...],
    tolerance: str | None,
    json_path: str | None,
    quiet: bool,
) -> None:
    """Say what changed from A to B, by how much, and whether it is more than noise.

    Each side is a record that `c1m load --json` wrote, or several of the same plan, made in turns.
    It takes three on each side to tell a change from noise:

    \b
    c1m compare before/*.json vs after/*.json
    c1m compare before.json after.json

    Exit status: 0 nothing is worse beyond noise, or it cannot be judged, 1 something is worse,
    2 bad usage.
    """
    from c1m.cli.outputs import Outputs
    from c1m.report.compare import BETTER, WORSE
    from c1m.report.compare import compare as compare_records
    from c1m.report.compare_text import comparison_text, headline
    from c1m.results import codec
    from c1m.results.record import RunRecord

    a, b = sides(records)
    outputs = Outputs({"json": json_path})
    within = None if tolerance is None else _share(tolerance)
    result = compare_records(
        [RunRecord.read(path) for path in a],
        [RunRecord.read(path) for path in b],
        metrics,
        within,
    )
    result = replace(result, a=a, b=b)
    outputs.write_text(json.dumps(codec.encode(result), allow_nan=False, indent=1) + "\n")
    click.echo(headline(result) if quiet else comparison_text(result), file=outputs.stream)
    outputs.end()
    fails = bool(result.having(WORSE))
    if fail_on == "any":
        fails |= bool(result.having(BETTER)) or any(one.is_alarming for one in result.conditions)
    sys.exit(1 if fails else 0)


def _share(text: str) -> float:
    """Of --tolerance."""
    try:
        return parse_share(text)
    except UsageError as error:
        raise UsageError(f"--tolerance: {error.message}", error.remedy) from None


def sides(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The records of A and of B. Raises UsageError where it is not clear which are which."""
    if _BETWEEN in words:
        at = words.index(_BETWEEN)
        a, b = list(words[:at]), list(words[at + 1 :])
    else:
        a, b = list(words[:1]), list(words[1:])
    if not a or not b or _BETWEEN in b or (_BETWEEN not in words and len(b) > 1):
        raise UsageError(
            f"compare needs two sides; from {format_number_of(len(words), 'argument')} it cannot "
            "tell which records belong to which.",
            "Write: c1m compare A.json B.json, or A1.json A2.json vs B1.json B2.json.",
        )
    return a, b
