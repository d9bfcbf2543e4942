"""Frames: what each load client of a run says of itself each second, and their sum. Pure.

A frame is a `Tally`, the run, part and attempt that it is of, and its number, from 0. As bytes it
stands for itself, so that it can be sent, and kept in a file behind others:

    "c1mF", version, length of the rest, CRC-32 of the rest     14 bytes, little-endian
    length of the names, the names (JSON), numbers (int64[m]),
    buckets (uint16[n]), counts (uint8, 16, 32 or 64 [n])

What has which name hardly changes from second to second, and is read once. The buckets and counts
of all histograms are one array each.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from c1m.errors import C1mError
from c1m.limits.reasons import WORKER_LOST
from c1m.loadgen.recorder import SeriesMaker
from c1m.results.histogram import Delta, Histogram
from c1m.results.record import Series
from c1m.results.tally import StageSpan, Tally
from c1m.results.workers import WorkerSeries

MAGIC, VERSION = b"c1mF", 1
BYTES_MAX = 1 << 26  # of a frame: a length beyond that is damage
BEHIND_S = 10  # seconds for which a row of the series waits for the frames of all
MISSING_KEPT = 1_000  # numbers of missing frames
LOOKS_MAX = 119  # and the last
NS_PER_S = 1_000_000_000

_HEADER = struct.Struct("<4sHII")
_LENGTH = struct.Struct("<I")
_DUE, _SENT = re.compile(r"(first|stage\.\d+)\.due"), "share.sent."
_SUMS = ("opened", "secured", "lost", "closed")
COLUMNS = ("open", "in_flight", *_SUMS, "failed", "due", "sent", "right", "bad")  # of a series
_SIZES = ("u1", "u2", "u4", "u8")
_FIRST = 6  # numbers: part, attempt, number, t_ns, stage, how many spans; each has four
_EACH = 6  # of a histogram: how many buckets, its sum (low bits, the rest), min, max, clamped
_LOW = 62  # bits
_NAMES_KEPT = 1_024  # of frames: nearly all of a run have the same


@dataclass(slots=True)
class Frame:
    """One second of one part."""

    run: str
    part: int
    attempt: int
    number: int
    tally: Tally = field(default_factory=Tally)

    def encode(self) -> bytes:
        """As bytes, with a checksum."""
        tally, deltas = self.tally, self.tally.histograms.values()
        counts = np.concatenate([one.counts for one in deltas]) if deltas else np.zeros(0, "u1")
        most = int(counts.max(initial=0))
        size = next(code for code in _SIZES if most <= np.iinfo(code).max)
        named = [self.run, size, list(tally.counts), list(tally.histograms)]
        text = json.dumps(named, separators=(",", ":")).encode()
        numbers = [
            self.part, self.attempt, self.number, tally.t_ns, tally.stage, len(tally.spans),
            *tally.counts.values(),
        ]  # fmt: skip
        for one in deltas:
            low, high = one.sum & (1 << _LOW) - 1, one.sum >> _LOW
            numbers += len(one.counts), low, high, one.min, one.max, one.clamped
        numbers += itertools.chain.from_iterable(tally.spans)
        parts = [_LENGTH.pack(len(text)), text, struct.pack(f"<{len(numbers)}q", *numbers)]
        parts += [one.buckets.astype("<u2").tobytes() for one in deltas]
        return sealed(b"".join([*parts, counts.astype("<" + size).tobytes()]))

    @classmethod
    def decode(cls, data: bytes) -> Frame:
        """What `encode` gave. Raises C1mError for anything else."""
        return cls.of(opened(data))

    @classmethod
    def of(cls, body: bytes | memoryview) -> Frame:
        """Of what was sealed."""
        try:
            (length,) = _LENGTH.unpack_from(body)
            at = _LENGTH.size + length
            names = _names(bytes(body[_LENGTH.size : at]))
            numbers = names.numbers.unpack_from(body, at)
            part, attempt, number, t_ns, stage, spans = numbers[:_FIRST]
            tally = Tally(t_ns, stage, dict(zip(names.counts, numbers[_FIRST:], strict=False)))
            at += names.numbers.size
            if spans:
                found = struct.unpack_from(f"<{4 * spans}q", body, at)
                tally.spans = [StageSpan(*found[i : i + 4]) for i in range(0, 4 * spans, 4)]
                at += 32 * spans
            first = _FIRST + len(names.counts)
            total = sum(numbers[first::_EACH])
            buckets = np.frombuffer(body, "<u2", total, at)
            counts = np.frombuffer(body, names.size, total, at + 2 * total)
            start = 0
            for name in names.histograms:
                count, low, high, least, most, clamped = numbers[first : first + _EACH]
                first, end = first + _EACH, start + count
                total = low + (high << _LOW)
                each = buckets[start:end], counts[start:end]
                tally.histograms[name] = Delta(*each, total, least, most, clamped)
                start = end
            return cls(names.run, part, attempt, number, tally)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise C1mError(f"A frame is damaged: {error}.") from error


class _Names(NamedTuple):
    """What the numbers of a frame are of, and how they lie."""

    run: str
    size: str
    counts: list[str]
    histograms: list[str]
    numbers: struct.Struct  # but for spans


@lru_cache(_NAMES_KEPT)
def _names(text: bytes) -> _Names:
    run, size, counts, histograms = json.loads(text)
    many = _FIRST + len(counts) + _EACH * len(histograms)
    return _Names(run, "<" + size, counts, histograms, struct.Struct(f"<{many}q"))


def sealed(body: bytes) -> bytes:
    """With its length and checksum before it."""
    return _HEADER.pack(MAGIC, VERSION, len(body), zlib.crc32(body)) + body


def opened(data: bytes) -> memoryview:
    """What was sealed, in the same memory. Raises C1mError for anything else."""
    found = next_of(data)
    if found is None or found[1] != len(data):
        raise C1mError("A frame is not whole.")
    return found[0]


def next_of(data: bytes, at: int = 0) -> tuple[memoryview, int] | None:
    """What was sealed first in this, which stands at byte `at` of a file, and how long that is
    with its header; None: it is not whole. Raises C1mError where it is damaged."""
    if len(data) < _HEADER.size:
        return None
    magic, version, length, checksum = _HEADER.unpack_from(data)
    if magic != MAGIC or length > BYTES_MAX:
        raise C1mError(f"no frame begins at byte {at:,}")
    if version != VERSION:
        raise C1mError(f"its frames are of version {version}; this c1m reads {VERSION}")
    end = _HEADER.size + length
    if len(data) < end:
        return None
    body = memoryview(data)[_HEADER.size : end]
    if zlib.crc32(body) != checksum:
        raise C1mError(f"the frame at byte {at:,} is not what was written")
    return body, end


class Look(NamedTuple):
    """How a part stands; counts since its beginning."""

    t_ns: int = 0
    open: int = 0
    sent: int = 0
    right: int = 0
    user_us: int = 0
    system_us: int = 0
    rss_bytes: int = 0

    def cpu_since(self, before: Look) -> float:
        """Cores that it used since then."""
        used_us = self.user_us + self.system_us - before.user_us - before.system_us
        return round(used_us * 1000 / max(self.t_ns - before.t_ns, 1), 3)


@dataclass(slots=True)
class Frames:
    """What is known of one attempt of a part by its frames. `counts` are of all of them."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    got: int = 0
    next: int = 0  # the number that comes next
    missing: set[int] = field(default_factory=set)
    t_ns: int = 0
    last: Tally = field(default_factory=Tally)
    last_ns: int = 0  # that it is of; 0: it has the process's beginning
    spans: dict[int, StageSpan] = field(default_factory=dict)
    has_ended: bool = False  # nothing more comes
    lost: str = ""  # why
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))
    looks: list[Look] = field(default_factory=list)  # the run's, evenly spread
    _stride: int = 1

    def take(self, frame: Frame) -> bool:
        """Whether it is new."""
        number = frame.number
        if number < self.next:
            if number not in self.missing:
                return False
            self.missing.discard(number)
        else:
            if number > self.next:
                self.missing.update(range(self.next, number)[:MISSING_KEPT])
            self.next = number + 1
        self.got += 1
        tally = frame.tally
        for span in tally.spans:
            self.spans[span.number] = span
        if tally.t_ns >= self.t_ns:
            self.last_ns = tally.t_ns - self.t_ns if self.got > 1 else 0
            self.t_ns, self.last = tally.t_ns, tally
        return True

    def look(self) -> None:
        """Keep how it stands, for a picture of it over time; of many, every second one."""
        if self.got % self._stride == 0:
            self.looks.append(self._now())
            if len(self.looks) > LOOKS_MAX:
                self.looks, self._stride = self.looks[1::2], self._stride * 2

    def _now(self) -> Look:
        now, totals = self.counts, self.totals
        return Look(
            self.t_ns, totals["open"], totals["sent"], totals["right"], now.get("cpu.user_us", 0),
            now.get("cpu.system_us", 0), now.get("rss", 0),
        )  # fmt: skip

    def series(self) -> WorkerSeries:
        """It over time."""
        looks = self.looks
        if looks and looks[-1].t_ns < self.t_ns:
            is_brief = self.t_ns - looks[-1].t_ns < NS_PER_S // 2
            looks = [*(looks[:-1] if is_brief else looks), self._now()]
        steps = list(itertools.pairwise([Look(), *looks]))
        return WorkerSeries(
            t_s=[round(b.t_ns / 1e9, 3) for _, b in steps],
            open=[b.open for _, b in steps],
            sent=[b.sent - a.sent for a, b in steps],
            right=[b.right - a.right for a, b in steps],
            cpu=[0.0, *(b.cpu_since(a) for a, b in steps[1:])][: len(steps)],
        )


