"""Many parts as one: merged figures are those of all samples, in whatever order, wherever cut."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c1m.cluster.found import Found
from c1m.cluster.frames import Frame, Whole
from c1m.cluster.merge import merged
from c1m.cluster.part_record import record_of
from c1m.results.histogram import Histogram, Increments
from c1m.results.record import CONNECTION_COUNTS, REQUEST_COUNTS, RunRecord
from c1m.results.tally import Tally
from generator_runs import Run
from laws import broken_laws
from property.test_loadgen_generator_property import Trouble, plan_of, stages, troubles

values = st.lists(st.integers(0, 10**10), max_size=30)


@given(st.lists(st.lists(values, min_size=1, max_size=5), min_size=1, max_size=5), st.randoms())
def test_percentiles_are_those_of_one_histogram_of_all(
    parts: list[list[list[int]]], chance: random.Random
) -> None:
    everything, frames = Histogram(), []
    for part, seconds in enumerate(parts):
        own = Histogram()
        increments = Increments(own)
        for number, some in enumerate(seconds):
            own.record(np.array(some, np.int64))
            everything.record(np.array(some, np.int64))
            delta = increments.take()
            tally = Tally(number, histograms={} if delta is None else {"lag": delta})
            frames.append(Frame("run", part, 0, number, tally).encode())
    chance.shuffle(frames)
    whole = Whole(len(parts))
    for frame in frames:
        assert whole.add(Frame.decode(frame))
    assert whole.histograms.get("lag", Histogram()).to_json() == everything.to_json()


def ran(trouble: Trouble, texts: list[str]) -> tuple[Run, RunRecord]:
    """A part's run, in memory."""
    inner = trouble.script(lambda: run)
    run = Run(plan_of(texts), inner, trouble.when(), capacity=60, seed=trouble.seed)
    run.engine.stuck = lambda slot: hash((slot, trouble.seed)) % 100 < trouble.stuck * 100
    return run, run.record()


def alone(run: Run, frames: int, lost: str) -> Whole:
    """So many of its frames by themselves."""
    whole = Whole()
    for data in run.frames[:frames]:
        whole.add(Frame.decode(data))
    whole.end(0, 0, whole.parts[0, 0].t_ns if whole.parts else 0, lost)
    return whole


@settings(max_examples=15, suppress_health_check=[*HealthCheck])
@given(stages(), st.lists(troubles, min_size=2, max_size=3), st.randoms(), st.floats(0, 1))
def test_the_whole_is_the_sum_and_holds_the_laws(
    texts: list[str], each: list[Trouble], chance: random.Random, cut: float
) -> None:
    """The last part is cut off somewhere, and its record is made of its frames."""
    found, frames = [], list[bytes]()
    whole = Whole(len(each))
    for part, trouble in enumerate(each):
        run, record = ran(trouble, texts)
        head = replace(run.head, part=part, of=len(each), worker=f"w{part}")
        end = len(run.frames)
        lost = ""
        if part == len(each) - 1:
            end, lost = round(cut * end), "it was cut off"
            record = record_of(head, alone(run, end, lost))
            assert broken_laws(record) == []
        for data in run.frames[:end]:
            frame = Frame.decode(data)
            frames.append(replace(frame, part=part).encode())
        found.append(Found(head, record, lost=lost))
    for data in frames:
        whole.add(Frame.decode(data))
    last = len(each) - 1
    whole.end(
        last, 0, whole.parts[last, 0].t_ns if (last, 0) in whole.parts else 0, "it was cut off"
    )
    for one in found:
        one.frames = whole.parts[one.head.part, 0]
    asked = replace(found[0].head.asked, connections=found[0].head.asked.connections * len(each))
    record = merged(asked, found, whole)
    assert broken_laws(record) == []
    for name in CONNECTION_COUNTS.keys() - {"peak_open"}:
        total = sum(getattr(one.record.connections, name) for one in found)
        assert getattr(record.connections, name) == total
        if name != "open_at_end":
            assert whole.counts[f"connections.{name}"] == total
    for name in REQUEST_COUNTS:
        total = sum(getattr(one.record.all_requests, name) for one in found)
        assert getattr(record.all_requests, name) == total
    for name, latency in record.latencies.items():
        together = Histogram()
        for one in found:
            if name in one.record.latencies:
                together.merge(one.record.latencies[name].distribution())
        assert latency.distribution().to_json() == together.to_json()
    assert sum(record.series.right) == record.requests.right + record.stampede.right
    assert sum(record.series.opened) == record.connections.opened
    assert RunRecord.from_json(record.to_json()) == record
    chance.shuffle(found)
    again = merged(asked, found, whole)
    assert [
        f.name for f in fields(record) if getattr(again, f.name) != getattr(record, f.name)
    ] == []
