"""The load client of one part, in a process of its own, so that it never holds a worker's loop.

    python -P -m c1m.cluster.child DESCRIPTOR FOLDER

The descriptor is a connection to the agent, which started it. What is said there is in `part.py`.
The folder is an empty one, for the files that it reads.

Facts. An agent may die, its machine be cut off, its controller be killed: then orders stay away. A
load client that hangs cannot end itself, the kernel can.

What they mean here. Whose lease is over, or who finds the connection at its end, ends
the run in good order, and an alarm ends the process where that takes longer than `GRACE_NS`. So no
connection is left behind by whatever happens elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from c1m.clock import SystemClock
from c1m.cluster import travel
from c1m.cluster.cues import Cues
from c1m.cluster.frames import Frame
from c1m.cluster.head import Head, planned
from c1m.cluster.part import GRACE_NS, NS_PER_S, Lease, Order, Part, name_of
from c1m.errors import C1mError
from c1m.loadgen import metadata
from c1m.loadgen.plan import LoadPlan
from c1m.loadgen.run import run
from c1m.loadgen.stages import Stage
from c1m.loadgen.steps import Steps
from c1m.results.tally import Tally

_CLOCK = SystemClock()


class Link(Steps):
    """To the agent: begins stages when it says so."""

    def __init__(self, connection: Connection, part: Part) -> None:
        self._connection, self._part = connection, part
        self._cues = Cues()
        self._has_ended = -1
        self._news = threading.Condition()
        self._talk = threading.Lock()  # two threads tell
        self._frames = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, kind: str, number: int = 0, data: Any = None) -> None:
        """Tell the agent."""
        with self._talk, contextlib.suppress(OSError):  # it has gone: `_listen` ends the run
            self._connection.send((kind, number, data))

    def plan(self, plan: LoadPlan) -> None:
        """What is to be done is known."""
        part, share = self._part, self._part.share
        host, machine, network = metadata.whereabouts()
        head = Head(
            run=part.run, part=share.index, of=share.of, attempt=part.attempt,
            worker=name_of(part.worker), host=host, address=part.worker, machine=machine,
            network=network, started=metadata.started_text(), scenario=plan.scenario.name,
            assumed=plan.assumed, asked=plan.asked, stages=planned(plan.stages),
            metadata=replace(metadata.collect("", ""), redis_nodes=plan.redis_nodes),
        )  # fmt: skip
        self.say("head", 0, head.text())

    def ready(self) -> int | None:
        """See Steps. A run that is ended here is interrupted by SIGINT."""
        self.say("ready")
        with self._news:
            self._news.wait_for(lambda: self._cues.start_ns is not None)
        self._has_ended = max(self._cues.first - 2, -1)
        return self._cues.start_ns

    def begins(self, number: int) -> int | None:
        """See Steps."""
        if number > self._has_ended + 1:
            self._has_ended = number - 1
            self.say("ended", self._has_ended)
        return self._cues.begins(number)

    def begun(self, number: int, stage: Stage, now_ns: int) -> Stage:
        """See Steps."""
        if self._cues.is_told(number):
            self.say("begun", number, now_ns)
        return self._cues.stage(number, stage)

    def frame(self, tally: Tally) -> None:
        """A second is over."""
        part = self._part
        frame = Frame(part.run, part.share.index, part.attempt, self._frames, tally)
        self.say("frame", self._frames, frame.encode())
        self._frames += 1

    def _listen(self) -> None:
        """To orders, as long as some come."""
        lease, is_stopped = Lease(_CLOCK.now_ns()), False
        with contextlib.suppress(EOFError, OSError):
            while (left_ns := lease.until_ns - _CLOCK.now_ns()) > 0:
                if not self._connection.poll(left_ns / NS_PER_S):
                    continue
                order: Order = self._connection.recv()
                if order.kind in ("begin", "join"):
                    with self._news:
                        self._cues.take(order)
                        self._news.notify_all()
                elif order.kind == "go on":
                    lease.renew(order.number, _CLOCK.now_ns())
                    self.say("alive", order.number, _CLOCK.now_ns())
                elif order.kind == "stop" and not is_stopped:
                    is_stopped = True
                    os.kill(os.getpid(), signal.SIGINT)
        signal.setitimer(signal.ITIMER_REAL, GRACE_NS / NS_PER_S)  # by default that ends a process
        if not is_stopped:
            os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Do the part that is told first."""
    # An order to end comes as one, and it was ignored where the worker ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # the connection ends with this process
    connection = Connection(descriptor)
    part: Part = connection.recv()
    os.chdir(travel.unpack(part.luggage, sys.argv[2]))
    link = Link(connection, part)
    try:
        record = run(
            part.options,
            share=part.share,
            steps=link,
            on_tally=link.frame,
            on_signals=True,
            on_plan=link.plan,
        )
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an order to end would come too late
        link.say("record", 0, record.text())
    except C1mError as error:
        link.say("failed", 0, str(error))
    except KeyboardInterrupt:
        link.say("failed", 0, "It was ended before it began.")


if __name__ == "__main__":
    main()