@dataclass(slots=True)
class Whole:
    """The sum of the frames of a run by `of` parts, and its series."""

    of: int = 1
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    histograms: dict[str, Histogram] = field(default_factory=dict)
    parts: dict[tuple[int, int], Frames] = field(default_factory=dict)  # by part and attempt
    rows: Rows = field(default_factory=lambda: Rows())

    def add(self, frame: Frame) -> bool:
        """Take a frame in, in any order; False for one that was taken before, or comes after its
        part was lost."""
        frames = self._frames(frame.part, frame.attempt)
        if frames.has_ended or not frames.take(frame):
            return False
        self._add(frames, frame.tally)
        return True

    def end(self, part: int, attempt: int, t_ns: int = 0, lost: str = "") -> None:
        """Nothing more comes of an attempt; `lost`, why: then what it had open is lost, and what
        was in flight will never be answered."""
        frames = self._frames(part, attempt)
        if not frames.has_ended:
            frames.has_ended, frames.lost = True, lost
            if lost:
                losses = losses_of(frames.counts)
                self._add(frames, Tally(max(t_ns, frames.t_ns), frames.last.stage, losses))

    def _frames(self, part: int, attempt: int) -> Frames:
        frames = self.parts.get((part, attempt))
        if frames is None:
            frames = self.parts[part, attempt] = Frames()
        return frames

    def _add(self, frames: Frames, tally: Tally) -> None:
        whole, own, totals = self.counts, frames.counts, frames.totals
        columns: dict[str, int] = {}
        for name, count in tally.counts.items():
            whole[name] += count
            own[name] += count
            if column := _column_of(name):
                columns[column] = columns.get(column, 0) + count
                totals[column] += count
        for name, delta in tally.histograms.items():
            histogram = self.histograms.get(name)
            if histogram is None:
                histogram = self.histograms[name] = Histogram()
            histogram.add(delta)
        is_new = self.rows.add(tally, columns)
        frames.look()
        if is_new:  # once a second
            times = [one.t_ns for one in self.parts.values() if not one.has_ended]
            self.rows.close(min(times, default=0) if len(self.parts) >= self.of else 0)

    def series(self) -> Series:
        """So far, to the end."""
        return self.rows.series()


