"""Where a run by many workers stands: snapshots of the whole and of each worker. Pure.

Everything additive is read from the whole's tally. What is of the last second is kept by worker,
from its latest frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from c1m.addresses import Endpoint, parse_url
from c1m.cluster.conductor import RUNNING, Conductor, Standing
from c1m.cluster.frames import Whole
from c1m.cluster.part import NS_PER_S
from c1m.limits.reasons import errno_name
from c1m.loadgen.stages import Stage, most_connections
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import NOT_OPENED, REQUEST_COUNTS, Requests
from c1m.results.snapshot import WORKERS_MAX, Snapshot, WorkerNow, worst
from c1m.results.tally import Tally

QUIET_NS = 4 * NS_PER_S  # who has said nothing for so long is shown as silent
LOST_NAMED = 4  # workers in a sentence
_COUNTED = ("attempted", "connected", "secured", "opened", "ready", "lost", "closed")
_FAILED = [f"connections.{name}" for name in NOT_OPENED if name != "unfinished"]


@dataclass(slots=True)
class _Worker:
    """What an attempt's frames told: connections open by now, and its last second."""

    attempt: int = 0
    open: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    p99_ns: int | None = None


class View:
    """Of one run with these `stages`; `whole` is the tally that the controller adds frames to."""

    def __init__(
        self,
        asked: LoadOptions,
        stages: Sequence[Stage],
        scenario: str,
        conductor: Conductor,
        whole: Whole,
    ) -> None:
        self._asked, self._stages, self._scenario = asked, stages, scenario
        self._is_tls = Endpoint(0, scheme=parse_url(asked.targets[0])[0]).is_tls
        self._conductor, self._whole = conductor, whole
        self._workers = [_Worker() for _ in range(conductor.parts)]
        self._overall = Histogram()
        self._recent, self._recent_before = Histogram(), Histogram()
        self._recent_ns = 0  # when the present one was begun

    def hear(self, part: int, attempt: int, tally: Tally, now_ns: int) -> None:
        """A frame came: what happened in a second of a part."""
        if now_ns - self._recent_ns >= NS_PER_S:
            self._recent_before, self._recent, self._recent_ns = self._recent, Histogram(), now_ns
        own = Histogram()
        for name, histogram in tally.histograms.items():
            if name.startswith("stage.") and name.endswith(".corrected"):
                own.add(histogram)
        self._overall.merge(own)
        self._recent.merge(own)
        if self._workers[part].attempt != attempt:
            self._workers[part] = _Worker(attempt)
        worker = self._workers[part]
        worker.open += tally.counts.get("open", 0)
        worker.counts = tally.counts
        worker.p99_ns = own.quantile(0.99) if own.count else None

    def snapshot(self, now_ns: int, *, is_last: bool = False) -> Snapshot:
        """The whole at this moment of the controller's clock."""
        counts = self._whole.counts
        standings = enumerate(self._conductor.standings)
        workers = [self._worker(number, standing, now_ns) for number, standing in standings]
        states = dict(Counter(one.state for one in workers))
        requests = self._requests()
        recent = self._recent_before if self._recent_before.count else self._recent
        heard = [
            worker.counts
            for worker, now in zip(self._workers, workers, strict=True)
            if now.state == "running"
        ]
        return Snapshot(
            target=",".join(self._asked.targets),
            scenario=self._scenario,
            **self._stage(now_ns, states),
            asked=most_connections(self._stages),
            **{name: counts[f"connections.{name}"] for name in _COUNTED},  # type: ignore[arg-type]
            open=sum(one.open for one in workers),
            failed=sum(counts[name] for name in _FAILED),
            connects_per_s=float(sum(one.get("connections.opened", 0) for one in heard)),
            requests=requests,
            in_flight=requests.in_flight,
            sent_per_s=float(sum(_sum(one, "sent") for one in heard)),
            right_per_s=float(sum(_sum(one, "right") for one in heard)),
            errnos=_errnos(counts),
            checks_passed=_named(counts, "check.passed."),
            checks_failed=_named(counts, "check.failed."),
            statuses=_named(counts, "status."),
            percentiles_ns=_percentiles(self._overall),
            recent_ns=_recent(recent),
            octaves=self._overall.octaves() if self._overall.count else [],
            client_rss_bytes=counts["rss"] or None,
            is_tls=self._is_tls,
            is_last=is_last,
            workers=worst(workers, WORKERS_MAX),
            worker_states=states,
            degraded=self._degraded(),
        )

    def _stage(self, now_ns: int, states: Mapping[str, int]) -> dict[str, Any]:
        """What of a snapshot is about the stage."""
        starts_ns, stages = self._conductor.starts_ns, self._stages
        if not starts_ns:
            missing, of = states.get("starting", 0), self._conductor.parts
            return {"stage": f"waiting for {missing} of {of} workers", "stages": len(stages)}
        number = min(max(bisect_right(starts_ns, now_ns), 1), len(stages)) - 1
        left_s, rate = _left(stages[number], now_ns - starts_ns[number])
        return {
            "elapsed_s": max(now_ns - starts_ns[0], 0) / NS_PER_S,
            "stage": stages[number].text,
            "stage_number": number + 1,
            "stages": len(stages),
            "stage_left_s": left_s,
            "rate_asked_per_s": rate,
            "is_closed_loop": stages[number].think_ns is not None,
        }

    def _degraded(self) -> str:
        """Which workers were lost, when and why."""
        losses, start_ns = self._conductor.losses, self._conductor.starts_ns[:1]
        said = []
        for one in losses[:LOST_NAMED]:
            when = "before the start"
            if start_ns:
                when = f"at {max(one.at_ns - start_ns[0], 0) / NS_PER_S:.1f} s"
            said.append(f"{name_of(one.worker)} {when}: {_short(one.why)}")
        more = len(losses) - len(said)
        return "; ".join(said) + (f"; and {more} more" if more else "")

    def _worker(self, number: int, standing: Standing, now_ns: int) -> WorkerNow:
        worker = self._workers[number]
        state, counts, is_there = standing.state, worker.counts, not standing.is_over
        if standing.state == RUNNING and now_ns - standing.heard_ns > QUIET_NS:
            state = "silent"
        is_fresh = state == RUNNING and worker.attempt == standing.attempt
        used_us = counts.get("cpu.user_us", 0) + counts.get("cpu.system_us", 0)
        return WorkerNow(
            name=name_of(standing.worker),
            state=state,
            open=worker.open if is_there and worker.attempt == standing.attempt else 0,
            right_per_s=float(_sum(counts, "right")) if is_fresh else 0.0,
            p99_ns=worker.p99_ns if is_fresh else None,
            cores=used_us / 1e6 if is_fresh and used_us else None,
            why=_short(standing.why),
        )

    def _requests(self) -> Requests:
        counts = self._whole.counts
        groups = ["first", *(f"stage.{number}" for number in range(len(self._stages)))]
        faults: Counter[str] = Counter()
        for group in groups:
            faults.update(_named(counts, f"{group}.faults."))
        return Requests(
            **{each: sum(counts[f"{group}.{each}"] for group in groups) for each in REQUEST_COUNTS},
            faults=dict(faults),
        )


