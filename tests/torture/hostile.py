"""Ten thousand hostile peers beside ten thousand good ones, who notice little.

For each server the good ones run four times at a fixed open-loop rate: without, with, without and
with the hostile ones, whose process has a low priority: their machine would not be the server's.
The server has the limits that a careful operator sets.
"""

from __future__ import annotations

import socket
import statistics
from dataclasses import dataclass, field
from math import inf
from typing import Any

from c1m.results.record import RunRecord

from .child import Child
from .good import Good, faults_of
from .served import Served
from .verdict import Torture, Verdict

GOOD = 10_000
HOSTILE = {"slow": 3_500, "unread": 2_000, "silent": 2_500, "half": 1_000, "garbage": 1_000}
A_SECOND = {"resets": 500, "floods": 500}
HOLD_S = 12.0
FIRST_SOURCE, SOURCES = 4096, 9  # of the hostile ones: 127.1.16.1 and so on
RATIO_MAX = 2.0
NICE = 10
SAMPLE = 0.05  # of a smaller scale nobody reads figures
# What a careful operator sets. Good clients have a source address for each 250.
LIMITS = {
    "per_source": 1_000, "first_byte_timeout": "5s", "unread_timeout": "5s", "unsent_max": "2M",
    "unsent_total": "512M", "turn": "64K", "accept_rate": "10k/s",
}  # fmt: skip
OUTBOX = 128 << 10


@dataclass(frozen=True, slots=True)
class Case:
    """A server, its good clients, and what hostile ones say: `at_once` so often who never reads."""

    name: str
    app: str
    scheme: str
    request: str
    at_once: int
    path: str = ""
    load: tuple[str, ...] = ()
    rate: float = 1_000.0
    own: dict[str, Any] = field(default_factory=dict)


BIG_KEY = "*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n"
CASES = (
    Case("echo", "echo", "tcp", "0123456789abcdef", 1_024, load=("--scenario", "echo")),
    Case("kv", "kv", "redis", BIG_KEY, 1),
    Case("WebSockets of push", "push", "ws", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1,
         path="/connect?channel=news", load=("--scenario", "publish"), rate=0.5,
         own={"page": True}),
    Case("http", "push", "http", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, path="/",
         rate=500.0, own={"page": True}),
)  # fmt: skip
BIG = b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$16384\r\n" + bytes(16384) + b"\r\n"


def run(scale: float) -> Verdict:
    """All servers; in a sample one of them."""
    verdict = Verdict()
    for case in CASES if scale >= SAMPLE else CASES[1:2]:
        _one(verdict, case, scale)
    return verdict


def _one(verdict: Verdict, case: Case, scale: float) -> None:
    scheme = "http" if case.scheme in ("http", "ws") else "tcp"
    records: dict[bool, list[RunRecord]] = {False: [], True: []}
    with Served(
        case.app,
        [f"{scheme}://127.0.0.1:0"],
        own=case.own,
        limits=LIMITS,
        options={"outbox_high": OUTBOX},
    ) as server:
        if case.request == BIG_KEY:
            set_big(server.ports[0])
        for is_hostile in (False, True) * (2 if scale == 1 else 1):
            records[is_hostile].append(_run(verdict, case, server, is_hostile, scale))
        server.look()
        last = server.stop()
    _judge(verdict, case, records, scale)
    verdict.figures[f"{case.name}: connections of the server"] = last["closed"]
    opened, ended = last["opened"], last["live"] + sum(last["closed"].values())
    verdict.check(opened == ended, f"{case.name}: {opened} were opened, {ended} are accounted for.")


def set_big(port: int) -> None:
    """What hostile clients ask for and do not read."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(BIG)
        assert sock.recv(16) == b"+OK\r\n"


def _run(verdict: Verdict, case: Case, server: Served, is_hostile: bool, scale: float) -> RunRecord:
    """The good ones, from when the hostile ones are there."""
    count, port = max(int(GOOD * scale), 100), server.ports[0]
    sources = f"127.1.0.1-127.1.0.{-(-count // 250)}"
    arguments = (
        "--connections", count, "--hold", f"{HOLD_S * max(scale, SAMPLE):g}s", "--source", sources,
        "--rate", f"{max(case.rate * scale, 20) if case.rate > 1 else case.rate * 4}/s",
        *case.load,
    )  # fmt: skip
    url = f"{case.scheme}://127.0.0.1:{port}{case.path}"
    if not is_hostile:
        with Good(url, *arguments) as good:
            return good.record()
    counts = {name: max(int(n * scale), 5) for name, n in (HOSTILE | A_SECOND).items()}
    hostile = Child(
        "hostiles", nice=NICE, ports=[port], sources=SOURCES, first_source=FIRST_SOURCE,
        request=case.request, at_once=case.at_once, counts=counts,
    )  # fmt: skip
    with hostile:
        wanted = sum(counts[name] for name in HOSTILE) // 2
        hostile.wait_for(lambda line: sum(line["there"].values()) >= wanted)
        with Good(url, *arguments) as good:
            record = good.record()
        last = hostile.stop()
    name = f"{case.name}: hostile ones"
    verdict.figures[name] = {key: last[key] for key in ("there", "ended", "done", "failed")}
    return record


def _judge(
    verdict: Verdict, case: Case, records: dict[bool, list[RunRecord]], scale: float
) -> None:
    medians = {}
    for is_hostile, those in records.items():
        name = f"{case.name}: {'with' if is_hostile else 'without'}"
        found = [_p99_ms(record) for record in those]
        verdict.figures[f"{name}, p99 in ms"] = [
            None if ms is None else round(ms, 2) for ms in found
        ]
        medians[is_hostile] = statistics.median([inf if ms is None else ms for ms in found])
        for record in those:
            requests = record.all_requests
            c, faults = record.connections, faults_of(record)
            verdict.check(not faults, f"{name}: {' '.join(faults)}")
            verdict.check(c.lost == 0, f"{name}: {c.lost} good ones were dropped.")
            verdict.check(requests.right == requests.sent > 0,
                          f"{name}: of {requests.sent} requests {requests.right} were answered "
                          "right.")  # fmt: skip
    ratio = medians[True] / medians[False] if medians[False] < inf else inf
    verdict.figures[f"{case.name}: p99 with, to without"] = round(ratio, 2)
    verdict.check(scale < 1 or ratio <= RATIO_MAX, f"{case.name}: p99 is {ratio:.1f} times longer.")


def _p99_ms(record: RunRecord) -> float | None:
    """Of requests; of publications, of their way to subscribers. None: there was no reply."""
    found = record.latencies.get("push") or record.latencies.get("request")
    return None if found is None else found.distribution().quantile(0.99) / 1e6


TORTURE = Torture(
    "hostile",
    "10,000 hostile peers (slow, never reading, silent, half-closed, garbage, resets, floods) "
    "beside 10,000 good ones: good ones' p99 within 2 x of that without, none dropped, all replies "
    "right.",
    run,
)