def losses_of(counts: Mapping[str, int]) -> dict[str, int]:
    """What becomes of what a lost load client had: by its counts until then."""

    def of(name: str) -> int:
        return counts.get(name, 0)

    new = {"open": -of("open"), "in_flight": -of("in_flight"), "rss": -of("rss")}
    if not of("connections.open_at_end"):  # else it was closing them
        new |= {"connections.lost": of("open"), f"failed.open.{WORKER_LOST}": of("open")}
    for group in [name.removesuffix(".due") for name in counts if _DUE.fullmatch(name)]:
        resolved = of(f"{group}.right") + of(f"{group}.wrong") + of(f"{group}.missing")
        new[f"{group}.missing"] = of(f"{group}.sent") - resolved
        new[f"{group}.unsent"] = of(f"{group}.due") - of(f"{group}.sent") - of(f"{group}.unsent")
    for share in [name.removeprefix(_SENT) for name in counts if name.startswith(_SENT)]:
        resolved = sum(of(f"share.{kind}.{share}") for kind in ("right", "wrong", "missing"))
        new[f"share.missing.{share}"] = of(_SENT + share) - resolved
    return {name: count for name, count in new.items() if count}


# --- the series ---------------------------------------------------------------------------------


@lru_cache(4096)
def _column_of(name: str) -> str:
    """Where a count of a tally goes in a series; "": nowhere."""
    group, _, last = name.rpartition(".")
    if name in ("open", "in_flight"):
        return name
    if group == "connections" and last in _SUMS:
        return last
    if group.startswith("failed.") and group != "failed.open":
        return "failed"
    if last in ("wrong", "missing") and (group == "first" or group.startswith("stage.")):
        return "bad"
    is_stage = group.startswith("stage.") and group.count(".") == 1
    return last if is_stage and last in ("due", "sent", "right") else ""


