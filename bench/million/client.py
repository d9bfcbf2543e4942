"""c1m as the generator of a million connections: opens them, and then does what it is told.

Usage: python -m million.client PORT ENGINE CONNECTIONS_MAX PAYLOAD SERVER_PID [ssl|handoff CA], in
bench/; with the last two over TLS. A line of JSON on standard input is a command, {"do": "open",
"count": 1000}; the answer is a line of JSON on standard output. Between two commands nothing
happens here, so that memory can be looked at.

The C generator has a descriptor a connection and RLIMIT_NOFILE bounds those; connections of
io_uring are none. Every reply is compared byte for byte with the message of its connection.
"""

from __future__ import annotations

import gc
import json
import os
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from harness.accounts import account, growth

from c1m.addresses import AF_INET, Endpoint
from c1m.bounds import RAMP_STEP
from c1m.clock import SystemClock
from c1m.engine.choose import choose
from c1m.engine.contract import Engine, EventBatch, Slots
from c1m.engine.ragged import Ragged
from c1m.errors import C1mError
from c1m.kernel import procfs
from c1m.kernel.sock_diag import accept_queue_of
from c1m.loadgen.connections import TLS_WINDOW_MAX, Window
from c1m.loadgen.sources import plan_addresses
from c1m.results.histogram import Histogram
from c1m.results.ramp import RampTimes
from c1m.scenarios.base import Exchange
from c1m.scenarios.ledger import RIGHT
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.templates import Echo
from c1m.tls.connector import Connector
from c1m.tls.engine import TlsEngine
from million.turns import Numbers, Turns

PORTS = 14_000  # of a source that connect() finds quickly: half of the kernel's default range
BLOCK = 1 << 16  # connections closed before the engine is waited for again
SLEEP_NS = 50_000_000
STUCK_NS = 30_000_000_000  # nothing came for so long: what is missing is given up
AVAILABLE_MIN = 700 << 20  # bytes that must be left on the machine, or no more are opened
LOOK_NS = 250_000_000  # how often that is looked at
ROUNDS_MIN = 3  # broadcasts that are measured
SEED = 3


def exchange(template: str, most: int) -> Exchange:
    """The bookkeeping of connections that say this and wait for the same."""
    scenario = Echo(template)
    scenario.begin(most, 0)
    return exchange_of(scenario, most, 1)


def available_bytes() -> int:
    """What the machine, or this process' memory cgroup, can still give.

    Not MemAvailable: that counts half of the reclaimable slab caches as free, and those hold the
    sockets' inodes and dentries, 3 GB of a million connections, which nobody can reclaim.
    """
    limit, used = procfs.cgroup_memory()
    rest = [limit - used] if limit is not None and used is not None else []
    memory = procfs.meminfo()
    names = ("MemFree", "Active(file)", "Inactive(file)")
    free = sum(memory[name] for name in names) if names[0] in memory else 1 << 62
    return min([free, *rest])


@dataclass(slots=True)
class Measured:
    """The window of a measurement: its time and both sides' processor time."""

    server_pid: int
    begin_ns: int
    server: dict[str, int]
    own: dict[str, int]

    @classmethod
    def begin(cls, server_pid: int) -> Measured:
        """Now."""
        return cls(server_pid, time.monotonic_ns(), account(server_pid), account(os.getpid()))

    def figures(self, requests: int, latency: Histogram, **more: Any) -> dict[str, Any]:
        """Up to now, by the names that the C generator uses."""
        seconds = (time.monotonic_ns() - self.begin_ns) / 1e9
        names = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}
        server, own = growth(self.server_pid, self.server), growth(os.getpid(), self.own)
        return {
            "requests": requests, "seconds": seconds, "rps": requests / seconds,
            **{name: latency.quantile(q) / 1e3 for name, q in names.items()},
            **{f"server_{name}": value for name, value in server.items()},
            "own_cpu_ns": own["cpu_ns"], "own_waited_ns": own["waited_ns"], **more,
        }  # fmt: skip


