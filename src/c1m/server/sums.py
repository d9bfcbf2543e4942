"""What several processes of a server have counted, as one: reports of each -> the whole. Pure.

A report is what JSON has: `statistics`, `tls`, `process`, `figures` (name -> value) and `about`
(name -> what kind of figure it is). Counters of a process that has died are kept, so that those of
the whole only rise; the connections that it held have ended with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import reduce
from typing import Any

from c1m.server.statistics import CloseReason, ServerStatistics

Report = dict[str, Any]
# Of processes in one place, at different times.
_HIGHEST = {"peak", "peak_rss_bytes", "threads", "connections.peak"}
_LOWEST = {"relay.connected", "relay.since_seconds"}  # of the process that is worst off
_LIVE = {"live", "opening"}
_NOW = {"rss_bytes"}  # of a process: with it they are gone
_BY_REASON = "connections.closed"


def added(a: Any, b: Any) -> Any:
    """Numbers are added, mappings by their keys; of anything else the later one that says much."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        both = {key: added(value, b[key]) if key in b else value for key, value in a.items()}
        return both | {key: value for key, value in b.items() if key not in a}
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a + b
    return b or a


def total(reports: Sequence[Report]) -> Report:
    """The sum of reports; {} of none."""
    found: Report = reduce(added, ({**each, "about": {}} for each in reports), {})
    for each in reports:
        found["about"] |= each["about"]
    for name in _LOWEST & found.get("figures", {}).keys():
        found["figures"][name] = min(r["figures"][name] for r in reports if name in r["figures"])
    return found


def ended(report: Report) -> Report:
    """What is left of the last report of a process that has died."""
    statistics = dict(report["statistics"])
    lost = statistics["live"]
    died = CloseReason.PROCESS
    statistics["closed"] = added(statistics["closed"], {str(int(died)): lost})
    statistics |= dict.fromkeys(_LIVE, 0)
    about = report["about"]
    figures = {
        name: value
        for name, value in report["figures"].items()
        if name in _HIGHEST or about[name][0].endswith("_total")
    }
    figures[_BY_REASON] = added(figures.get(_BY_REASON, {}), {died.name.lower(): lost})
    process = report["process"] | dict.fromkeys(_NOW, 0)
    return report | {"statistics": statistics, "figures": figures, "process": process}


def with_before(report: Report, before: Report) -> Report:
    """A process's report, with what is left of those that were in its place before."""
    both: Report = added(before, {**report, "about": {}}) | {"about": report["about"]}
    for group in ("statistics", "process", "figures"):
        for name in _HIGHEST & both[group].keys() & before[group].keys():
            both[group][name] = max(before[group][name], report[group].get(name, 0))
    return both


def plain(statistics: ServerStatistics) -> dict[str, Any]:
    """As JSON has it."""
    found = asdict(statistics)
    for name in ("closed", "never_opened"):
        found[name] = {str(int(key)): count for key, count in found[name].items()}
    return found


def statistics_of(said: Mapping[str, Any]) -> ServerStatistics:
    """The other way; {}: nothing was counted."""
    known = {each.name for each in fields(ServerStatistics)}
    given = {name: value for name, value in said.items() if name in known}
    closed = given.pop("closed", {})
    never_opened = {int(code): count for code, count in given.pop("never_opened", {}).items()}
    made = ServerStatistics(**given, never_opened=never_opened)
    made.closed |= {CloseReason(int(reason)): count for reason, count in closed.items()}
    return made
