"""What runs in a worker: starts the load client of its part, and carries news and orders."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from distributed import get_worker

from c1m.cluster.part import News, Order, Part

_children: dict[tuple[str, int, int], Connection] = {}  # of this worker, by run, part and attempt


def work(part: Part) -> str:
    """Do a part to its end; why it failed, or "". A task of Dask, in a thread of the worker."""
    worker = get_worker()
    ours, theirs = Pipe()
    command = [sys.executable, "-P", "-m", "c1m.cluster.child", str(theirs.fileno())]
    key = part.run, part.share.index, part.attempt

    def say(kind: str, number: int = 0, data: object = None) -> None:
        news = News(part.share.index, part.attempt, kind, number, data)
        worker.log_event(part.topic, news.packed())

    with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as child:
        theirs.close()
        ours.send(part)
        _children[key] = ours
        has_ended = False
        try:
            while True:
                kind, number, data = ours.recv()
                has_ended |= kind in ("record", "failed")
                say(kind, number, data)
        except EOFError:
            pass
        finally:
            del _children[key]
            ours.close()
    if not has_ended:
        say("failed", 0, f"its process ended with status {child.returncode}")
    return ""


def order(run: str, part: int, attempt: int, order: Order) -> None:
    """Hand an order on to the load client of a part. Called in the worker's loop."""
    child = _children.get((run, part, attempt))
    if child is not None:
        child.send(order)