AnyClient = TypeVar("AnyClient", bound="Client")


class Client:
    """Up to `most` connections to 127.0.0.1, known by numbers from 0 in the order of opening."""

    is_tls = False

    def __init__(self, engine: Engine, port: int, most: int, payload: int, server_pid: int) -> None:
        self.engine, self.payload, self.server_pid = engine, payload, server_pid
        template = "{n}" + "x" * (payload - len(str(most - 1)))
        self.echoes = exchange(template, most)
        self.round = self.echoes
        self.wrong = 0
        self.addresses = plan_addresses(most, [Endpoint(AF_INET, "127.0.0.1", port)], [], PORTS)
        self.window = Window(accept_queue_of(port), 1)
        self.started = 0  # connects; all numbers below were used
        self.errors = 0  # connects that failed, connections that ended
        self.slots = np.zeros(most, np.int32)
        self.since_ns = np.zeros(most, np.int64)  # of the request in flight
        self.is_open = np.zeros(most, bool)
        self.numbers = np.zeros(engine.capacity, np.int32)  # by slot
        self.latency = Histogram()
        self.turns: dict[str, Turns] = {}  # by order: they go on where the last run ended

    def open_numbers(self) -> Numbers:
        """All that are open, ascending: int64[n]."""
        return np.flatnonzero(self.is_open[: self.started])

    # --- commands -----------------------------------------------------------------------------

    def open(self, count: int, step: int = RAMP_STEP) -> dict[str, Any]:
        """Open more until there are `count`; one counts when its first echo is back.

        Stops before, and says why, where no connect is possible, memory runs out or nothing comes.
        """
        begin = moved = time.monotonic_ns()
        ramp, stopped, looked = RampTimes(begin), "", begin
        done = failed = 0
        first, wanted = self.started, count - int(np.count_nonzero(self.is_open))
        self.turns.clear()
        while done + failed < wanted:
            under_way = self.started - first - done - failed
            left = 0 if stopped or failed else first + wanted - self.started
            room = min(self.window.may_start(self.started, under_way, 0), left)
            if room and (room >= min(self.window.step, left) or not under_way):
                stopped = self._connect(room)
            elif not left and not under_way:
                break
            batch = self.engine.wait(SLEEP_NS)
            now = time.monotonic_ns()
            failed += len(batch.failed)
            if len(batch.failed):
                stopped = f"connect: {os.strerror(int(batch.failed_errnos[0]))}"
            if self.is_tls and len(batch.closed):
                failed += int(np.count_nonzero(~self.is_open[self.numbers[batch.closed]]))
                stopped = stopped or f"TLS: {batch.closed_errnos[0]}"
            came = len(self._take(batch, now))
            self._request(self._opened(batch.secured if self.is_tls else batch.connected))
            ramp.add(came, now)
            done += came
            moved = now if len(batch) else moved
            if now - moved > STUCK_NS:
                stopped = f"{under_way:,} had no answer for {STUCK_NS // 10**9} s"
                break
            if now - looked > LOOK_NS and not stopped:
                looked = now
                if available_bytes() < AVAILABLE_MIN:
                    stopped = f"memory: less than {AVAILABLE_MIN >> 20} MiB were left"
        self.errors += failed
        return {
            "opened": int(np.count_nonzero(self.is_open)), "echoed": done,
            "seconds": (ramp.last_ns - begin) / 1e9, "stopped": stopped, "errors": self.errors,
            "mismatches": self.wrong, "stride": step,
            "stride_seconds": ramp.step_seconds(step),
        }  # fmt: skip

    def take_turns(
        self, in_flight: int, seconds: float, warm_up: float, order: str
    ) -> dict[str, Any]:
        """Closed loop: `in_flight` requests at any time, all open connections take turns.

        `order`: "opened" (as the C generator) or "random". It is kept: a reply puts its connection
        to the end of the queue, the one at its head gets the next request.
        """
        self.round = self.echoes
        if order not in self.turns:
            numbers = self.open_numbers()
            if order == "random":
                numbers = np.random.default_rng(SEED).permutation(numbers)
            self.turns[order] = Turns(numbers)
        turns = self.turns[order]
        errors, wrong = self.errors, self.wrong
        self._request(turns.take(in_flight))
        self._loop(turns, warm_up)
        self.latency = Histogram()
        measured = Measured.begin(self.server_pid)
        requests = self._loop(turns, seconds)
        figures = measured.figures(requests, self.latency)
        deadline = time.monotonic_ns() + STUCK_NS
        while self.echoes.ledger.in_flight and time.monotonic_ns() < deadline:
            turns.put(self._take(self.engine.wait(SLEEP_NS), time.monotonic_ns()))
        return {
            **figures, "connections": len(self.open_numbers()), "in_flight": in_flight,
            "errors": self.errors - errors, "mismatches": self.wrong - wrong,
            "unanswered": self.echoes.ledger.in_flight,
        }  # fmt: skip

    def broadcast(self, seconds: float) -> dict[str, Any]:
        """Rounds: one connection sends; the next begins when all have it. The first is warm-up.

        A delivery is a whole and right message at one connection.
        """
        numbers = self.open_numbers()
        self.round = exchange("b" * self.payload, len(self.is_open))
        errors, wrong_before = self.errors, self.wrong
        self._broadcast_once(numbers, 0)
        rounds: list[float] = []
        self.latency = Histogram()
        measured = Measured.begin(self.server_pid)
        while len(rounds) < ROUNDS_MIN or sum(rounds) < seconds:
            rounds.append(self._broadcast_once(numbers, len(rounds) + 1))
            if self.round.ledger.in_flight or self.wrong > wrong_before or self.errors > errors:
                break
        figures = measured.figures(self.latency.count, self.latency, round_seconds=rounds)
        wrong, missing = self.wrong - wrong_before, self.round.ledger.in_flight
        self.round = self.echoes
        return {
            **figures, "connections": len(numbers), "errors": self.errors - errors,
            "mismatches": wrong, "unanswered": missing,
        }  # fmt: skip

    def idle(self, seconds: float) -> dict[str, Any]:
        """Nothing is sent; what has to be done about quiet connections is done."""
        end = time.monotonic_ns() + int(seconds * 1e9)
        while time.monotonic_ns() < end:
            self._take(self.engine.wait(SLEEP_NS), time.monotonic_ns())
        return {"connections": len(self.open_numbers()), "errors": self.errors}

    def keep(self, count: int) -> dict[str, Any]:
        """Close all but the first `count`."""
        begin = time.monotonic_ns()
        numbers = self.open_numbers()[count:]
        self.is_open[numbers] = False
        self.turns.clear()
        for start in range(0, len(numbers), BLOCK):
            self.engine.close(self.slots[numbers[start : start + BLOCK]])
            self._take(self.engine.wait(0), time.monotonic_ns())
        while self.engine.statistics().lingering and time.monotonic_ns() < begin + 2 * STUCK_NS:
            self._take(self.engine.wait(SLEEP_NS), time.monotonic_ns())
        return {
            "closed": len(numbers), "seconds": (time.monotonic_ns() - begin) / 1e9,
            "lingering": self.engine.statistics().lingering, "errors": self.errors,
        }  # fmt: skip

    # --- parts --------------------------------------------------------------------------------

    def _connect(self, count: int) -> str:
        """Start connects; why not, where the engine refuses."""
        some = np.arange(self.started, self.started + count)
        try:
            slots = self.engine.connect(*self.addresses.rows(some))
        except C1mError as refusal:
            return str(refusal)
        self.slots[some], self.numbers[slots] = slots, some
        self.started += count
        return ""

    def _opened(self, slots: Slots) -> Numbers:
        numbers = self.numbers[slots].astype(np.int64)
        self.is_open[numbers] = True
        self.echoes.opened(numbers)
        return numbers

    def _request(self, numbers: Numbers) -> None:
        """The next request on connections whose last one is answered."""
        if self.errors and len(numbers):
            numbers = numbers[self.is_open[numbers]]
        if len(numbers):
            self.since_ns[numbers] = time.monotonic_ns()
            data, _ = self.echoes.requests(numbers)
            self.engine.send(self.slots[numbers], data)

    def _take(self, batch: EventBatch, now_ns: int) -> Numbers:
        """Check what came; the connections whose reply (or broadcast) is now whole and right."""
        if len(batch.eof):
            self._lost(batch.eof)
            self.engine.close(batch.eof)
        if len(batch.closed):
            self._lost(batch.closed)
        if not len(batch.data_slots):
            return np.zeros(0, np.int64)
        numbers = self.numbers[batch.data_slots].astype(np.int64)
        resolved = self.round.take(numbers, batch.data)
        done = resolved.numbers
        if resolved.outcomes is not None:
            is_right = resolved.outcomes == RIGHT
            self.wrong += len(done) - int(np.count_nonzero(is_right))
            done = done[is_right]
        pushes = resolved.pushes
        if pushes is None:
            self.latency.record(now_ns - self.since_ns[done])
        else:  # copies of what one of them published
            waited = now_ns - self.since_ns[pushes.numbers]
            self.latency.record(np.repeat(waited, pushes.counts))
        return done

    def _lost(self, slots: Slots) -> None:
        numbers = self.numbers[slots].astype(np.int64)
        numbers = numbers[self.is_open[numbers]]  # one that this side closes may end first
        self.is_open[numbers] = False
        self.errors += len(numbers)
        self.round.gone(numbers)

    def _loop(self, turns: Turns, seconds: float) -> int:
        """Replies are followed by requests for so long; how many replies came."""
        end, count = time.monotonic_ns() + int(seconds * 1e9), 0
        while True:
            batch = self.engine.wait(SLEEP_NS)
            now = time.monotonic_ns()
            done = self._take(batch, now)
            if len(done):
                count += len(done)
                turns.put(done)
                self._request(turns.take(len(done)))
            if now >= end:
                return count

    def _broadcast_once(self, numbers: Numbers, sender: int) -> float:
        """One message to all of `numbers`; the seconds until the last of them has it."""
        self.round.requests(numbers)  # what it is not asked for, but waits for
        begin = moved = time.monotonic_ns()
        self.since_ns[numbers] = begin
        who = numbers[sender % len(numbers)]
        self.engine.send(self.slots[who : who + 1], Ragged.of([b"b" * self.payload]))
        while self.round.ledger.in_flight and time.monotonic_ns() - moved < STUCK_NS:
            if len(self._take(self.engine.wait(SLEEP_NS), time.monotonic_ns())):
                moved = time.monotonic_ns()
        return (time.monotonic_ns() - begin) / 1e9


