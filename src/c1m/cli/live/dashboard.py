"""The picture of a running load: snapshots in, lines of styled text out.

It is made of blocks, of which `fit` draws those that a terminal has room for. Colours only repeat
what words and bars say, so it reads the same in monochrome. `viewer.py` says when to draw. No clock
is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from rich.text import Text

from c1m.cli.live import workers
from c1m.cli.live.plots import bar, chart, joined_octaves, percent, printable, short_time
from c1m.results.counts import LOWER
from c1m.results.record import REQUEST_COUNTS
from c1m.results.snapshot import LIVE_FIGURES, Snapshot
from c1m.units import (
    NS_PER_MS,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    format_short_count,
)

TWO_COLUMNS = 76  # from this width on
LAG_NS = 10_000_000  # a generator later than this spoils what it measures
GAP = 2  # columns between two blocks side by side
POINTS_MAX = 2048  # a screen is narrower; beyond it neighbours are joined

# Ends of the time axis in seconds: a picture that rarely changes its scale is easier to read.
_SPANS = (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800)
PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "p99.999")

_BAR = "cyan"
_BAD = "bold red"
_NUMBER = 13  # columns for a count of requests
_CONNECTIONS = 11  # for one of connections
_FUNNEL = {  # the rows of connections, and their bars' style
    "attempted": _BAR, "opened": _BAR, "connected": _BAR, "secured": _BAR, "ready": _BAR,
    "open": "green", "failed": _BAD, "lost": _BAD, "closed": _BAR,
}  # fmt: skip
_ONLY = {"opened": False, "connected": True, "secured": True}  # rows with TLS, or without
_REQUESTS = {  # the rows of requests, and their numbers' style
    **{
        f"requests.{name}": _BAD if count.shortfall else "green" if name == "right" else ""
        for name, count in REQUEST_COUNTS.items()
        if count.shortfall or count.better != LOWER
    },
    "in_flight": "",
}
_MEMORY = ("server_rss_bytes", "client_rss_bytes", "slab_bytes", "used_bytes")


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the picture. `draw(width, rows)` gives at most `rows` lines."""

    rank: int  # 0 is the most important
    least: int  # rows
    most: int
    draw: Callable[[int, int], list[Text]]


def fit(blocks: Sequence[Panel], width: int, height: int) -> list[Text]:
    """The lines of the blocks that fit, in the order given, each line `width` columns.

    The most important blocks are chosen first; then all of them share the rows that are left.
    """
    kept: dict[int, int] = {}  # which block -> its rows
    left = height
    for i in sorted(range(len(blocks)), key=lambda i: blocks[i].rank):
        if blocks[i].least <= left:
            kept[i] = blocks[i].least
            left -= blocks[i].least
    while left > 0:
        growing = [i for i in kept if kept[i] < blocks[i].most]
        if not growing:
            break
        for i in growing[:left]:
            kept[i] += 1
        left -= min(left, len(growing))
    lines = []
    for i in sorted(kept):
        lines += _sized(blocks[i].draw(width, kept[i]), width, kept[i])
    return lines


def beside(left: Panel, right: Panel) -> Panel:
    """Two blocks as one: each has half of the width, and as many rows as the taller."""

    def draw(width: int, rows: int) -> list[Text]:
        half = (width - GAP) // 2
        lefts = _sized(left.draw(half, rows), half + GAP, rows)
        rights = _sized(right.draw(width - half - GAP, rows), width - half - GAP, rows)
        return [a.append_text(b) for a, b in zip(lefts, rights, strict=True)]

    least, most = max(left.least, right.least), max(left.most, right.most)
    return Panel(min(left.rank, right.rank), least, most, draw)


def blank(rank: int) -> Panel:
    """An empty row."""
    return Panel(rank, 1, 1, lambda width, rows: [Text()])


def _sized(lines: list[Text], width: int, rows: int) -> list[Text]:
    """Exactly `rows` lines of exactly `width` columns."""
    lines = lines[:rows] + [Text() for _ in range(rows - len(lines))]
    for line in lines:
        line.truncate(width, overflow="crop", pad=True)
    return lines


