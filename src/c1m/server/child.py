"""One process of several, as the one that has started it sees it: see server/member.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from c1m.addresses import Endpoint
from c1m.kernel.channel import Channel, channel_to_child
from c1m.kernel.sockets import Listener
from c1m.server.member import VARIABLE
from c1m.server.sums import Report, ended, with_before
from c1m.units import NS_PER_MS, NS_PER_S

LIVED_NS = 10 * NS_PER_S  # who lives so long has not died at once
PAUSE_NS, PAUSE_MAX_NS = 100 * NS_PER_MS, 30 * NS_PER_S
# A supervisor's words are for the parent.
NOT_PASSED_ON = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC",
                 "WATCHDOG_PID")  # fmt: skip


def pause_ns(deaths: int) -> int:
    """How long to wait before a process is started again that has died so often, one by one."""
    return min(PAUSE_NS << min(deaths - 2, 20), PAUSE_MAX_NS) if deaths > 1 else 0


class Child:
    """The process in one place, and those that are in it after it has died."""

    def __init__(self, number: int, of: int, name: str, command: Sequence[str]) -> None:
        self.number, self.of, self.name = number, of, name
        self._command = command
        # Each with what was asked, and whether others have it, too.
        self.sockets: list[tuple[Listener, Endpoint, bool]] = []
        self.listen: list[str] = []  # URLs, instead of those of the command
        self.options: dict[str, Any] = {}  # the same, of its application
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: Channel | None = None
        self.pidfd = -1
        self.about: dict[str, Any] = {}  # what it said when it was ready
        self.why = ""  # the last one ended
        self.is_ready = False
        self.is_stopping = False
        self.report: Report = {}  # the last one
        self.heard_ns = 0  # when that came
        self.restarts = 0
        self.due_ns: int | None = None  # when it is to be started again
        self._before: Report = {}
        self._deaths = 0
        self._started_ns = 0

    @property
    def takes(self) -> bool:
        """Whether it takes new connections."""
        return self.is_ready and not self.is_stopping

    @property
    def pid(self) -> int:
        """0 where there is none."""
        return 0 if self.process is None else self.process.pid

    @property
    def live(self) -> int:
        """As many connections as it has said that it holds."""
        return int(self.report["statistics"]["live"]) if self.report else 0

    def whole(self) -> Report:
        """What was counted in this place; {} where there is nothing yet."""
        if not self._before or not self.report:
            return self.report or self._before
        return with_before(self.report, self._before)

    # --- its life ---------------------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Run it."""
        for listener, _, is_shared in self.sockets:
            if not is_shared:
                listener.let_in_again()
        welcome = {
            "number": self.number, "of": self.of, "listen": self.listen, "options": self.options,
            "sockets": [
                (listener.fd, asdict(asked), asdict(listener.endpoint), is_shared)
                for listener, asked, is_shared in self.sockets
            ],
        }  # fmt: skip
        self.channel, theirs = channel_to_child()
        about = os.memfd_create("c1m-member")
        with theirs, os.fdopen(about, "r+b") as file:
            file.write(json.dumps(welcome).encode())
            file.seek(0)
            fds = [about, theirs.fileno(), *(listener.fd for listener, *_ in self.sockets)]
            env = {name: text for name, text in os.environ.items() if name not in NOT_PASSED_ON}
            # In a group of its own: what a terminal sends is for the parent.
            self.process = subprocess.Popen(
                self._command, env=env | {VARIABLE: f"{about},{theirs.fileno()}"}, pass_fds=fds,
                stdin=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
        self.pidfd = os.pidfd_open(self.process.pid)
        self.due_ns, self._started_ns = None, now_ns

    def ended(self, now_ns: int) -> str:
        """It has: why, in words. It is to be started again at `due_ns`."""
        assert self.process is not None and self.channel is not None
        status = self.process.wait()
        os.close(self.pidfd)
        self.channel.close()
        if self.report:
            self._before, self.report = ended(self.whole()), {}
        has_lived = self.is_ready and now_ns - self._started_ns >= LIVED_NS
        self._deaths = 1 if has_lived else self._deaths + 1
        self.due_ns = now_ns + pause_ns(self._deaths)
        self.process = self.channel = None
        self.is_ready = self.is_stopping = False
        self.why = f"signal {signal_name(-status)}" if status < 0 else f"status {status}"
        return self.why

    def send(self, number: int) -> None:
        """A signal, if it is there."""
        if self.process is not None:
            self.process.send_signal(number)


def signal_name(number: int) -> str:
    """SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
