"""The figures of a run by name: what a threshold asks for and a comparison compares.

Each metric is described here once: its name, unit, help, how it is read, which way is better, and
why a run may have none. Counts are described at their fields in record.py. Thresholds, comparisons
and the tables of docs/reference are made from this.

A name is a plain one (`lost`, `rate`), has what it is of behind a colon (`check:cart total`,
`status:5xx`), or is a latency's: a figure (`p99`, `max`) of a distribution (`first.p99`). Without a
distribution it is that of the requests, from the intended send time; a run that was to send none
besides the first message is judged by what it has instead: the pushes of a publish run, else the
first replies. What was used is said beside the value.

Pure: a record in, figures out. A figure that the run does not carry is None, with the reason.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from operator import attrgetter

from c1m.errors import UsageError
from c1m.results.counts import HIGHER, LOWER
from c1m.results.record import (
    CONNECTION_COUNTS,
    EXTRA_KINDS,
    REQUEST_COUNTS,
    WRONG_KINDS,
    Connections,
    Latency,
    RunRecord,
)
from c1m.results.samples import cpu_used
from c1m.units import (
    NS_PER_S,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    parse_count,
    parse_duration,
    parse_mean_size,
    parse_rate,
    parse_share,
)

# distribution -> what its values are the latencies of
DISTRIBUTIONS = {
    "request": "requests, from the intended send time",
    "uncorrected": "requests, from the actual send time",
    "first": "first replies",
    "ended": "connections that the server ended, from half of a request on",
    "connect": "connects",
    "secured": "TLS handshakes, from the connect on",
    "handshake": "handshakes (WebSocket, server-sent events, MQTT, AUTH of Redis), from there on",
    "stampede": "replies in the stampede",
    "push": "pushes",
    "push_last": "last pushes of each publication",
    "lag": "requests' delays in the generator",
}
PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9", "p99.99", "p99.999")
LATENCY_FIGURES = (*PERCENTILES, "max", "mean", "min")
_NAMED_MAX = 20  # checks that are named where another one is looked for
_NO_RESPONSE = "The run read no response of HTTP."
_BEYOND = 10  # samples that a percentile must have beyond it, on the side where they are fewer

_PERCENTILE = re.compile(r"p([0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a metric's values are: how they are written in thresholds, and shown."""

    unit: str
    written: str  # as a threshold has it, with an example
    parse: Callable[[str], float]  # raises UsageError
    show: Callable[[float], str]


def _percent(share: float) -> str:
    """Cut off, not rounded, so that only all is 100 %."""
    return f"{math.floor(share * 1e6 + 1e-6) / 1e4:.4f}".rstrip("0").rstrip(".") + " %"


def _flag(value: str) -> float:
    if value.lower() not in ("yes", "true", "no", "false"):
        raise UsageError(f"{value!r} is neither yes nor no.")
    return float(value.lower() in ("yes", "true"))


KINDS = {
    "time": Quantity("time", "a time, with its unit (ns, us, ms, s, m, h): 50ms",
                 partial(parse_duration, needs_unit=True), format_duration),
    "count": Quantity("count", "a count: 100 or 10k", parse_count,
                  lambda n: format_count(n) if n == round(n) else f"{n:,.1f}"),
    "rate": Quantity("per second", "a rate: 50k/s", partial(parse_rate, may_be_zero=True),
                     format_rate),
    "share": Quantity("share", "a share: 99.9% or 0.999", parse_share, _percent),
    "bytes": Quantity("bytes", "a size in bytes: 64 or 4KiB", parse_mean_size,
                  lambda n: f"{n:,.1f} B" if n < 1024 else format_bytes(n)),
    "flag": Quantity("yes or no", "yes or no", _flag, lambda is_so: "yes" if is_so else "no"),
}  # fmt: skip