class History:
    """Open connections and right replies over the run, and when the present stage began.

    Its memory is bounded.
    """

    def __init__(self) -> None:
        self.t_s: list[float] = []
        self.open: list[float] = []
        self.right_per_s: list[float] = []
        self._stage = 0
        self._stage_start_s = 0.0

    def add(self, snapshot: Snapshot) -> None:
        """Remember a snapshot; one that is not later than the last one replaces it."""
        if self.t_s and snapshot.elapsed_s <= self.t_s[-1]:
            self.open[-1], self.right_per_s[-1] = snapshot.open, snapshot.right_per_s
        else:
            self.t_s.append(snapshot.elapsed_s)
            self.open.append(snapshot.open)
            self.right_per_s.append(snapshot.right_per_s)
        if snapshot.stage_number != self._stage:
            self._stage, self._stage_start_s = snapshot.stage_number, snapshot.elapsed_s
        if len(self.t_s) > POINTS_MAX:
            self.t_s = self.t_s[1::2]
            self.open, self.right_per_s = _joined(self.open), _joined(self.right_per_s)

    def stage_share(self, snapshot: Snapshot) -> float | None:
        """How much of the stage is over (0 to 1); None where its end is not known."""
        if snapshot.is_last:
            return 1.0
        if snapshot.stage_left_s is None:
            return None
        gone = snapshot.elapsed_s - self._stage_start_s
        whole = gone + snapshot.stage_left_s
        return gone / whole if whole > 0 else 1.0

    def span_s(self) -> float:
        """The end of the time axis that holds the run so far."""
        last = self.t_s[-1] if self.t_s else 0.0
        return next((float(span) for span in _SPANS if last <= span), last)

    def columns(self, values: Sequence[float], count: int) -> list[float | None]:
        """One of the series as `count` columns from 0 to `span_s()`: the mean within each.

        A column without points repeats the one before; columns after the last point are None.
        """
        sums, points = [0.0] * count, [0] * count
        last = -1
        per_s = count / self.span_s()
        for t_s, value in zip(self.t_s, values, strict=True):
            last = min(int(t_s * per_s), count - 1)
            sums[last] += value
            points[last] += 1
        columns: list[float | None] = [None] * count
        held = 0.0
        for i in range(last + 1):
            held = sums[i] / points[i] if points[i] else held
            columns[i] = held
        return columns


def _joined(values: list[float]) -> list[float]:
    """The means of pairs of neighbours; an odd one at the end is dropped, as in `t_s[1::2]`."""
    return [(a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=False)]


