"""The load client of one part, in a process of its own, so that it never holds a worker's loop.

    python -P -m c1m.cluster.child DESCRIPTOR

The descriptor is a connection to the agent, which started it. What it says there is in `part.py`.
When the agent dies the connection ends, and the run does, in good order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from c1m.clock import SystemClock
from c1m.cluster.cues import Cues
from c1m.cluster.part import Order, Part
from c1m.errors import C1mError
from c1m.loadgen.run import run
from c1m.loadgen.stages import Stage
from c1m.loadgen.steps import Steps
from c1m.results.tally import Tally

_CLOCK = SystemClock()


class Link(Steps):
    """To the agent: begins stages when it says so."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cues = Cues()
        self._has_ended = -1
        self._news, self._saying = threading.Condition(), threading.Lock()
        self._is_stopped = False
        self._before = Tally()
        self._frames = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, kind: str, number: int = 0, data: Any = None) -> None:
        """Tell the agent."""
        with contextlib.suppress(OSError), self._saying:  # it has gone: `_listen` ends the run
            self._connection.send((kind, number, data))

    def ready(self) -> int | None:
        """See Steps."""
        self.say("ready")
        with self._news:
            self._news.wait_for(lambda: self._cues.start_ns is not None or self._is_stopped)
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
        self.say("frame", self._frames, tally.since(self._before).encode())
        self._frames, self._before = self._frames + 1, tally

    def _listen(self) -> None:
        while True:
            try:
                order: Order = self._connection.recv()
            except (EOFError, OSError):
                order = Order("stop")
            if order.kind == "go on":
                self.say("alive", order.number, _CLOCK.now_ns())
                continue
            with self._news:
                if order.kind in ("begin", "join"):
                    self._cues.take(order)
                else:
                    self._is_stopped = True
                    os.kill(os.getpid(), signal.SIGINT)
                self._news.notify_all()
            if order.kind in ("stop", "kill"):
                return


def main() -> None:
    """Do the part that is told first."""
    connection = Connection(int(sys.argv[1]))
    part: Part = connection.recv()
    link = Link(connection)
    try:
        record = run(
            part.options, share=part.share, steps=link, on_tally=link.frame, on_signals=True
        )
        link.say("record", 0, record.text())
    except C1mError as error:
        link.say("failed", 0, str(error))


if __name__ == "__main__":
    main()
