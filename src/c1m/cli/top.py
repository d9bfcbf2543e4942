"""`c1m top`: what a server with --admin is doing, as a live view of a terminal, as lines, as JSON.

On a terminal it is drawn anew each time: `q` ends it, `s` sorts by another column. Elsewhere it
writes a line each time. It asks /stats and /connections, as anybody may.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import selectors
import shutil
import socket
import sys
import termios
import tty
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import click

from c1m.addresses import TLS_SCHEMES, parse_url
from c1m.cli.live.plain import can_draw
from c1m.cli.options import DURATION, option
from c1m.clock import SystemClock
from c1m.errors import C1mError, UsageError
from c1m.loop import stopped_by_signals
from c1m.server.connections_page import SORTS, as_text
from c1m.units import NS_PER_S, format_bytes, format_count, format_rate

ANSWER_S = 10.0  # the most that the server may take
ADMIN = "127.0.0.1:9100"
HEAD_LINES = 20  # of the view, above the connections
LINES_LEAST = 3  # of connections, however low the terminal is

_OPTIONS = [
    option(["--admin"], metavar="URL", default=ADMIN,
           help="Where the server has its --admin: HOST:PORT, https://HOST:PORT, unix:///path."),
    option(["--sort"], type=click.Choice(SORTS), default="unsent",
           help="Show the connections that have most of this."),
    option(["--every"], type=DURATION.within(NS_PER_S // 10, 3600 * NS_PER_S), default="1s",
           help="How often it asks."),
    option(["--once"], is_flag=True, help="Show it once, and end."),
    option(["--json", "as_json"], is_flag=True, help="One JSON object a line, instead of text."),
]  # fmt: skip


class Sample(NamedTuple):
    """What the server said at a time."""

    ns: int
    stats: dict[str, Any]
    connections: dict[str, Any]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(self._path)


class Client:
    """Asks a server's --admin. Raises UsageError for what is no address, C1mError for no answer."""

    def __init__(self, url: str) -> None:
        if url.lstrip(":").isdigit():  # a port of this machine
            url = f"{ADMIN.partition(':')[0]}:{url.lstrip(':')}"
        self.url = url
        self._scheme, self._host, self._port, last = parse_url(url)
        if last != self._port:
            raise UsageError(f"--admin: {url!r} is not one place.", f"Write {ADMIN}.")

    def _connection(self) -> http.client.HTTPConnection:
        if self._scheme == "unix":
            return _UnixConnection(self._host)
        is_tls = self._scheme in TLS_SCHEMES
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=ANSWER_S)

    def _page(self, path: str) -> dict[str, Any]:
        connection = self._connection()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise C1mError(
                f"No answer from {self.url}: {why.lower()}.",
                "Start the server with --admin, and name the same place here.",
            ) from None
        finally:
            connection.close()
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if response.status != 200 or not isinstance(found, dict):
            said = body[:200].decode("latin-1").strip() or f"status {response.status}"
            raise C1mError(f"{self.url}{path} is not what c1m's --admin says: {said}")
        return found

    def sample(self, sort: str, limit: int) -> Sample:
        """What it says now."""
        query = urlencode({"sort": sort, "limit": limit})
        stats = self._page("/stats")
        return Sample(SystemClock.now_ns(), stats, self._page(f"/connections?{query}"))


def figures(now: Sample, before: Sample) -> dict[str, Any]:
    """What the view shows: counts, and how fast they rise."""
    seconds = max((now.ns - before.ns) / NS_PER_S, 1e-9)
    old, new = before.stats, now.stats

    def rate(*names: str) -> float:
        values = []
        for stats in (old, new):
            value: Any = stats
            for name in names:
                value = value.get(name, {}) if isinstance(value, Mapping) else {}
            values.append(value if isinstance(value, int | float) else 0)
        return round((values[1] - values[0]) / seconds, 3)

    connections, moved = new["connections"], new["bytes"]
    groups = {
        "closed": (("connections", "closed"), connections["closed"]),
        "never_opened": (("connections", "never_opened"), connections["never_opened"]),
        "limited": (("limited",), new["limited"]),
        "kernel_refused": (("kernel_refused",), new["kernel_refused"]),
    }
    return {
        "live": now.connections["live"],
        **{name: connections[name] for name in ("peak", "room", "opening")},
        "opened_per_s": rate("connections", "opened"),
        "messages_per_s": rate("messages"),
        "ticks_per_s": rate("ticks"),
        "received_per_s": rate("bytes", "received"),
        "sent_per_s": rate("bytes", "sent"),
        "queued": moved["queued"],
        "memory_bytes": new.get("memory_bytes", 0),
        "cpu": rate("cpu_seconds"),
        "draining": bool(new["draining"]),
        **{
            group: {
                name: {"count": count, "per_s": rate(*path, name)}
                for name, count in counts.items()
                if count
            }
            for group, (path, counts) in groups.items()
        },
    }