class Dashboard:
    """Draws the latest snapshot. `is_ascii`: the terminal has no block characters."""

    def __init__(self, is_ascii: bool = False, metrics_url: str = "", live_url: str = "") -> None:
        self.snapshot = Snapshot()
        self.history = History()
        self.is_ascii = is_ascii
        self.urls = {"metrics": metrics_url, "page": live_url}

    def add(self, snapshot: Snapshot) -> None:
        """What is drawn from now on."""
        self.snapshot = snapshot
        self.history.add(snapshot)

    def lines(self, width: int, height: int) -> list[Text]:
        """At most `height` lines of `width` columns, the most important parts first."""
        steps = 9 if self.snapshot.is_tls else 8
        funnel, requests = Panel(1, 8, steps, self._funnel), Panel(2, 8, 8, self._requests)
        opened, rates = Panel(8, 3, 12, self._open_chart), Panel(9, 3, 12, self._rate_chart)
        used = [i for i, count in enumerate(self.snapshot.octaves) if count] or [0]
        spread = Panel(6, 6, max(6, used[-1] - used[0] + 2), self._octaves)
        table = Panel(5, 6, max(6, 1 + len(self._percentile_names())), self._percentiles)
        middle = [funnel, requests, table, spread, opened, rates]
        if width >= TWO_COLUMNS:
            middle = [
                beside(funnel, requests), blank(10), beside(opened, rates), blank(11),
                beside(spread, table), blank(12),
            ]  # fmt: skip
        ends = [
            Panel(3, 1, 2 if len(self.snapshot.causes()) > 2 else 1, self._errors),
            *([Panel(4, 1, 1, self._outcomes)] if self._outcomes(width, 1) else []),
            Panel(7, 1, 1, self._memory),
            Panel(4, 1, 1, self._generator),
        ]
        if rows := workers.rows_of(self.snapshot):
            table = Panel(2, min(rows, 4), rows, self._workers)
            ends.insert(0, table)
        hint = Panel(13, 1, 1, self._hint)
        top = [Panel(0, 1, 1, self._title), Panel(0, 1, 1, self._stage)]
        if (lost := workers.degraded(self.snapshot)) is not None:
            top.append(Panel(0, 1, 1, lambda _, most: [lost]))
        return fit([*top, *middle, *ends, hint], width, height)

    def _overflow(self) -> Literal["crop", "ellipsis"]:
        return "crop" if self.is_ascii else "ellipsis"

    # --- the run --------------------------------------------------------------------------------

    def _title(self, width: int, rows: int) -> list[Text]:
        s = self.snapshot
        right = f" {format_duration(round(s.elapsed_s, 1) * 1e9)} " if s.elapsed_s else " "
        left = Text(f" c1m load  {printable(s.target)}  {printable(s.scenario)}")
        left.truncate(max(width - len(right), 0), overflow=self._overflow(), pad=True)
        left.append(right)
        left.stylize("bold reverse")
        return [left]

    def _stage(self, width: int, rows: int) -> list[Text]:
        s = self.snapshot
        share = self.history.stage_share(s)
        if s.is_last:
            left = "done"
        elif s.stage_left_s is None:
            left = "until it is done"
        else:
            left = f"{format_duration(math.ceil(s.stage_left_s) * 1e9)} left"
        cells = 0 if share is None else min(24, max(width // 4, 8))
        if not s.stage_number:
            return [Text(f" {s.stage}", "bold")]
        line = Text(f" stage {s.stage_number} of {s.stages}  ")
        line.append(printable(s.stage), "bold")
        line.truncate(max(width - cells - len(left) - 4, 0), overflow=self._overflow())
        line.append("  ")
        if share is not None:
            line.append(bar(share, cells, self.is_ascii).replace(" ", "░"), _BAR)
            line.append(" ")
        line.append(left)
        return [line]

    def _hint(self, width: int, rows: int) -> list[Text]:
        urls = "".join(f"   {name} {url}" for name, url in self.urls.items() if url)
        said = "" if self.snapshot.is_last else "Ctrl-C ends the run with the results so far"
        return [Text(f" {said}{urls}", "dim")]

    # --- connections ----------------------------------------------------------------------------

    def _funnel(self, width: int, rows: int) -> list[Text]:
        """From attempted to lost; shares are of what was asked, or attempted where that is more."""
        s = self.snapshot
        whole = max(s.asked, s.attempted)
        lines = [_heading("connections", f"{format_count(s.asked)} asked")]
        for name, style in _FUNNEL.items():
            if _ONLY.get(name, s.is_tls) != s.is_tls:
                continue
            count, of = getattr(s, name), s.asked if name == "open" else whole
            share = count / of if of else 0.0
            number_style = (_BAD if style == _BAD else "") if count else "dim"
            line = _row(name, f"{format_count(count):>{_CONNECTIONS}}", number_style)
            cells = width - len(line.plain) - 9
            line.append("  ").append(bar(share, max(cells, 0), self.is_ascii), style)
            line.append(f"{percent(share):>7}", "" if count else "dim")
            lines.append(line)
        return lines

    def _open_chart(self, width: int, rows: int) -> list[Text]:
        s, h = self.snapshot, self.history
        top = float(max(s.asked, 1, *h.open))
        said = f"{format_rate(s.connects_per_s)} opening" if s.connects_per_s else ""
        if s.last_step_ms is not None and s.connects_per_s:
            said += f", last 1,000 in {format_duration(s.last_step_ms * NS_PER_MS)}"
        lines = [_heading("open over time", said)]
        return lines + self._chart(h.open, top, width, rows - 1, "green")

    def _chart(
        self, values: list[float], top: float, width: int, rows: int, style: str
    ) -> list[Text]:
        """An area chart with its upper edge and the end of its time axis beside it."""
        labels = [""] * rows
        labels[-1] = f"0-{short_time(self.history.span_s())}"
        labels[0] = format_short_count(top, 3)
        left = max(len(label) for label in labels) + 1
        columns = self.history.columns(values, max(width - left - 1, 1))
        drawn = chart(columns, rows, top, self.is_ascii)
        return [
            Text().append(f" {label:>{left - 1}} ", "dim").append(cells, style)
            for label, cells in zip(labels, drawn, strict=True)
        ]

    # --- requests -------------------------------------------------------------------------------

    def _requests(self, width: int, rows: int) -> list[Text]:
        s = self.snapshot
        asked = "as fast as replies come" if s.is_closed_loop else ""
        if s.rate_asked_per_s is not None:
            asked = f"{format_rate(s.rate_asked_per_s)} asked"
        lines = [_heading("requests", asked)]
        for name, style in _REQUESTS.items():
            count = attrgetter(name)(s)
            rate = getattr(s, f"{name.rpartition('.')[2]}_per_s", None)
            row_style = style if count else "dim"
            line = _row(name, f"{format_count(count):>{_NUMBER}}", row_style)
            if rate is not None and math.isfinite(rate):
                line.append(f"{format_rate(rate):>{_NUMBER}}", row_style)
            lines.append(line)
        return lines

    def _rate_chart(self, width: int, rows: int) -> list[Text]:
        s, h = self.snapshot, self.history
        asked = s.rate_asked_per_s or 0.0
        top = max(v for v in (1.0, asked, *h.right_per_s) if math.isfinite(v))
        lines = [_heading("right replies a second", f"{format_rate(s.right_per_s)} now")]
        return lines + self._chart(h.right_per_s, top, width, rows - 1, _BAR)

    def _percentiles(self, width: int, rows: int) -> list[Text]:
        s = self.snapshot
        lines = [_heading("latency", f"{'whole run':>13}{'last second':>13}")]
        for name in self._percentile_names()[-(rows - 1) :]:
            line = Text(f" {name:<9}")
            for values in (s.percentiles_ns, s.recent_ns):
                value = values.get(name)
                line.append(f"{format_duration(value) if value is not None else '-':>13}")
            lines.append(line)
        return lines

    def _percentile_names(self) -> list[str]:
        """Those that have a value, and the usual ones that have none yet."""
        known = {"p50", "p90", "p99", "max", *self.snapshot.percentiles_ns}
        return [name for name in (*PERCENTILES, "max") if name in known]

    def _octaves(self, width: int, rows: int) -> list[Text]:
        """Replies by latency: a bar for each doubling, neighbours joined where rows are few."""
        lines = [_heading("latencies", "from when they were due")]
        joined = joined_octaves(self.snapshot.octaves, rows - 1)
        if not joined:
            return [*lines, Text(" no replies yet", "dim")]
        most, whole = max(c for _, c in joined), sum(c for _, c in joined)
        for end_ns, count in joined:
            line = Text(f" < {format_duration(end_ns):<8}")
            cells = max(width - len(line.plain) - 8, 0)
            line.append(bar(count / most, cells, self.is_ascii), _BAR)
            line.append(f"{percent(count / whole):>7}", "" if count else "dim")
            lines.append(line)
        return lines

    # --- what is wrong, and what it costs -------------------------------------------------------

    def _errors(self, width: int, rows: int) -> list[Text]:
        line = _label("errors")
        causes = [f"{format_count(count)} x {printable(n)}" for n, count in self.snapshot.causes()]
        if not causes:
            return [line.append("none")]
        line.append(", ".join(causes), _BAD)
        if len(line.plain) <= width:
            return [line]
        cut = line.plain.rfind(", ", 0, width) + 2 if rows > 1 else 0
        if cut < 2:
            line.truncate(width - 1, overflow=self._overflow())
            return [line]
        rest = Text(" " * 11).append(line.plain[cut:], _BAD)
        rest.truncate(width - 1, overflow=self._overflow())
        return [line[:cut], rest]

    def _outcomes(self, width: int, rows: int) -> list[Text]:
        """How many responses had which status, and which checks failed; [] without either."""
        s = self.snapshot
        said = {code: (count, code[0] in "45") for code, count in sorted(s.statuses.items())}
        if s.checks_passed:
            said["checks held"] = (sum(s.checks_passed.values()), False)
        said |= {f"{name} failed": (n, True) for name, n in s.checks_failed.items() if n}
        line = _label("responses" if s.statuses else "checks")
        for name, (count, is_bad) in said.items():
            line.append(f"{printable(name)} ", "dim")
            line.append(f"{format_count(count)}  ", _BAD if is_bad else "")
        line.truncate(width - 1, overflow=self._overflow())
        return [line] if said else []

    def _workers(self, width: int, rows: int) -> list[Text]:
        return workers.lines(self.snapshot, width, rows)

    def _memory(self, width: int, rows: int) -> list[Text]:
        line = _label("memory")
        for name in _MEMORY:
            size = getattr(self.snapshot, name)
            if size is not None:
                line.append(f"{LIVE_FIGURES[name].shown} ", "dim").append(f"{format_bytes(size)}  ")
        return [line]

    def _generator(self, width: int, rows: int) -> list[Text]:
        s = self.snapshot
        line = _label("generator")
        if s.rate_asked_per_s is None and s.lag_max_ns == 0:
            return [line.append("keeps no schedule in this stage", "dim")]
        said = f"at most {format_duration(s.lag_max_ns)} behind schedule in the last second"
        is_late = s.lag_max_ns > LAG_NS
        line.append(said, "bold yellow" if is_late else "")
        return [line.append(": too slow" if is_late else "", "bold yellow")]


def _heading(name: str, said: str = "") -> Text:
    return Text().append(f" {name}", "bold").append(f"  {said}" if said else "", "dim")


def _label(name: str) -> Text:
    return Text().append(f" {name:<10}", "bold")


def _row(name: str, count: str, style: str) -> Text:
    shown = LIVE_FIGURES[name].shown or name.rpartition(".")[2]
    return Text().append(f" {shown:<10}{count}", style)