@dataclass(slots=True)
class _Row:
    """A second that is not complete yet."""

    t_ns: int = 0
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    recent: Histogram = field(default_factory=Histogram)
    lag_max_ns: int = 0


@dataclass(slots=True)
class Rows:
    """A row a second, of frames that come late and out of order."""

    made: SeriesMaker = field(default_factory=SeriesMaker)
    peak_open: int = 0
    recent_ns: dict[str, int] = field(default_factory=dict)  # of the last row
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))
    closed_s: int = 0  # rows up to this one are made
    open: dict[int, _Row] = field(default_factory=dict)

    def add(self, tally: Tally, columns: Mapping[str, int]) -> bool:
        """Of one part, with its counts by column; whether it begins a row. What is late for its
        row goes into the next."""
        second = max((tally.t_ns + NS_PER_S // 2) // NS_PER_S, self.closed_s + 1)
        row = self.open.get(second)
        is_new = row is None
        if row is None:
            row = self.open[second] = _Row()
        row.t_ns = max(row.t_ns, tally.t_ns)
        for column, count in columns.items():
            row.counts[column] += count
        for name, delta in tally.histograms.items():
            if name.endswith(".corrected"):
                row.recent.add(delta)
            elif name.startswith("lag"):
                row.lag_max_ns = max(row.lag_max_ns, delta.highest)
        return is_new

    def close(self, t_ns: int) -> None:
        """All have come so far; nor are those waited for that are further behind than BEHIND_S."""
        newest = max(self.open, default=0)
        until = max(t_ns // NS_PER_S - 1, newest - BEHIND_S)
        if until <= self.closed_s:
            return
        for second in sorted(self.open):
            if second > until:
                break
            row, totals = self.open.pop(second), self.totals
            for name, count in row.counts.items():
                totals[name] += count
            self.peak_open = max(self.peak_open, totals["open"])
            self.made.recent, self.made.lag_max_ns = row.recent, row.lag_max_ns
            self.recent_ns = self.made.row({"t_s": round(row.t_ns / 1e9, 3), **totals})
        self.closed_s = until

    def series(self) -> Series:
        """Of all frames: nothing more comes."""
        if self.open:
            self.close((max(self.open) + 1) * NS_PER_S)
        return self.made.series()
