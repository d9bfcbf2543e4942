"""One process of a server of several: what it is told by the one that started it, and tells that.

`C1M_MEMBER` has two descriptors: of a file that says who this process is, and of a channel to the
parent. Each second a report goes there (server/sums.py). The channel's end is the parent's: then
this process stops, too.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from c1m.addresses import Endpoint
from c1m.arguments import AppOption
from c1m.engine.contract import Engine
from c1m.errors import UsageError
from c1m.guard.options import Limits
from c1m.kernel.channel import Channel, inherited
from c1m.kernel.procfs import process_sample
from c1m.kernel.supervisor import Given
from c1m.server import connections_page
from c1m.server.figures import figures_of, handshakes, of_process
from c1m.server.options import BY_PARENT
from c1m.server.sums import Report, plain
from c1m.units import NS_PER_MS, NS_PER_S

VARIABLE = "C1M_MEMBER"
LOOK_NS = 50 * NS_PER_MS
REPORT_NS = NS_PER_S
CHANGE_LEAST = 100  # so many connections more or fewer, and a quarter, are told at once
ROWS_MOST = 100  # connections in one message
# What bounds the whole is shared out: each process has its part.
DIVIDED = ("memory_max", "accept_rate", "accept_burst", "unsent_total")
DIVIDED_OF_APPS = ("max_clients", "max_memory")


class Member:
    """This process, which is number `number` (from 0 on) of `of`; `given`: its sockets."""

    def __init__(self, welcome: dict[str, Any], channel: Channel) -> None:
        self.number: int = welcome["number"]
        self.of: int = welcome["of"]
        self.listen: list[str] = welcome["listen"]  # URLs, whatever it is told otherwise
        self.app_options: dict[str, Any] = welcome["options"]
        self.given = [
            Given(fd, Endpoint(**asked), Endpoint(**bound), is_shared)
            for fd, asked, bound, is_shared in welcome["sockets"]
        ]
        for each in self.given:
            os.set_inheritable(each.fd, False)
        self._channel = channel
        self._unsaid: deque[dict[str, Any]] = deque()  # a channel takes so much at a time
        self._server: Any = None
        self._reported_ns = 0
        self._reported = 0  # connections
        self._is_ready = self._is_orphan = False

    # --- what it is made with ---------------------------------------------------------------------

    def part(self, whole: int | float) -> int | float:
        """Its part of what is for all."""
        return -(-whole // self.of) if isinstance(whole, int) else whole / self.of

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """A server's, as this process has them."""
        found = {**options, "given": self.given}
        if found.get("admin") is not None:
            found["admin"] = BY_PARENT
        if isinstance(found.get("connections_max"), int):
            found["connections_max"] = self.part(found["connections_max"])
        if isinstance(found.get("limits"), Limits):
            found["limits"] = self._limits(found["limits"])
        return found

    def own_options(self, known: Sequence[AppOption], own: dict[str, Any]) -> dict[str, Any]:
        """An application's, as this process has them; `known` ones are checked."""
        found = own | self.app_options
        for option in known:
            if option.name in DIVIDED_OF_APPS and found.get(option.name) is not None:
                found[option.name] = self.part(option.check(found[option.name]))
        if found.get("data") is not None:
            found["data"] = os.path.join(str(found["data"]), str(self.number))
        return found

    def _limits(self, limits: Limits) -> Limits:
        given = {name: limits.value(name) for name in DIVIDED}
        parts = {name: self.part(value) for name, value in given.items() if value is not None}
        return replace(limits, **parts)

    # --- its life ---------------------------------------------------------------------------------

    def refuse(self, error: UsageError) -> None:
        """It cannot serve; the parent says why."""
        self._channel.say(error=error.message, remedy=error.remedy)

    def begin(self, server: Any) -> None:
        """The server listens, and is ready from its first tick on."""
        self._server = server
        server.at_stop.append(lambda: self._say(stopping=True))
        server.every(LOOK_NS, self._look)

    def end(self) -> None:
        """The server has ended: the last report."""
        self._say(report=self._report())
        self._flush()

    def _look(self, now_ns: int) -> None:
        live = self._server.statistics.live
        has_changed = abs(live - self._reported) > max(self._reported // 4, CHANGE_LEAST)
        if has_changed or now_ns - self._reported_ns >= REPORT_NS:
            self._reported_ns, self._reported = now_ns, live
            self._say(report=self._report())
        if not self._is_ready:
            self._is_ready = True
            self._say(ready=self._about())
        self._flush()
        while (heard := self._channel.hear()) is not None and heard[0]:
            message = heard[0]
            if "connections" in message:
                self._answer(message["connections"], message["sort"], message["limit"])
        if heard is None and not self._is_orphan:
            self._orphaned()

    def _orphaned(self) -> None:
        """The parent has gone: with a second signal while all drain, or it was killed."""
        self._is_orphan = True
        if self._server.is_stopping:
            os._exit(128 + signal.SIGTERM)
        self._server.drain_spread_ns = 0
        self._server.stop()

    def _say(self, **message: Any) -> None:
        self._unsaid.append(message)
        self._flush()

    def _flush(self) -> None:
        while self._unsaid and self._channel.say(**self._unsaid[0]):
            self._unsaid.popleft()

    def _about(self) -> dict[str, Any]:
        server = self._server
        notes = getattr(getattr(server, "app", None), "notes", None)
        engine: Engine = server.engine
        return {
            "engine": engine.name, "reason": engine.reason, "room": engine.room(),
            "capacity": engine.capacity, "uses_descriptors": engine.uses_descriptors,
            "notes": notes(server) if notes is not None else [],
        }  # fmt: skip

    def _report(self) -> Report:
        server, sample = self._server, process_sample()
        figures = figures_of(server) | of_process()
        return {
            "statistics": plain(server.update_statistics()),
            "tls": handshakes(server),
            "process": sample._asdict() if sample is not None else {},
            "figures": {name: value for name, (_, value) in figures.items()},
            "about": {name: tuple(figure) for name, (figure, _) in figures.items()},
        }

    def _answer(self, question: int, sort: str, limit: int) -> None:
        ask = partial(_asked, self._server)
        rows = connections_page.top(ask, sort, limit)
        for at in range(0, max(len(rows), 1), ROWS_MOST):
            some, left = rows[at : at + ROWS_MOST], len(rows[at + ROWS_MOST :])
            self._say(answer=question, rows=some, left=left)


def _asked(server: Any, question: Any) -> Any:
    return question(server)


def member() -> Member | None:
    """This process as one of several, once; None where it is not."""
    given = os.environ.pop(VARIABLE, "")
    if not given:
        return None
    about, channel = (int(fd) for fd in given.split(","))
    with os.fdopen(about) as file:
        found = Member(json.load(file), inherited(channel))
    before = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = before(*args, **kwargs)
        made.number = found.number  # whose line it is, where all write into one log
        return made

    logging.setLogRecordFactory(record)
    return found