def line(seen: Mapping[str, Any]) -> str:
    """All of it in a line."""
    parts = [
        f"{format_count(seen['live'])} connections",
        f"+{format_rate(seen['opened_per_s'])}",
        f"-{format_rate(sum(each['per_s'] for each in seen['closed'].values()))}",
        f"{format_rate(seen['messages_per_s'])} messages",
        f"in {format_bytes(seen['received_per_s'])}/s",
        f"out {format_bytes(seen['sent_per_s'])}/s",
        f"queued {format_bytes(seen['queued'])}",
        f"memory {format_bytes(seen['memory_bytes'])}",
        f"CPU {100 * seen['cpu']:.0f} %",
    ]
    limits = [*seen["limited"].items(), *seen["kernel_refused"].items()]
    parts += [f"{name} {format_rate(each['per_s'])}" for name, each in limits if each["per_s"]]
    return "  ".join(parts + ["stopping"] * seen["draining"])


def view(url: str, seen: Mapping[str, Any], rows: list[dict[str, Any]], sort: str) -> list[str]:
    """The whole picture, as lines."""
    state = "stopping" if seen["draining"] else "serving"
    opening = f"  {format_count(seen['opening'])} opening" if seen["opening"] else ""
    lines = [
        f"{url}  {state}",
        f"connections  {format_count(seen['live'])} open  at most {format_count(seen['peak'])}"
        f"  room for {format_count(seen['room'])}{opening}",
        f"rates        {format_rate(seen['opened_per_s'])} opened  "
        f"{format_rate(sum(each['per_s'] for each in seen['closed'].values()))} closed  "
        f"{format_rate(seen['messages_per_s'])} messages  {format_rate(seen['ticks_per_s'])} ticks",
        f"bytes        in {format_bytes(seen['received_per_s'])}/s  "
        f"out {format_bytes(seen['sent_per_s'])}/s  queued {format_bytes(seen['queued'])}",
        f"process      memory {format_bytes(seen['memory_bytes'])}  CPU {100 * seen['cpu']:.0f} %",
        "",
    ]
    for group, title in (
        ("closed", "closed"), ("never_opened", "never opened"), ("limited", "limits that acted"),
        ("kernel_refused", "refused by the kernel"),
    ):  # fmt: skip
        for name, each in sorted(seen[group].items(), key=lambda item: -item[1]["count"]):
            lines.append(
                f"{title:<22} {name:<28} {format_count(each['count']):>13}"
                f"  {format_rate(each['per_s']):>10}"
            )
            title = ""
    table = as_text(rows, seen["live"], sort).splitlines()
    return [*lines, "", *table]


@click.command(params=_OPTIONS)
def top(admin: str, sort: str, every: int, once: bool, as_json: bool) -> None:
    """Show what a server with --admin is doing: rates, why connections end, limits that bite, and
    the connections that have most of something.

    On a terminal: q ends, s sorts by another column.
    """
    client = Client(admin)
    is_drawn = not (once or as_json) and can_draw(sys.stdout) and sys.stdin.isatty()
    with (
        contextlib.suppress(KeyboardInterrupt),
        stopped_by_signals(_interrupt, exits_at_second=True),
        _Terminal() if is_drawn else _NoTerminal() as terminal,
    ):
        before = client.sample(sort, _rows())
        while (key := terminal.key(every)) != "q":
            if key == "s":
                sort = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
            now = client.sample(sort, _rows())
            seen, rows = figures(now, before), now.connections["connections"]
            if as_json:
                click.echo(json.dumps({**seen, "connections": rows}))
            elif is_drawn or once:
                terminal.draw(view(client.url, seen, rows, sort))
            else:
                terminal.draw([line(seen)])
            if once:
                return
            before = now


def _interrupt() -> None:
    raise KeyboardInterrupt


def _rows() -> int:
    return max(shutil.get_terminal_size().lines - HEAD_LINES, LINES_LEAST)


class _NoTerminal(contextlib.AbstractContextManager["_NoTerminal"]):
    """Lines, one below the other; nobody types."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def __exit__(self, *error: object) -> None:
        self._selector.close()

    def key(self, wait_ns: int) -> str:
        """What is typed within this time; "" for nothing."""
        if not self._selector.select(wait_ns / NS_PER_S):
            return ""
        return os.read(sys.stdin.fileno(), 1).decode("latin-1") or "q"  # its end is one, too

    def draw(self, lines: list[str]) -> None:
        """Show them."""
        click.echo("\n".join(lines))


class _Terminal(_NoTerminal):
    """A screen of its own, which is given back at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._before = termios.tcgetattr(sys.stdin)

    def __enter__(self) -> _Terminal:
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        tty.setcbreak(sys.stdin)
        click.echo("\x1b[?1049h\x1b[?25l", nl=False)
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        click.echo("\x1b[?25h\x1b[?1049l", nl=False)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def draw(self, lines: list[str]) -> None:
        width, height = shutil.get_terminal_size()
        shown = [text[:width] for text in [*lines, "", "q: end  s: sort by another column"]]
        if len(shown) > height:  # the last ones are the keys
            shown = [*shown[: height - 1], shown[-1]]
        shown[0] = f"\x1b[1m{shown[0]}\x1b[0m"
        click.echo("\x1b[H" + "\x1b[K\n".join(shown) + "\x1b[K\x1b[J", nl=False)
