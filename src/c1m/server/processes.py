"""A server of several processes on the same ports: the one that starts them, and serves nobody.

It binds every listener once for each process (kernel/reuseport.py) and keeps all the sockets. It
starts the processes, has new connections go where they are fewest (server/spread.py), starts one
that has died again, and adds up what they count (server/sums.py). To whoever runs it, it is like a
`Server`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from c1m import arguments
from c1m.addresses import AF_UNIX, Endpoint
from c1m.bounds import REPORT_NS_MIN
from c1m.errors import C1mError, UsageError
from c1m.kernel.procfs import ProcessSample, process_sample
from c1m.kernel.reuseport import choose_below
from c1m.kernel.sockets import Listener, open_further, resolve
from c1m.results.ramp import RampTimes
from c1m.server import spread, sums
from c1m.server.batches import Makes
from c1m.server.child import Child
from c1m.server.listeners import Listeners
from c1m.server.logs import ServerLog
from c1m.server.operators import Operators
from c1m.server.options import ServerOptions
from c1m.server.private_broker import PrivateBroker
from c1m.server.spread import PROCESSES_MAX
from c1m.server.statistics import ServerStatistics
from c1m.server.whole import Whole
from c1m.units import NS_PER_S

NO_TAKEOVER = (
    "Several processes (--processes) cannot be taken over (--takeover).",
    "Leave one of the two out; systemd's sockets go with --processes.",
)
WAIT_S = 1.0
CHANGE_LEAST = 0.005  # of all new connections: for less the kernel is not bothered
SPREAD_NS = NS_PER_S
SILENT_NS = 3 * NS_PER_S  # without a report, which comes each second
SLOW_NS = 5 * NS_PER_S  # beyond its deadline a process may take so long to end

AppOptions = Callable[[int, list[Endpoint]], dict[str, Any]]


class Processes:
    """`count` processes that run `command` serve on the endpoints of `listen`; they do so when this
    is made. Other options are those of `Server`.

    `has_own_listeners`: each listens on a port of its own besides. `app_options(number, ports)`:
    further options of a process's application, where these are known. `is_relayed`: they have a
    broker (an option `relay`) for what they publish. Raises UsageError.
    """

    def __init__(
        self,
        app: Any,
        listen: str | Sequence[str],
        *,
        count: int,
        command: Sequence[str],
        app_options: AppOptions | None = None,
        has_own_listeners: bool = False,
        is_relayed: bool = False,
        **options: Any,
    ) -> None:
        whole = arguments.COUNT.within(1, PROCESSES_MAX)
        whole.check("processes", count)
        self.children = [Child(n, count, f"Process {n}", command) for n in range(count)]
        self._broker: PrivateBroker | None = None
        self._listen = list(arguments.texts("listen", listen))
        made_options = ServerOptions(listen=listen, **options)
        self.clock = made_options.clock
        self.statistics = ServerStatistics()
        self.ramp = RampTimes(self.clock.now_ns())
        self.at_stop: list[Callable[[], object]] = []
        self.drain_ns, self.drain_spread_ns = made_options.drain_ns, made_options.drain_spread_ns
        self.drain_grace_ns = 0
        self.is_stopping = self._has_begun = self._has_ended = False
        self._groups: list[list[Listener]] = []
        self._own: list[Listener] = []
        self.pulse = 0  # another number each second, while all processes report
        self._error: UsageError | None = None
        self._timers: list[tuple[int, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._came = 0  # connections, in the last second
        self.own_endpoints: list[Endpoint] = []
        app = app.as_app() if isinstance(app, Makes) else app
        further = getattr(app, "further_listeners", tuple)
        self.listeners = Listeners(made_options.endpoints, further())
        self.listeners.endpoints = made_options.watched(self.listeners.endpoints)
        with ExitStack() as made:
            self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            made.callback(self._close)
            self.listeners.bind(made_options.backlog, made_options.given)
            self._groups = [
                self._group(each, made_options.backlog) for each in self.listeners.sockets
            ]
            self._own = self._own_listeners(made_options.backlog) if has_own_listeners else []
            self.own_endpoints = [each.endpoint for each in self._own]
            self.security = made_options.security(self.listeners.endpoints)
            if made_options.user is not None:
                for path in self.listeners.paths():
                    os.chown(path, made_options.user.uid, -1)
            self.endpoints = [each.endpoint for each in self.listeners.sockets]
            self.weights = np.full(count, 1.0 / count)
            self._given = np.zeros(count)  # what the kernel goes by
            if is_relayed:
                self._broker = PrivateBroker(count, made_options.user)
            for child in self.children:
                self._prepare(child, app_options)
            self._selector.register(self._bell[0], selectors.EVENT_READ, None)
            self.view = Whole(self)
            self._start_all()
            self.engine = _Engine([child.about for child in self.children])
            said = [note for child in self.children for note in child.about["notes"]]
            self.notes = list(dict.fromkeys(said))  # most is the same of all
            self.operators = Operators(self, made_options, self.call_at)
            if made_options.access_log is not None:
                self.operators.access = _Access(self)  # type: ignore[assignment]
            self._has_begun = True
            made.pop_all()

    # --- sockets ----------------------------------------------------------------------------------

    def _group(self, first: Listener, backlog: int) -> list[Listener]:
        """One socket for each process; or one for all, where it is no TCP or somebody else's."""
        if first.endpoint.family == AF_UNIX or first.is_shared:
            return [first]
        return [first, *open_further(first, len(self.children) - 1, backlog)]

    def _own_listeners(self, backlog: int) -> list[Listener]:
        """One port for each process: behind that of the first listener, or what is free."""
        tcp = [each for each in self.listeners.sockets if each.endpoint.family != AF_UNIX]
        if not tcp:
            return []
        base, asked = (
            tcp[0].endpoint,
            self.listeners.endpoints[self.listeners.sockets.index(tcp[0])],
        )
        found: list[Listener] = []
        for child in self.children:
            port = base.port + 1 + child.number if asked.port else 0
            url = str(replace(base, port=port))
            own = Listeners(resolve(url))
            own.bind(backlog)
            found += own.sockets
        return found

    def _sockets_of(self, number: int) -> list[tuple[Listener, Endpoint, bool]]:
        rows = [
            (group[number % len(group)], asked, len(group) == 1)
            for group, asked in zip(self._groups, self.listeners.endpoints, strict=True)
        ]
        own = self._own[number : number + 1]
        return rows + [(each, each.endpoint, False) for each in own]

    def _all_sockets(self) -> list[Listener]:
        return [each for group in self._groups for each in group] + self._own

    def _weigh(self) -> None:
        """Have new connections go where they are fewest."""
        takes = [child.takes for child in self.children]
        held = [child.live for child in self.children]
        self.weights = spread.weights(held, takes, self._came)
        if np.abs(self.weights - self._given).max() < CHANGE_LEAST:
            return
        self._given = self.weights
        bounds = spread.bounds(self.weights)
        for group in self._groups:
            if len(group) > 1:
                choose_below(group[0], bounds)

    # --- processes --------------------------------------------------------------------------------

    def _prepare(self, child: Child, app_options: AppOptions | None) -> None:
        """What it is started with, also later."""
        child.sockets = self._sockets_of(child.number)
        own = self._own[child.number : child.number + 1]
        child.listen = self._listen + [str(each.endpoint) for each in own]
        if app_options is not None:
            child.options = app_options(child.number, self.own_endpoints)
        if self._broker is not None:
            child.options = child.options | {"relay": self._broker.url}

    def _all(self) -> list[Child]:
        """Those that serve, and their broker."""
        return self.children + ([] if self._broker is None else [self._broker.child])

    def _start(self, child: Child) -> None:
        child.start(self.clock.now_ns())
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)
        self._selector.register(child.channel, selectors.EVENT_READ, child)  # type: ignore[arg-type]

    def _start_all(self) -> None:
        """All of them, until they are ready. Raises UsageError where one says that it cannot be."""
        for child in self._all():
            self._start(child)
        while not all(child.is_ready for child in self._all()):
            self._turn(WAIT_S)
            if self._error is not None:
                raise self._error
            for child in self._all():
                if child.process is None:
                    said = f"{child.name} has ended with {child.why} before it served."
                    raise C1mError(said, "What it said, if anything, is above.")
        self._weigh()

    def _hear(self, child: Child) -> None:
        """Messages of a process, and its end."""
        while child.channel is not None and (heard := child.channel.hear()) is not None:
            message, _ = heard
            if not message:
                break
            if "report" in message:
                self._reported(child, message["report"])
            elif "ready" in message:
                child.about, child.is_ready = message["ready"], True
                self._weigh()
            elif "stopping" in message:
                child.is_stopping = True
                self._weigh()
            elif "answer" in message:
                self.view.answered(child.number, message)
            elif "error" in message:
                self._error = UsageError(message["error"], message["remedy"])
        if child.process is not None and child.process.poll() is not None:
            self._ended(child)

    def _reported(self, child: Child, report: sums.Report) -> None:
        child.report, child.heard_ns = report, self.clock.now_ns()
        before = self.statistics.opened
        self.update_statistics()
        self.ramp.add(self.statistics.opened - before, self.clock.now_ns())

    def _ended(self, child: Child) -> None:
        for each in (child.pidfd, child.channel):
            self._selector.unregister(each)  # type: ignore[arg-type]
        pid, live = child.pid, child.live
        why = child.ended(self.clock.now_ns())
        self._weigh()
        self.view.ended(child.number)
        if self.is_stopping or not self._has_begun:
            return
        child.restarts += 1
        pause_ns = (child.due_ns or 0) - self.clock.now_ns()
        when = "now" if pause_ns <= 0 else f"in {pause_ns / NS_PER_S:.1f} s"
        said = (
            f"{child.name} ({pid}) has ended with {why}, and {live:,} connections with it. It is "
            f"started again {when}; who connects to it meanwhile waits."
        )
        if self._error is not None:
            said += f" It said: {self._error.message} {self._error.remedy}"
            self._error = None
        self.log.say("process-ended", said, logging.ERROR, number=child.number, reason=why)
        self.call_at(child.due_ns or 0, lambda: self._start_again(child))

    def _start_again(self, child: Child) -> None:
        if not self.is_stopping:
            try:
                self._start(child)
            except OSError as error:
                self.log.say(
                    "process-failed", f"A process cannot be started: {error}.", logging.ERROR
                )
                self.call_at(self.clock.now_ns() + NS_PER_S, lambda: self._start_again(child))

    def signal_all(self, number: int) -> None:
        """To every process."""
        for child in self.children:
            child.send(number)

    # --- as a server ------------------------------------------------------------------------------

    @property
    def log(self) -> ServerLog:
        """What this process says of itself and the others."""
        return self.operators.log

    def update_statistics(self) -> ServerStatistics:
        """The sums, as of the last reports."""
        self.statistics = sums.statistics_of(self.report().get("statistics", {}))
        return self.statistics

    def report(self) -> sums.Report:
        """Of all processes together; {} before the first of them."""
        return sums.total([whole for each in self.children if (whole := each.whole())])

    def sample(self) -> ProcessSample | None:
        """Memory and processor time of all, and of this process itself."""
        own = process_sample()
        if own is None:
            return None
        return ProcessSample(**sums.added(own._asdict(), self.report().get("process", {})))

    def handshakes(self) -> dict[str, Any]:
        """Of TLS."""
        found: dict[str, Any] = self.report().get("tls", {})
        return found

    def each(self) -> list[dict[str, Any]]:
        """What each has counted, with those that were in its place before."""
        found = []
        for child in self.children:
            whole = child.whole()
            counts = whole.get("statistics", {})
            of_process = whole.get("process", {})
            found.append(
                {name: counts.get(name, 0) for name in ("opened", "live", "messages")}
                | {
                    "cpu_s": of_process.get("user_s", 0) + of_process.get("system_s", 0),
                    "restarts": child.restarts,
                }
            )
        return found

    def call_at(self, when_ns: int, call: Callable[[], object]) -> None:
        """Call it in this thread."""
        heapq.heappush(self._timers, (when_ns, next(self._order), call))

    def call_soon(self, function: Callable[[], object]) -> None:
        """The same at once; may be called by another thread and by a signal's handler."""
        self.call_at(0, function)
        with contextlib.suppress(OSError):  # full: it wakes
            os.write(self._bell[1], b"!")

    def every(self, interval_ns: int, function: Callable[[int], object]) -> None:
        """Call it with the time now, and after each interval."""

        def call() -> None:
            now_ns = self.clock.now_ns()
            self.call_at(now_ns + interval_ns, call)
            function(now_ns)

        self.call_soon(call)

    def stop(self) -> None:
        """Make `run` end; may be called by a signal's handler or another thread."""
        self.is_stopping = True
        self.call_soon(lambda: None)

    def reload_tls(self) -> list[str]:
        """Have all processes read certificates and keys anew."""
        assert self.security is not None
        notes = self.security.reload()
        self.signal_all(signal.SIGHUP)
        return notes

    def _turn(self, timeout_s: float) -> None:
        if self._timers:
            left_s = (self._timers[0][0] - self.clock.now_ns()) / NS_PER_S
            timeout_s = min(timeout_s, max(left_s, 0))
        for key, _ in self._selector.select(timeout_s):
            if isinstance(key.data, Child):
                self._hear(key.data)
            else:
                with contextlib.suppress(OSError):
                    os.read(self._bell[0], 4096)
        now_ns = self.clock.now_ns()
        due = []
        while self._timers and self._timers[0][0] <= now_ns:
            due.append(heapq.heappop(self._timers)[2])
        for call in due:
            call()

    def run(self, on_report: Callable[[Processes], int] | None = None) -> None:
        """Serve until `stop`, then have all processes drain and end."""
        opened = 0

        def report() -> None:
            if on_report is not None and not self.is_stopping:
                self.call_at(max(on_report(self), self.clock.now_ns() + REPORT_NS_MIN), report)

        def weigh(now_ns: int) -> None:
            nonlocal opened
            now = self.update_statistics().opened
            self._came, opened = now - opened, now
            self._weigh()
            silent = [c for c in self.children if c.is_ready and now_ns - c.heard_ns > SILENT_NS]
            self.pulse += not silent

        try:
            self.operators.begin()
            self.call_at(0, report)
            self.every(SPREAD_NS, weigh)
            while not self.is_stopping:
                self._turn(WAIT_S)
            self._drain()
        finally:
            self._close()

    def _drain(self) -> None:
        self.operators.stopping()
        for call in self.at_stop:
            call()
        self.signal_all(signal.SIGTERM)
        deadline_ns = self.clock.now_ns() + self.drain_spread_ns + self.drain_ns + SLOW_NS
        while any(child.process is not None for child in self.children):
            self._turn(WAIT_S / 10)
            if self.clock.now_ns() > deadline_ns:
                for child in self.children:
                    if child.process is not None:
                        said = f"{child.name} has not ended in time: it is killed."
                        self.log.say("process-killed", said, logging.ERROR, number=child.number)
                break

    def _close(self) -> None:
        """Nothing is left behind. May be called twice."""
        if self._has_ended:
            return
        self._has_ended = True
        for child in self._all():
            if child.process is not None:
                child.send(signal.SIGKILL)  # of the broker nothing is kept
                child.ended(self.clock.now_ns())
        for each in self._all_sockets():
            each.close()
        self.listeners.close()
        if self._broker is not None:
            self._broker.close()
        self.update_statistics()
        if self._has_begun:
            self.operators.end()
        self._selector.close()
        for fd in self._bell:
            os.close(fd)


class _Engine:
    """What there is to say of the engines of all."""

    def __init__(self, abouts: Sequence[dict[str, Any]]) -> None:
        self.name: str = abouts[0]["engine"]
        self.reason: str = abouts[0]["reason"]
        self.capacity: int = sum(about["capacity"] for about in abouts)
        self.uses_descriptors: bool = abouts[0]["uses_descriptors"]
        self._room = sum(about["room"] for about in abouts)

    def room(self) -> int:
        """As many connections fit, when they began."""
        return int(self._room)


class _Access:
    """The access logs of all processes, as SIGUSR1 has them go on in a new file."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def reopen(self) -> None:
        """In that of this name."""
        self._processes.signal_all(signal.SIGUSR1)

    def end(self) -> None:
        """They do so themselves."""
