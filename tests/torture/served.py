"""A server as a process of its own that says, some times a second, what it holds.

`app` and `own` (its options) are as for `c1m serve`, `listen`, `engine` and `options` as for
`c1m.Server`, `limits` as for `c1m.Limits`. A line has its statistics, and what must come back:
`rss` (bytes), `fds` (descriptors), `slots` (that somebody has), `buffers` (that are out).
"""

from __future__ import annotations

import os
from typing import Any

import c1m
from c1m.apps import load_app
from c1m.engine.decorated import Decorated
from c1m.engine.epoll import EpollEngine
from c1m.engine.tiered import TieredEngine
from c1m.engine.uring.engine import UringEngine
from c1m.kernel.procfs import process_sample
from c1m.loop import stopped_by_signals
from c1m.server.statistics import by_words
from c1m.serving import AnyServer, server_of

from .child import Child, Line, asked, say

EVERY_S = 0.25


class Served(Child):
    """The server, listening."""

    def __init__(self, app: str, listen: list[str], **told: Any) -> None:
        super().__init__("served", app=app, listen=listen, **told)
        try:
            self.urls: list[str] = self.wait_for(lambda line: "urls" in line)["urls"]
        except BaseException:
            self.__exit__()
            raise

    @property
    def ports(self) -> list[int]:
        """Where it listens."""
        return [int(url.rsplit(":", 1)[1]) for url in self.urls]

    def rest(self, opened: int = 0, patience_s: float = 120.0) -> Line:
        """The first line that says that so many were there, and that nothing of them is left."""
        self.look()
        return self.wait_for(
            lambda line: (
                line.get("opened", -1) >= opened
                and not (line["live"] or line["slots"] or line["buffers"])
            ),
            patience_s,
        )


def parts(engine: Any) -> list[Any]:
    """The engines below all decorators."""
    while isinstance(engine, Decorated):
        engine = engine._inner
    return [engine._few, engine._many] if isinstance(engine, TieredEngine) else [engine]


def inside(engine: Any) -> dict[str, int]:
    """Slots that are taken and buffers that the kernel does not have."""
    slots = buffers = 0
    for part in parts(engine):
        if isinstance(part, EpollEngine):
            slots += len(part._states) - part._states.count(0) + len(part._released)
        if isinstance(part, UringEngine):
            rings = part._rings
            slots += sum(rings.files_per_ring - place.free for place in rings.places)
            buffers += sum(place.buffers.owned - place.buffers.free for place in rings.places)
    return {"slots": slots, "buffers": buffers}


def figures(server: AnyServer) -> Line:
    """What a line says."""
    counts, engine = server.update_statistics(), server.engine.statistics()
    sample = process_sample()
    assert sample is not None
    return {
        "t": server.clock.now_ns() / 1e9, "rss": sample.rss_bytes,
        "cpu": sample.user_s + sample.system_s, "fds": len(os.listdir("/proc/self/fd")),
        "opened": counts.opened, "live": counts.live, "peak": counts.peak,
        "closed": {why.name: count for why, count in counts.closed.items() if count},
        "opening": counts.opening, "never_opened": by_words(counts.never_opened),
        "messages": counts.messages, "refused": counts.refused,
        "accepted": engine.accepted, "ended": engine.closed,
        "lingering": engine.lingering, "outbox": engine.outbox_bytes, **inside(server.engine),
    }  # fmt: skip


def main() -> None:
    """Until SIGTERM."""
    told = asked()
    limits, every_s = told.get("limits"), told.get("every_s", EVERY_S)
    server = server_of(
        load_app(told["app"], **told.get("own", {})), told["listen"],
        engine=told.get("engine", "auto"), limits=c1m.Limits(**limits) if limits else None,
        **told.get("options", {}),
    )  # fmt: skip

    def report(running: AnyServer) -> int:
        say(**figures(running))
        return running.clock.now_ns() + int(every_s * 1e9)

    with stopped_by_signals(server.stop, exits_at_second=True):
        say(urls=[str(endpoint) for endpoint in server.endpoints])
        server.run(report)
    say(**figures(server) | {"has_ended": True})


if __name__ == "__main__":
    main()
