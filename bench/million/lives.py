"""Runs what needs a million connections: a few lives of a server and c1m as its client.

A million connections take a while to open, so one life serves several measurements:

ramp     empty, opened in one go, idle, all closed: ramp, memory, memory given back
work     opened step by step and closed step by step, 10,000, 100,000, 1,000,000, 100,000, 10,000;
         at each step closed loops; at the top also broadcasts. So what is compared with the
         million is measured before and after it, with the same connections
largest  opened as far as it goes
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness import tls_peers
from harness.build import BENCH
from harness.counting import kernel_bytes
from harness.measure import Machine, memory
from harness.processes import RunFailed, Server, start, stop
from harness.workloads import WARM_UP_S

from c1m.bounds import RAMP_STEP, RAMP_STRIDE
from c1m.kernel import procfs
from million import bare
from million.figures import ORDERS

ENGINE = "uring"
LEVELS = (10_000, 100_000, 1_000_000)
IN_FLIGHT = (1_000, 20_000)
LARGEST = (2_500_000, 3_000_000)
PAYLOAD = 64
BY_SSL, HANDED_OFF = "ssl", "handoff"  # how TLS is spoken on both ends
OPTIONS = {BY_SSL: (), HANDED_OFF: ("--tls-handoff",)}
SETTLE_S = 5.0  # by then quiet connections wait as they do for good, and RCU has let go
ANSWER_S_MAX = 1800.0  # a million handshakes are among what takes long
CLOSE_S_MAX = 120.0  # for the server to be done with what the client has closed
SWEEPS_S = 2.5
SWITCH_S = 0.5  # echo to broadcast: several of the server's longest sleeps
BROADCAST_S = 10.0
CACHE_BYTES_MIN = 1 << 20  # growth of a slab cache that is worth writing down

Found = list[dict[str, Any]]
Tell = Callable[[str], None]


def levels(most: int) -> list[int]:
    """How many are open at each step up to `most`."""
    return [*(level for level in LEVELS if level < most), most]


def visits(most: int, pairs: int) -> list[tuple[int, int]]:
    """(connections, runs of each loop) in order, up and down again: `pairs` runs of each in all."""
    *below, top = levels(most)
    up = [(level, (pairs + 1) // 2) for level in below]
    down = [(level, pairs // 2) for level in reversed(below)]
    return [*up, (top, pairs), *(each for each in down if each[1])]


def loops(connections: int) -> list[tuple[int, str]]:
    """(in flight, order) of the closed loops while so many are open."""
    fitting = [n for n in IN_FLIGHT if n <= connections] or [max(connections // 10, 1)]
    return [(n, order) for n in fitting for order in ORDERS]


def stride(connections: int) -> int:
    """The ramp is compared in strides of so many: 50,000, or a twentieth where that is less."""
    return min(RAMP_STRIDE, max(connections // 20 // RAMP_STEP, 1) * RAMP_STEP)


class Life:
    """A server on one core, the client on the other, from start to stop."""

    def __init__(
        self,
        machine: Machine,
        most: int,
        payload: int = PAYLOAD,
        *,
        is_redis: bool = False,
        tls: str = "",  # by ssl, or handed off: both ends speak TLS
        server: Sequence[str] = (),  # a Redis server, with its port: clients are silent
        port: int = 0,
    ) -> None:
        port = port or machine.next_port()
        script = str(BENCH / "peers" / "c1m_million.py")
        command = [sys.executable, script, str(port), ENGINE]
        if is_redis:
            listen = f"tcp://127.0.0.1:{port}"
            command = [sys.executable, "-m", "c1m", "serve", "kv", "--listen", listen]
        spoken: tuple[str, ...] = ()
        if tls:
            command = list(tls_peers.c1m_command(port, *OPTIONS[tls], "--engine", ENGINE))
            spoken = (tls, str(tls_peers.certificate().cert))
        self.server = Server(server or command, port, machine.server_cpu)
        try:
            numbers = (port, ENGINE, most, payload, self.server.pid)
            module = "million.subscriber" if is_redis else "million.client"
            if server:
                module = "million.silent"
            self.client = start(
                [sys.executable, "-m", module, *map(str, numbers), *spoken],
                machine.generator_cpu, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=BENCH,
            )  # fmt: skip
        except BaseException:
            self.server.stop()
            raise

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """A command to the client and its answer. Raises RunFailed."""
        assert self.client.stdin is not None
        try:
            self.client.stdin.write(json.dumps({"do": do, **options}).encode() + b"\n")
            self.client.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: `answer` says why
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The client's next line. Raises RunFailed."""
        assert self.client.stdout is not None and self.client.stderr is not None
        if not select.select([self.client.stdout], [], [], ANSWER_S_MAX)[0]:
            raise RunFailed(f"the client said nothing for {ANSWER_S_MAX:.0f} s")
        line = self.client.stdout.readline()
        if not line:
            self.client.wait()
            raise RunFailed(self.client.stderr.read().decode(errors="replace").strip()[-500:])
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close_all(self) -> dict[str, Any]:
        """All connections ended, on both sides and in the kernel."""
        closing = self.ask("keep", count=0)
        # A ring lets go of a socket when what waited on it has completed, and with deferred task
        # work that is when its thread enters it: so the client has to go on.
        self.ask("idle", seconds=SETTLE_S)
        return closing

    def memory(self) -> dict[str, Any]:
        """See harness.measure.memory; once the server has nothing to do, and has had the time to
        do what it does once a second.
        """
        self.server.wait_until_idle(CLOSE_S_MAX)
        time.sleep(SWEEPS_S)
        return memory(self.server.pid)

    def stop(self) -> None:
        """Both; the kernel closes what is open, which takes a while."""
        stop(self.client)
        self.server.stop()