def client_of(kind: type[AnyClient]) -> AnyClient:
    """One, by the command line."""
    port, engine_name = int(sys.argv[1]), sys.argv[2]
    most, payload, server_pid = map(int, sys.argv[3:6])
    engine: Engine = choose(engine_name, live_max=most)
    spoken = sys.argv[6:]
    if spoken:
        way, ca = spoken
        connector = Connector(ssl.create_default_context(cafile=ca), "localhost")
        engine = TlsEngine(engine, SystemClock(), connector=connector, handoff=way == "handoff")
    client = kind(engine, port, most, payload, server_pid)
    if spoken:
        client.is_tls = True
        client.window.size = min(client.window.size, TLS_WINDOW_MAX)
    return client


def main() -> None:
    """Run by the command line."""
    client = client_of(Client)
    follow({
        "open": client.open, "turns": client.take_turns, "broadcast": client.broadcast,
        "idle": client.idle, "keep": client.keep,
    })  # fmt: skip


def follow(commands: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Do what standard input says, to its end."""
    gc.collect()
    gc.freeze()
    print("{}", flush=True)
    for line in sys.stdin:
        options = json.loads(line)
        print(json.dumps(commands[options.pop("do")](**options)), flush=True)
    os._exit(0)  # the kernel closes the connections


if __name__ == "__main__":
    main()
