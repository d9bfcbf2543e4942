"""What the reference pages have of tables in the code: written by `make docs`, held by a test.

python tests/reference_tables.py     writes the tables between the marks `<!-- table: NAME -->` and
                                     `<!-- end of table -->`, and the record's JSON schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import c1m.kv.all_commands  # noqa: F401  (fills the table)
import plan_tables
from c1m.apps.kv.app import FIGURES as KV_FIGURES
from c1m.apps.kv.options import OPTIONS as KV_OPTIONS
from c1m.apps.push.figures import FIGURES as PUSH_FIGURES
from c1m.apps.push.options import OPTIONS as PUSH_OPTIONS
from c1m.arguments import FLAG, AppOption, Choice
from c1m.cli.live import prometheus
from c1m.guard.options import OPTIONS as LIMIT_OPTIONS
from c1m.kv import settings
from c1m.kv.command_info import group_of, rows
from c1m.kv.commands import Command
from c1m.loadgen.schemes.known import KINDS
from c1m.relay.relay import FIGURES as RELAY_FIGURES
from c1m.results import catalogue, schema
from c1m.results.options import OPTIONS as LOAD_OPTIONS
from c1m.results.options import Option, grouped
from c1m.results.record import Connections, FanOut, Requests
from c1m.results.snapshot import LIVE_FIGURES
from c1m.scenarios.loader import SCENARIOS
from c1m.server.figures import FIGURES, OF_PROCESS, OF_PROCESSES, Figure
from c1m.tls.options import OPTIONS as TLS_OPTIONS

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _families() -> Iterator[Sequence[str]]:
    yield f"`{prometheus.INFO}`", "gauge", "`target`, `scenario`", prometheus.INFO_HELP
    for name, fields in prometheus.METRICS.items():
        one = LIVE_FIGURES[fields[0]]
        kind = "counter" if prometheus.is_counter(name) else "gauge"
        yield f"`{name}`", kind, f"`{one.label}`" if one.label else "", one.help
    yield f"`{prometheus.HISTOGRAM}`", "histogram", "`le`", prometheus.HISTOGRAM_HELP


def _figures(*tables: dict[str, Figure]) -> str:
    """Those of a server, as /stats and /metrics have them."""
    rows = (
        (f"`{name}`", f"`{one.metric}`", f"`{one.label}`" if one.label else "", one.help)
        for table in tables
        for name, one in table.items()
    )
    return _table(("figure", "metric", "label", "what it is"), rows)


def _laws() -> Iterator[Sequence[str]]:
    for where, part in (("connections", Connections), ("requests", Requests), ("fan_out", FanOut)):
        yield from ((f"`{where}`", f"`{law}`") for law in part.LAWS)


def _commands() -> dict[str, str]:
    """A table for each group of commands: commands_string, commands_sorted_set, ..."""
    groups: dict[str, list[Command]] = {}
    for row in rows():
        is_container = row.subcommands is not None and row.arity == -2
        if not (is_container or row.name.endswith("|help")):
            groups.setdefault(group_of(row).replace("-", "_"), []).append(row)
    head = ("command", "arguments", "what it does")
    return {
        f"commands_{group}": _table(
            head,
            (
                (f"`{row.name.upper().replace('|', ' ')}`", _arguments(row), row.summary)
                for row in sorted(members, key=lambda row: row.name)
            ),
        )
        for group, members in groups.items()
    }


def _arguments(row: Command) -> str:
    """How many follow the name."""
    count = abs(row.arity) - 1 - ("|" in row.name)
    return str(count) if row.arity > 0 else f"{count} or more"


def _options(options: Sequence[AppOption]) -> Iterator[Sequence[str]]:
    """Those of a server, as its help has them."""
    for option in options:
        kind = option.kind
        value = "\\|".join(kind.words) if isinstance(kind, Choice) else option.metavar
        value = value or kind.name.replace("duration", "time").upper()
        name = f"`{option.flag}`" if kind is FLAG else f"`{option.flag} {value}`"
        text, _, default = option.help.partition("[default: ")
        yield name, text.strip(), default.removesuffix("]")


def _of_load(options: Sequence[Option]) -> Iterator[Sequence[str]]:
    for option in options:
        kind = option.kind
        value = "\\|".join(kind.words) if isinstance(kind, Choice) else option.metavar
        yield f"`{f'{option.flags} {value}'.strip()}`", option.unset, option.help


def _load_tables() -> dict[str, str]:
    """One for each group: load_connections, load_rate, ... by its first option."""
    head = ("option", "default", "what it does")
    return {f"load_{some[0].name}": _table(head, _of_load(some)) for some in grouped().values()}


def _schemes() -> Iterator[Sequence[str]]:
    for one in KINDS:
        ports = " or ".join(f"{port}" for port in dict.fromkeys((one.port, one.tls_port)) if port)
        flags = [option.flags for option in LOAD_OPTIONS.values() if option.field in one.takes]
        scenarios = [
            name for name, kind in SCENARIOS.items() if not kind.schemes or one.name in kind.schemes
        ]
        yield (
            f"`{one.name}://`, `{one.over_tls}://`",
            ports or "must be named",
            f"`{one.scenario}`",
            ", ".join(f"`{name}`" for name in scenarios),
            ", ".join(f"`{flag}`" for flag in flags),
        )


def _settings(kind: dict[str, settings.Setting]) -> str:
    values = settings.Settings()
    return _table(
        ("setting", "default"),
        ((f"`{name}`", f"`{text}`" if (text := values.text(name)) else "") for name in kind),
    )


TABLES = {
    "distributions": _table(
        ("distribution", "latencies of"),
        ((f"`{name}`", text) for name, text in catalogue.DISTRIBUTIONS.items()),
    ),
    "metrics": _table(
        ("name", "unit", "better", "what it is"),
        (
            (f"`{one.name}`", catalogue.KINDS[one.kind].unit, one.better, one.help)
            for one in catalogue.PLAIN.values()
        ),
    ),
    "laws": _table(("part", "law"), _laws()),
    "families": _table(("name", "kind", "labels", "what it is"), _families()),
    **_load_tables(),
    "schemes": _table(
        ("scheme", "port", "without `--scenario`", "built-in scenarios", "options of its own"),
        _schemes(),
    ),
    "options_of_kv": _table(("option", "what it does", "default"), _options(KV_OPTIONS)),
    "options_of_push": _table(("option", "what it does", "default"), _options(PUSH_OPTIONS)),
    "options_of_limits": _table(("option", "what it does", "default"), _options(LIMIT_OPTIONS)),
    "options_of_tls": _table(("option", "what it does", "default"), _options(TLS_OPTIONS)),
    "figures_of_all": _figures(FIGURES, OF_PROCESS),
    "figures_of_processes": _figures(OF_PROCESSES),
    "figures_of_kv": _figures(KV_FIGURES),
    "figures_of_push": _figures(PUSH_FIGURES),
    "figures_of_relay": _figures(RELAY_FIGURES),
    "settings_in_force": _settings(settings.IN_FORCE),
    "settings_encodings": _settings(settings.ENCODINGS),
    "settings_fixed": _settings(settings.FIXED),
    "settings_without_effect": _settings(settings.WITHOUT_EFFECT),
    **_commands(),
    "plan_machines": _table(("", "server machine", "load machine"), iter(plan_tables.machines())),
    "plan_rates": _table(("", "in all", "of a machine", "of a process"), iter(plan_tables.rates())),
    "plan_walls": _table(("where", "what", "on one machine", "in all"), iter(plan_tables.walls())),
    "plan_controller": _table(("", ""), iter(plan_tables.controller())),
}


def written() -> dict[Path, str]:
    """Every page with such tables, and the schema, as they are to be."""
    pages = {}
    for path in (*sorted(REFERENCE.glob("*.md")), plan_tables.PAGE):
        if _TABLE.search(text := path.read_text()):
            pages[path] = _TABLE.sub(lambda mark: mark[1] + TABLES[mark[2]] + mark[3], text)
    return pages | {REFERENCE / "record.schema.json": schema.schema_text()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text)
