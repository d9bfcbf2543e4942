"""Whether one end of a run stood still, when, and what its process did meanwhile. Pure.

From gaps that the generator noticed (loadgen/stillness.py): times without a reply on any of the
connections though some were waited for, and times in which the generator itself was not awake.

- A gap counts as far as it lies in stages with requests, and only where it is far longer than what
  is usual in this run: half a second, ten median latencies, and ten times the time between two
  replies. So a slow server, or one that is asked little, does not stand still.
- The generator stood still where it used less than half a core meanwhile; else it was busy.
- What the server's process used meanwhile says what it did: nothing (stopped, waiting, no core), or
  something else than answering.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from c1m.results.processor import cpu_share
from c1m.results.record import Samples
from c1m.results.requests import Pause
from c1m.units import NS_PER_S, format_count, format_duration

STILL_S = 0.5  # the sampler's interval: over less, processor time says nothing
UNUSUAL = 10  # times what is usual
AWAKE = 0.5  # of a core: who used so much did not stand still
IDLE = 0.1  # of a core: who used less did nothing
BUSY = 0.9


class Gap(NamedTuple):
    """A time, in seconds since the start, in which nothing came (or, ours: was done)."""

    is_ours: bool
    start_s: float
    end_s: float
    waiting: int = 0  # requests in flight at its end

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end_s - self.start_s


def pauses_of(
    gaps: Sequence[Gap],
    spans: Sequence[tuple[float, float]],
    samples: Samples,
    service_p50_ns: int | None,
    replies_per_s: float,
) -> list[Pause]:
    """The gaps that count, the earliest first.

    `spans`: from when to when stages with requests ran, in s; `service_p50_ns` uncorrected.
    """
    least = max(STILL_S, UNUSUAL * (service_p50_ns or 0) / NS_PER_S)
    if replies_per_s > 0:
        least = max(least, UNUSUAL / replies_per_s)
    pauses = []
    for gap in sorted(gaps, key=lambda gap: gap.start_s):
        inside = max((min(gap.end_s, end) - max(gap.start_s, start) for start, end in spans),
                     default=0.0)  # fmt: skip
        if inside < least:
            continue
        process = samples.client if gap.is_ours else samples.server
        times = samples.t_s, gap.start_s, gap.end_s
        cpu = None if process is None else cpu_share(process, *times)
        if gap.is_ours and (cpu is None or cpu >= AWAKE):
            continue
        who = "generator" if gap.is_ours else "server"
        pauses.append(Pause(who, round(gap.start_s, 3), round(gap.seconds, 3), gap.waiting, cpu))
    return pauses


def pause_sentence(pauses: Sequence[Pause]) -> str:
    """What pauses of one end come to: the longest of them, and how many there were."""
    worst = max(pauses, key=lambda pause: pause.seconds)
    is_ours = worst.who == "generator"
    long, at = (format_duration(s * NS_PER_S) for s in (worst.seconds, worst.start_s))
    name = "The generator" if is_ours else "The server"
    if worst.cpu is None and not is_ours:
        name = "The server, or the path to it,"
    said = f"{name} stood still for {long}, from {at} after the start on"
    if not is_ours:
        said += (
            ": no reply came on any connection meanwhile, and at its end "
            f"{format_count(worst.waiting)} requests waited for one"
        )
    said += f". {_meanwhile(worst)}"
    if len(pauses) > 1:
        whole = format_duration(sum(pause.seconds for pause in pauses) * NS_PER_S)
        said += f" It did so {format_count(len(pauses))} times, {whole} in all."
    return said


def _meanwhile(pause: Pause) -> str:
    if pause.cpu is None:
        return "Its processor time is not known here."
    used = f"Its process used {100 * pause.cpu:.0f} % of a core"
    if pause.who == "generator":
        return f"{used}: it was stopped, or had no core, and what was due meanwhile went out late."
    if pause.cpu < IDLE:
        return f"{used}: it was stopped, waited for something else, or had no core."
    return f"{used}: it was busy with something else than answers."