def name_of(worker: str) -> str:
    """A worker's address as people read it."""
    return worker.partition("://")[2] or worker


def _short(why: str) -> str:
    """'It was killed (by whom is not known).' -> 'it was killed': there is little room."""
    text = why.partition(" (")[0].rstrip(".")
    return text[:1].lower() + text[1:]


def _left(stage: Stage, elapsed_ns: int) -> tuple[float | None, float | None]:
    """Seconds left of a stage so long after it began, and the rate that it asks for now."""
    if stage.duration_ns is None:
        return None, None
    left_ns = min(max(stage.duration_ns - elapsed_ns, 0), stage.duration_ns)
    if stage.rate_from is None or stage.rate_to is None:
        return left_ns / NS_PER_S, None
    share = 1 - left_ns / stage.duration_ns
    return left_ns / NS_PER_S, stage.rate_from + share * (stage.rate_to - stage.rate_from)


def _sum(counts: Mapping[str, int], what: str) -> int:
    """Of the first requests and of all stages."""
    end = f".{what}"
    return sum(
        count
        for name, count in counts.items()
        if name.endswith(end) and name.startswith(("stage.", "first."))
    )


def _named(counts: Mapping[str, int], start: str) -> dict[str, int]:
    return {
        name[len(start) :]: count
        for name, count in counts.items()
        if name.startswith(start) and count
    }


def _errnos(counts: Mapping[str, int]) -> dict[str, int]:
    """By name, of all phases."""
    errnos: Counter[str] = Counter()
    for name, count in _named(counts, "failed.").items():
        errnos[errno_name(int(name.rpartition(".")[2]))] += count
    return dict(errnos)


def _percentiles(histogram: Histogram) -> dict[str, int]:
    return histogram.percentiles() | ({"max": histogram.max} if histogram.count else {})


def _recent(histogram: Histogram) -> dict[str, int]:
    """Its `max` is of the last second, which `Histogram.max` is not where differences are added."""
    if not histogram.count:
        return {}
    names: Sequence[tuple[str, float]] = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return {name: histogram.quantile(share) for name, share in names}