Reader = Callable[[RunRecord], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that runs have, by name: all that is said and done about it."""

    name: str
    kind: str  # of KINDS
    help: str = ""
    read: Reader = lambda record: None
    why: str | Callable[[RunRecord], str] = ""  # a run may have none
    better: str = LOWER  # or HIGHER; "": neither
    must_not_be: bool = False  # with any of it a run is not as it should be
    figure: str = ""  # of a latency: "p99", "max"; "" for others
    distribution: str = ""  # of a latency; "": the run's own choice
    quantile: Fraction | None = None  # of a percentile

    @property
    def ideal(self) -> float | None:
        """The value where nothing went wrong: 0 of what must not be, all of a share; else None."""
        if self.kind == "share" or (self.kind == "flag" and self.better):
            return float(self.better == HIGHER)
        return 0.0 if self.kind == "count" and self.better == LOWER else None


@dataclass(frozen=True, slots=True)
class Figure:
    """What a run has under a metric's name. `why`: why there is none, or what it is taken from."""

    name: str  # with the distribution that was used: "first.p99"
    value: float | None
    why: str = ""


def find(name: str) -> Metric:
    """The metric of that name. Raises UsageError that names the nearest one and all of them."""
    known = name.strip().lower()
    if known in PLAIN:
        return PLAIN[known]
    if known.startswith("check:"):
        return _check(name.strip()[len("check:") :].strip())
    if known.startswith("status:"):
        return _status(known[len("status:") :].strip())
    head, dot, tail = known.partition(".")
    if head in DISTRIBUTIONS and dot:
        distribution, figure = head, tail
    else:
        distribution, figure = "", known
    quantile = _quantile(figure)
    if quantile is None and figure not in LATENCY_FIGURES:
        raise UsageError(
            f"There is no figure {name.strip()!r}{_nearest(known)}",
            f"There are: {' '.join(LATENCY_FIGURES)} of the requests, of others as "
            f"{' '.join(f'{d}.p99' for d in DISTRIBUTIONS)}; check:NAME status:404 status:5xx; "
            f"{' '.join(PLAIN)}.",
        )
    return Metric(known, "time", figure=figure, distribution=distribution, quantile=quantile)


def _check(name: str) -> Metric:
    """How often a check of this name failed."""
    if not name.isprintable() or not name:
        raise UsageError(
            f"{'check:' + name!r} names no check.", "Write check:NAME, as in 'check:total == 0'."
        )

    def failed(record: RunRecord) -> float | None:
        return next((one.failed for one in record.checks if one.name.strip() == name), None)

    def why(record: RunRecord) -> str:
        names = ", ".join(repr(one.name) for one in record.checks[:_NAMED_MAX])
        there = f"it checked {names}" if names else "it checked nothing by name"
        return f"The run checked nothing that is called {name!r}; {there}."

    text = "how often the scenario's check of that name failed"
    return Metric(f"check:{name}", "count", text, failed, why, must_not_be=True)


def _status(code: str) -> Metric:
    """How many responses of HTTP had this status, or one of this class."""
    if not re.fullmatch("[1-9]([0-9]{2}|xx)", code):
        raise UsageError(
            f"{code!r} is no status of HTTP.", "Write status:404, or status:5xx for all such."
        )

    def count(record: RunRecord) -> float | None:
        """A run that read no response has none."""
        start = code.rstrip("x")
        found = sum(n for status, n in record.statuses.items() if status.startswith(start))
        return found if record.statuses else None

    better = {"2": HIGHER, "4": LOWER, "5": LOWER}.get(code[0], "")
    text = "how many responses of HTTP had that status"
    return Metric(f"status:{code}", "count", text, count, _NO_RESPONSE, better)


def _quantile(figure: str) -> Fraction | None:
    match = _PERCENTILE.fullmatch(figure)
    quantile = Fraction(match[1]) / 100 if match else Fraction(0)
    return quantile if 0 < quantile < 1 else None


def _nearest(name: str) -> str:
    figures = [f"{d}.{f}" for d in DISTRIBUTIONS for f in LATENCY_FIGURES]
    found = difflib.get_close_matches(name, [*PLAIN, *LATENCY_FIGURES, *figures], 1, 0.5)
    return f": did you mean {found[0]!r}?" if found else "."


def measure(record: RunRecord, metric: Metric) -> Figure:
    """The run's figure of that metric."""
    if not metric.figure:
        value = metric.read(record)
        why = metric.why if isinstance(metric.why, str) else metric.why(record)
        return Figure(metric.name, value, why if value is None else "")
    name = metric.distribution or default_distribution(record)
    value, why = _of_latency(distribution(record, name), metric, DISTRIBUTIONS[name])
    if value is not None and name != (metric.distribution or "request"):
        why = f"The run had no requests to send; this is of the {DISTRIBUTIONS[name]}."
    return Figure(f"{name}.{metric.figure}", value, why)


def default_distribution(record: RunRecord) -> str:
    """The distribution that a latency without a name is of.

    A run that had requests to send is judged by them even if not one was answered.
    """
    if record.requests.due or record.requests.sent or distribution(record, "request").count:
        return "request"
    if record.fan_out is not None and distribution(record, "push").count:
        return "push"
    return "first"


def distribution(record: RunRecord, name: str) -> Latency:
    """A distribution by name; an empty one where the run has none."""
    if name == "lag":
        return record.limit.schedule_lag
    return record.latencies.get(name, Latency())


def _of_latency(latency: Latency, metric: Metric, what: str) -> tuple[float | None, str]:
    if latency.count == 0:
        if metric.distribution == "lag":
            return None, "The run did not measure how late the generator was."
        return None, f"The run measured no latencies of {what}."
    if metric.quantile is None:
        return getattr(latency, f"{metric.figure}_ns"), ""
    needed = math.ceil(_BEYOND / min(metric.quantile, 1 - metric.quantile))
    if latency.count < needed:
        return None, (
            f"{metric.figure} needs {format_count(needed)} samples; there were only "
            f"{format_count(latency.count)} ({what})."
        )
    if metric.figure in latency.percentiles_ns:
        return float(latency.percentiles_ns[metric.figure]), ""
    if not latency.histogram:
        return None, f"The record has no histogram of {what} to take {metric.figure} from."
    return float(latency.distribution().quantile(float(metric.quantile))), ""


def connected(c: Connections) -> int:
    """Early records have what had opened only."""
    return c.connected or c.opened


# distribution -> how many of what was due have no latency in it, because nothing came back
_UNANSWERED: dict[str, Callable[[RunRecord], int]] = {
    "request": lambda r: r.requests.missing + r.requests.unsent,
    "uncorrected": lambda r: r.requests.missing,
    "first": lambda r: r.first.missing,
    "stampede": lambda r: r.stampede.missing,
    "connect": lambda r: r.connections.attempted - connected(r.connections),
    "secured": lambda r: r.connections.tls_failed,
    "handshake": lambda r: r.connections.handshake_failed,
    "push": lambda r: r.fan_out.missing if r.fan_out else 0,
}


def beyond(record: RunRecord, metric: Metric) -> str:
    """A sentence where the figure would be one that never came, else "".

    A percentile of the replies says nothing of the requests without one: these took longer than any
    bound. With 2 % of them missing, the slowest 1 % of all requests have no latency at all.
    """
    if metric.figure != "max" and metric.quantile is None:
        return ""
    name = metric.distribution or default_distribution(record)
    came = distribution(record, name).count
    short = _UNANSWERED[name](record) if name in _UNANSWERED else 0
    quantile = Fraction(1) if metric.quantile is None else metric.quantile
    if math.ceil(quantile * (came + short)) <= came:
        return ""
    return (
        f"It is of the {format_count(came)} that came; {format_count(short)} never did, and with "
        f"them counted as slower than all others {metric.figure} has no bound."
    )


# How metrics are read from a record.


def _fault(kind: str) -> Reader:
    """Of all requests, or of the pushes; not fewer than were kept to be shown."""

    def total(record: RunRecord) -> float:
        counted = record.all_requests.faults.get(kind, 0)
        pushes = float(getattr(record.fan_out, kind, 0))
        return max(counted, pushes, sum(fault.kind == kind for fault in record.faults))

    return total


def _server_cpu(record: RunRecord) -> float | None:
    """Over the stages in which requests were due."""
    server, t_s, right = record.samples.server, record.samples.t_s, record.requests.right
    busy = [one for one in record.stages if one.requests.due and not one.is_stampede]
    used = [cpu_used(server, t_s, one.start_s, one.end_s) for one in busy]
    seconds = sum(each[0] for each in used if each is not None)
    return NS_PER_S * seconds / right if seconds and right else None


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _saturated(record: RunRecord) -> float | None:
    limit = record.limit
    return None if limit.who == "unknown" and not limit.is_lower_bound else limit.is_lower_bound


def _counts() -> Iterator[Metric]:
    """Those that are fields of the record: each is described there."""
    parts = {"connections": CONNECTION_COUNTS, "all_requests": REQUEST_COUNTS}
    for part, counts in parts.items():
        for field, one in counts.items():
            read, must_not_be = attrgetter(f"{part}.{field}"), bool(one.shortfall)
            yield Metric(one.name or field, "count", one.help, read, "", one.better, must_not_be)
    for kind, help in (WRONG_KINDS | EXTRA_KINDS).items():
        yield Metric(kind, "count", help, _fault(kind), must_not_be=True)


_UNKNOWN = "Too few connections were open, or the server's process is not known."

_OTHERS = (
    Metric("failed", "count", "connects that ended without a connection, in any way",
           lambda r: r.connections.attempted - r.connections.opened, must_not_be=True),
    Metric("rate", "rate", "right replies a second, over the stages in which requests were due",
           lambda r: _share(r.requests.right, r.requests.seconds),
           "The run has no stage in which requests were due.", HIGHER),
    Metric("connect_rate", "rate", "connections opened a second, over the ramp",
           lambda r: r.ramp.connects_per_s if r.ramp.seconds > 0 else None,
           "The run has no ramp.", HIGHER),
    Metric("opened_share", "share", "of the connections asked for, how many opened",
           lambda r: _share(r.connections.opened, r.asked.connections),
           "The run was asked for no connection.", HIGHER),
    Metric("right_share", "share", "of the requests due, how many were answered right",
           lambda r: _share(r.all_requests.right, r.all_requests.due), "Nothing was sent.",
           HIGHER),
    Metric("reach", "share", "of the pushes expected, how many came (publish)",
           lambda r: r.fan_out.reach if r.fan_out else None,
           "The run published nothing.", HIGHER),
    Metric("server_cpu", "time", "the server's CPU time for each right reply", _server_cpu,
           "The server's process is not known, or no requests were answered."),
    Metric("server_bytes", "bytes", "the server's own memory for each connection",
           attrgetter("memory.server_user_bytes_per_connection"), _UNKNOWN),
    Metric("client_bytes", "bytes", "the generator's memory for each connection",
           attrgetter("memory.client_user_bytes_per_connection"), _UNKNOWN),
    Metric("kernel_bytes", "bytes", "the kernel's memory for each connection",
           attrgetter("memory.kernel_bytes_per_connection"),
           "Too few connections were open to tell."),
    Metric("saturated", "flag", "the generator was the limit: a lower bound", _saturated,
           "The run does not say what its limit was.", better=""),
    Metric("complete", "flag", "all was as asked", attrgetter("verdict.complete"), better=HIGHER,
           must_not_be=True),
)  # fmt: skip

PLAIN = {metric.name: metric for metric in (*_counts(), *_OTHERS)}
# Pushes that did not come are missing, too.
PLAIN["missing"] = replace(
    PLAIN["missing"],
    help=f"{PLAIN['missing'].help}; pushes that did not come",
    read=lambda record: record.all_requests.missing + _UNANSWERED["push"](record),
)

_TAIL = ("p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max")
_SHORT_TAIL = ("p50", "p99", "p99.9", "max")
# What a comparison shows: (its part of the table, the figures of it).
COMPARED = (
    ("requests", ("rate", *(f"request.{p}" for p in _TAIL), "server_cpu")),
    ("uncorrected", tuple(f"uncorrected.{p}" for p in _SHORT_TAIL)),
    ("pushes", ("reach", *(f"push.{p}" for p in _SHORT_TAIL),
                "push_last.p50", "push_last.p99", "push_last.max")),
    ("connecting", ("connect_rate", *(f"connect.{p}" for p in _SHORT_TAIL),
                    *(f"secured.{p}" for p in _SHORT_TAIL),
                    *(f"handshake.{p}" for p in _SHORT_TAIL),
                    *(f"first.{p}" for p in _SHORT_TAIL))),
    ("stampede", tuple(f"stampede.{p}" for p in ("p50", "p99", "max"))),
    ("memory a connection", ("server_bytes", "client_bytes", "kernel_bytes")),
    ("responses", ("status:4xx", "status:5xx")),
    ("must not be", tuple(name for name, metric in PLAIN.items() if metric.must_not_be)),
)  # fmt: skip
