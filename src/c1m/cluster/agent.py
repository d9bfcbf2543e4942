"""In a worker: starts the load client of a part, carries its news and its orders, ends it.

A task of Dask that waits in a thread of the worker. The load client is a process of its own, in a
session of its own (a terminal's Ctrl-C is the controller's), with one connection to here.

Facts. A scheduler may send a task again: to a worker that comes back after its death, under the
same address, with the settings that it has by default (`allowed-failures: 3`). A worker that loses
its scheduler closes, and waits 30 s for its tasks. A write into a pipe that nobody reads blocks.

What they mean here. A part says for which process it is, and a process takes a part once. The
worker's state is looked at each second: when it closes, the run ends in good order. Orders come in
the worker's loop, which only puts them into a queue.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from multiprocessing import Pipe
from queue import SimpleQueue
from typing import Any

from distributed import get_worker, secede

from c1m.clock import SystemClock
from c1m.cluster.head import Head
from c1m.cluster.kept import Keeper, folder_of
from c1m.cluster.part import GRACE_NS, LEASE_NS, NS_PER_S, News, Order, Part
from c1m.errors import UsageError

_CLOCK = SystemClock()
LOOK_S = 1.0  # so often: whether the worker closes, or the load client has died
SILENCE_NS = LEASE_NS + 2 * GRACE_NS  # without an order: a load client has ended by then, if it can
SAID_BYTES = 2_000  # of what a load client that fails wrote
_taken: set[tuple[str, int, int]] = set()  # in this process: run, part and attempt
_agents: list[_Agent] = []  # those at work


def dask_setup(worker: Any) -> None:
    """In each process of `--cluster local:N`, before it works: what is typed at a terminal, and
    what is to be said there, is the controller's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()


def process(dask_worker: Any) -> str:
    """Names the worker's process; another one under the same address has another name."""
    return str(dask_worker.id)


def work(part: Part) -> str:
    """Do a part to its end. Why it was not begun, or ""."""
    worker = get_worker()
    key = part.run, part.share.index, part.attempt
    if worker.id != part.process or key in _taken:
        return "The worker that had it died."
    _taken.add(key)
    _Agent(worker, part).work()
    return ""


def order(run: str, who: tuple[int, int] | None, order: Order) -> None:
    """Hand an order on to the load client of a part and attempt, or to all of the run that are
    here. Called in the worker's loop."""
    for agent in list(_agents):
        part = agent.part
        if part.run == run and who in (None, (part.share.index, part.attempt)):
            agent.obey(order)


def make_room(run: str) -> None:
    """Let another part be begun on this worker, beside those that are at work."""
    for agent in list(_agents):
        agent.makes_room |= agent.part.run == run


class _Agent:
    """Of one part."""

    def __init__(self, worker: Any, part: Part) -> None:
        self.part = part
        self.makes_room = False  # is to: Dask begins no more tasks than a worker has threads
        self._worker = worker
        self._orders: SimpleQueue[Any] = SimpleQueue()
        self._ours, self._theirs = Pipe()
        self._said = b""
        self._keeper: Keeper | None = None
        self._has_ended = False
        self._told_ns = _CLOCK.now_ns()

    def obey(self, order: Order) -> None:
        """Never waits."""
        self._told_ns = _CLOCK.now_ns()
        if order.kind == "kill":
            self._child.kill()
        self._orders.put(order)

    def work(self) -> None:
        """To the end of its load client."""
        with tempfile.TemporaryDirectory(
            prefix="c1m-", dir=self._worker.local_directory, ignore_cleanup_errors=True
        ) as folder:
            self._work(folder)

    def _work(self, folder: str) -> None:
        """The same, with a folder for its files."""
        command = [
            sys.executable, "-P", "-m", "c1m.cluster.child", str(self._theirs.fileno()), folder,
        ]  # fmt: skip
        # In a group of its own: what a terminal sends is for those who look after it. Not in a
        # session: the kernel's autogroups divide a core between sessions first, and a server beside
        # several would get a part of its share (kernel.sched_autogroup_enabled).
        self._child = subprocess.Popen(
            command, pass_fds=[self._theirs.fileno()], process_group=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._theirs.close()
        self._orders.put(self.part)
        threads = [
            threading.Thread(target=one, daemon=True) for one in (self._send, self._overhear)
        ]
        for thread in threads:
            thread.start()
        _agents.append(self)
        try:
            self._carry()
        finally:
            _agents.remove(self)
            self._end()
        threads[1].join(LOOK_S)  # what it said last
        if not self._has_ended:
            self._say("failed", 0, self._why())

    def _carry(self) -> None:
        """News, until there is none to come: also where it stands still, and nobody asks for it."""
        is_closing = has_room = False
        while _CLOCK.now_ns() < self._told_ns + SILENCE_NS:
            if not is_closing and self._worker.status.name not in ("running", "paused"):
                is_closing = True  # and hears no orders any more
                self.obey(Order("stop"))
            if self.makes_room and not has_room:
                has_room = True
                secede()  # type: ignore[no-untyped-call]
            try:
                if self._ours.poll(LOOK_S):
                    kind, number, data = self._ours.recv()
                    self._keep(kind, data)
                    self._has_ended |= kind in ("record", "failed")
                    self._say(kind, number, data)
                    continue
            except UsageError as error:
                self._has_ended = True
                self._say("failed", 0, str(error))
                return
            except (EOFError, OSError):
                return
            if self._child.poll() is not None:
                return  # a process that it began holds the connection

    def _keep(self, kind: str, data: Any) -> None:
        """On this machine's disk, too."""
        if kind == "head":
            folder = folder_of(self.part.run, self.part.options.cluster_dir)
            self._keeper = Keeper(folder, Head.read(data))
        elif self._keeper is not None and kind == "frame":
            self._keeper.frame(data)
        elif self._keeper is not None and kind == "record":
            self._keeper.record(data)

    def _end(self) -> None:
        """Nothing of it stays."""
        self._ours.close()  # which it takes for an order to end
        self._orders.put(None)
        try:
            self._child.wait(GRACE_NS / NS_PER_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while (order := self._orders.get()) is not None:
                self._ours.send(order)

    def _overhear(self) -> None:
        """What it, or a scenario in it, prints: the last of it says why it failed."""
        assert self._child.stdout is not None
        with self._child.stdout as stream:
            while piece := os.read(stream.fileno(), 1 << 16):
                self._said = (self._said + piece)[-SAID_BYTES:]

    def _say(self, kind: str, number: int, data: object) -> None:
        news = News(self.part.share.index, self.part.attempt, kind, number, data)
        with contextlib.suppress(RuntimeError):  # the worker's loop has ended
            self._worker.log_event(self.part.topic, news.packed())

    def _why(self) -> str:
        """It ended without a word."""
        code = self._child.returncode
        by = f"with status {code}"
        if code < 0:
            by = f"by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                by += " (where nobody sent that, the machine was out of memory)"
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"Its load client was ended {by}." + (f" It said: {lines[-1]}" if lines else "")
