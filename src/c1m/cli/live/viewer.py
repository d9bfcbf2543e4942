"""The observer's process: reads snapshots from its standard input, draws them, serves metrics.

    python -m c1m.cli.live.viewer [--draw] [--metrics HOST:PORT] [--live HOST:PORT]

Standard input is a socket that brings a snapshot, as JSON, in each message; the last one may be the
run's verdict, for the page.

It answers once on standard error, in one line of JSON: that it is ready, or why not. Then it runs
until its input ends, and leaves the last picture on the terminal. `observer.py` is the other end.

Facts. Ctrl-C, and the SIGHUP of a terminal that is closed, reach every process of the terminal's
foreground group. Both are ignored here: the run ends in good order and closes the socket. In the
alternate screen each picture begins at the upper left, so a resize leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import selectors
import signal
import sys
from collections.abc import Sequence
from typing import Any

from c1m.clock import SystemClock
from c1m.errors import UsageError
from c1m.results import codec
from c1m.results.snapshot import Snapshot

DRAW_NS = 200_000_000  # at most five pictures a second
RESIZE_S = 0.25  # how often the terminal's size is looked at
LAST_ROWS = 40  # of the picture that stays
NICE = 10  # when processors are short, the run comes first
MESSAGE_BYTES_MAX = 1 << 18  # more than a socket's buffer holds by default


class Screen:
    """The dashboard on the terminal that standard output is."""

    def __init__(self, metrics_url: str, live_url: str) -> None:
        from rich.console import Console
        from rich.live import Live

        from c1m.cli.live.dashboard import Dashboard

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # characters that this terminal lacks
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        # The kernel's own console has a font of 256 or 512 characters, without eighths of blocks.
        has_blocks = self._console.encoding.startswith("utf") and os.environ.get("TERM") != "linux"
        self._dashboard = Dashboard(not has_blocks, metrics_url, live_url)
        self._drawn_ns = 0
        self._is_new = False
        self._size: tuple[int, int] = self._console.size

    def __enter__(self) -> None:
        """Take the terminal's alternate screen."""
        self._live.start()

    def add(self, snapshot: Snapshot) -> None:
        """Remember a snapshot; `draw_if_due` shows it."""
        self._dashboard.add(snapshot)
        self._is_new = True

    def draw_if_due(self) -> float:
        """Draw if there is news or the size has changed; returns when to ask again, in seconds."""
        is_resized = self._console.size != self._size
        if not (self._is_new or is_resized):
            return RESIZE_S
        now = SystemClock.now_ns()
        wait_ns = self._drawn_ns + DRAW_NS - now
        if wait_ns > 0 and not is_resized:
            return wait_ns / 1e9
        self._size, self._drawn_ns, self._is_new = self._console.size, now, False
        self._live.update(self._picture(self._console.height), refresh=True)
        return RESIZE_S

    def __exit__(self, *_: object) -> None:
        """Give the terminal back, with the last picture on it."""
        self._live.stop()
        if self._dashboard.history.t_s:
            self._console.print(self._picture(min(self._console.height - 2, LAST_ROWS)))

    def _picture(self, rows: int) -> Any:
        from rich.text import Text

        lines = self._dashboard.lines(self._console.width, rows)
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run until standard input ends; the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser("c1m.cli.live.viewer")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--metrics")
    parser.add_argument("--live")
    wanted = parser.parse_args(arguments)
    exporter, page, url, live_url = None, None, "", ""
    try:
        if wanted.metrics is not None:
            from c1m.cli.live.prometheus import Exporter

            exporter = Exporter(wanted.metrics)
            url = exporter.url
        if wanted.live is not None:
            from c1m.cli.live.page import LivePage

            page = LivePage(wanted.live)
            live_url = page.url
    except UsageError as error:
        answer = {"error": error.message, "remedy": error.remedy}
        sys.stderr.write(json.dumps(answer) + "\n")
        return 2
    screen = Screen(url, live_url) if wanted.draw else None
    sys.stderr.write(json.dumps({"ready": True, "metrics": url, "live": live_url}) + "\n")
    os.nice(NICE)
    with screen or contextlib.nullcontext():
        _follow(screen, exporter, page)
    if page is not None:
        page.close()
    return 0


def _follow(screen: Screen | None, exporter: Any, page: Any) -> None:
    """Take snapshots until the input ends."""
    descriptor = sys.stdin.fileno()
    wait_s: float | None = None if screen is None else 0.0
    with selectors.PollSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if selector.select(wait_s):
                message = os.read(descriptor, MESSAGE_BYTES_MAX)
                if not message:
                    return
                # A page's JSON knows no NaN and no infinity.
                news = json.loads(message, parse_constant=lambda name: None)
                if page is not None:
                    page.add(news)
                if "verdict" in news:
                    continue
                snapshot = codec.decode(Snapshot, json.loads(message))
                if screen is not None:
                    screen.add(snapshot)
                if exporter is not None:
                    exporter.latest = snapshot
            if screen is not None:
                wait_s = screen.draw_if_due()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