@contextmanager
def a_life(machine: Machine, most: int, **options: Any) -> Iterator[Life]:
    """One that is stopped however it went."""
    life = Life(machine, most, **options)
    try:
        life.answer()  # it is ready
        yield life
    finally:
        life.stop()


def measure(
    machine: Machine, most: int, largest_counts: Sequence[int], found: Found, tell: Tell
) -> None:
    """All lives with up to `most` connections (0: none) and the largest run (empty: none).

    One that fails is written down as failed, with what it has measured until then.
    """
    wanted: list[tuple[str, Callable[[], None]]] = []
    if most:
        wanted.append((f"ramp {most:,}", lambda: ramp(machine, most, found, tell)))
        wanted.append((f"work {most:,}", lambda: work(machine, most, found, tell)))
    if largest_counts:
        wanted.append(("largest", lambda: largest(machine, largest_counts, found, tell)))
    for life, run in wanted:
        try:
            run()
        except RunFailed as failure:
            found.append({"kind": "failed", "life": life, "error": str(failure)})
        tell("")


def ramp(machine: Machine, count: int, found: Found, tell: Tell) -> None:
    """Opened in one go, idle, closed; memory before, while and after."""
    tell("what bare sockets take")
    bare_bytes, objects = bare.measure(machine.next_port())
    with a_life(machine, count) as life:
        empty, before = life.memory(), procfs.slabs()
        tell(f"{count:,} connections are opened")
        opened = life.ask("open", count=count, step=stride(count))
        life.ask("idle", seconds=SETTLE_S)
        held, after = life.memory(), procfs.slabs()
        ours = bare.objects_a_connection(before, after, max(opened["opened"], 1))
        tell("all are closed")
        closing = life.close_all()
        found.append({
            "kind": "ramp", "life": f"ramp {count:,}", "connections": count, **opened,
            "errors": closing["errors"], "close_seconds": closing["seconds"],
            "kernel_bytes": kernel_bytes(empty["slabs"], held["slabs"]),
            "slab_growth": _grown(empty["slabs"], held["slabs"]),
            "object_bytes": bare.bytes_a_connection(ours, after), "objects": ours,
            "bare_bytes": bare_bytes, "bare_objects": objects,
            "empty": _plain(empty), "held": _plain(held), "closed": _plain(life.memory()),
        })  # fmt: skip


def work(machine: Machine, most: int, found: Found, tell: Tell) -> None:
    """Closed loops while few and while many are open, and broadcasts while all are."""
    name = {"life": f"work {most:,}"}
    with a_life(machine, most) as life:
        empty = life.memory()
        is_open = 0
        for count, runs in visits(most, machine.pairs):
            tell(f"{count:,} connections are {'opened' if count > is_open else 'kept'}")
            if count < is_open:
                life.ask("keep", count=count)
            elif (opened := life.ask("open", count=count))["opened"] < count:
                raise RunFailed(f"{opened['opened']:,} of {count:,} opened: {opened['stopped']}")
            is_open = count
            life.ask("idle", seconds=SETTLE_S)
            life.server.wait_until_idle(CLOSE_S_MAX)
            for number in range(runs):
                for in_flight, order in loops(count):
                    tell(f"{in_flight:,} in flight, {count:,} open, run {number + 1}")
                    figures = life.ask(
                        "turns", in_flight=in_flight, order=order,
                        seconds=machine.seconds, warm_up=WARM_UP_S,
                    )  # fmt: skip
                    found.append({"kind": "turns", **name, "order": order, **figures})
                    if lost := count - figures["connections"]:
                        raise RunFailed(f"{lost:,} of {count:,} open connections were lost")
            if count == most:
                tell("broadcast")
                found.append({"kind": "broadcast", **name, **broadcast(life, machine.seconds)})
        life.close_all()
        ends = {"empty": _plain(empty), "closed": _plain(life.memory())}
        found.append({"kind": "worked", **name, "connections": most, **ends})


def broadcast(life: Life, seconds: float) -> dict[str, Any]:
    """The server turned to a broadcaster for a while."""
    os.kill(life.server.pid, signal.SIGUSR1)
    time.sleep(SWITCH_S)
    try:
        return life.ask("broadcast", seconds=max(seconds, BROADCAST_S))
    finally:
        os.kill(life.server.pid, signal.SIGUSR2)
        time.sleep(SWITCH_S)


def largest(machine: Machine, counts: Sequence[int], found: Found, tell: Tell) -> None:
    """Opened to the first number, to the second, ... or to what stops it."""
    with a_life(machine, max(counts)) as life:
        empty = life.memory()
        seconds = echoed = 0.0
        for count in sorted(counts):
            tell(f"{count:,} connections are opened")
            opened = life.ask("open", count=count, step=stride(count))
            seconds, echoed = seconds + opened["seconds"], echoed + opened["echoed"]
            found.append({
                "kind": "largest", "life": "largest", "connections": count, **opened,
                "total_seconds": seconds, "total_echoed": int(echoed),
                "empty": _plain(empty), "held": _plain(life.memory()),
            })  # fmt: skip
            if opened["opened"] < count:
                return


def _plain(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != "slabs"}


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Bytes by cache, where there is something to speak of."""
    growth = {name: size - before.get(name, 0) for name, size in after.items()}
    return {name: size for name, size in growth.items() if abs(size) >= CACHE_BYTES_MIN}
