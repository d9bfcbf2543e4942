"""Ordinary users: as many connections as fit, a sentence about what stops it, and it goes on.

Not root, with the limits that shells, services and containers have. A server holds what it has
said that it has room for; further ones wait, and come in when others have gone.
"""

from __future__ import annotations

import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from c1m.results.record import RunRecord
from e2e.cli_helpers import COMMAND
from e2e.ordinary_user import KIB, Limits, Refused, is_served, new_user, readable, start_as

from .verdict import Torture, Verdict

MIB = 1 << 20
MILLION = 1_000_000
PATIENCE_S = 900
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
MANY = {"nofile": HARD, "memlock": 8 * MIB}
OVER, GONE = 60, 40  # connections beyond the room; how many then go
SPARE = 2_000  # files that others open meanwhile
NOT_S = 0.01  # how long a reply is waited for that should not come
KEPT = "KEPT"  # in place of a directory
FILTER = str(Path(__file__).parents[1] / "e2e" / "container_filter.py")


def without(directory: str) -> tuple[str, ...]:
    """What starts a command that finds this directory empty."""
    return ("unshare", "-m", "sh", "-c", f'mount -t tmpfs none {directory} && exec "$0" "$@"')


def read_only(kept: str = "") -> tuple[str, ...]:
    """What starts a command that can write nowhere but here."""
    keep = f"mount --bind {kept} {kept} &&" if kept else ""
    return ("unshare", "-m", "sh", "-c", f'{keep} mount -o remount,bind,ro / && exec "$0" "$@"')


@dataclass(frozen=True, slots=True)
class User:
    """How somebody starts a server, and what is to be held then: `most`, or all the room."""

    name: str
    limits: Limits = field(default_factory=lambda: dict(MANY))
    before: tuple[str, ...] = ()
    asked: str = "auto"
    engine: str = "uring"  # what is to be had
    most: int = 2_000
    is_filled: bool = False  # and more
    says: str = ""  # among what is said at the beginning


USERS = (
    User("soft limit of files 1,024", {"nofile": (1024, HARD), "memlock": 8 * MIB}, most=MILLION),
    User("hard limit of files 1,024", {"nofile": 1024, "memlock": 8 * MIB}, most=60_000),
    User("hard limit of files 1,024, epoll", {"nofile": 1024, "memlock": 8 * MIB}, asked="epoll",
         engine="epoll", is_filled=True, says="a descriptor for each connection, at most 1,024"),
    User("hard limit of files 1,024, locked memory 512 KiB", is_filled=True,
         limits={"nofile": 1024, "memlock": 512 * KIB}),
    User("locked memory 64 KiB", {"nofile": HARD, "memlock": 64 * KIB}, engine="epoll",
         most=HARD, says="instead of uring: The kernel gives no io_uring"),
    User("a container's filter", before=(sys.executable, FILTER, "1"), engine="epoll",
         most=HARD, says="container refuses io_uring: io_uring_setup: Operation not permitted"),
    User("a container's filter with ENOSYS", before=(sys.executable, FILTER, "38"), engine="epoll",
         most=HARD, says="container refuses io_uring: io_uring_setup: Function not implemented"),
    User("no /proc", before=without("/proc")),
    User("no /sys", before=without("/sys")),
    User("no /proc, epoll", before=without("/proc"), asked="epoll", engine="epoll"),
    User("everything read-only", before=read_only(KEPT)),
)  # fmt: skip


def hold(user: User, most: int, verdict: Verdict) -> int:
    """Start it, have it hold so many, and more than there is room for; how many it held."""

    def check(is_so: bool, otherwise: str) -> None:
        verdict.check(is_so, f"{user.name}: {otherwise}")

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        arguments = ["--engine", user.asked, "--quiet"]
        before = [word.replace(KEPT, directory) for word in user.before]
        server = Refused(new_user(), path, *arguments, before=before, **user.limits)
        try:
            check(f"engine {user.engine} " in server.engine, server.engine)
            check(user.says in server.said, f"it says {server.said!r}")
            if user.is_filled:
                count, held, said = server.room(), fill(server, verdict, user), ""
            else:
                count = min(server.room(), most, room_of_machine())
                held, said = load(server, count, path)
            check(held == count, f"{held:,} of {count:,} were held. {said}")
            figures = server.stop()
        finally:
            server.process.kill()
    closed = figures["closed"]
    assert isinstance(closed, dict)
    check(figures["opened"] == sum(closed.values()), f"counts do not add up: {figures}")
    return held


def room_of_machine() -> int:
    """How many connections with both ends fs.file-max leaves to those who are not root."""
    in_use, _, most = map(int, Path("/proc/sys/fs/file-nr").read_text().split())
    return (most - in_use) // 2 - SPARE


def load(server: Refused, count: int, directory: Path) -> tuple[int, str]:
    """How many our load client, another ordinary user, has held at once, all of them right; what
    it complained of."""
    path = directory / "load.json"
    command = [
        *COMMAND, "load", f"tcp://127.0.0.1:{server.port}", "--connections", str(count), "--quiet",
        "--json", str(path),
    ]  # fmt: skip
    limits: Limits = {"nofile": (1024, HARD), "memlock": 8 * MIB}
    client = start_as(new_user(), *command, **limits)
    try:
        _, said = client.communicate(timeout=PATIENCE_S)
    finally:
        client.kill()
    if not path.exists():
        return 0, said
    record = RunRecord.read(path)
    c, is_right = record.connections, record.verdict.complete
    return c.peak_open if is_right and not c.lost else 0, " ".join(record.verdict.shortfalls)


def fill(server: Refused, verdict: Verdict, user: User) -> int:
    """How many are served of more than there is room for; others come in when some have gone."""
    with ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(server.room() + OVER)
        ]
        there = [sock for sock in socks[: server.room()] if is_served(sock)]
        late = socks[server.room() :]
        early = [sock for sock in late if is_served(sock, NOT_S)]
        verdict.check(not early, f"{user.name}: {len(early)} more than the room were served")
        for sock in there[:GONE]:
            sock.close()
        end = time.monotonic() + PATIENCE_S
        came: set[socket.socket] = set()
        while len(came) < GONE and time.monotonic() < end:
            waiting = [sock for sock in late if sock not in came]
            came.update(sock for sock in readable(waiting, 1.0) if sock.recv(1) == b"?")
        verdict.check(len(came) >= GONE, f"{user.name}: only {len(came)} came in later")
        stayed = [sock for sock in there[GONE:] if is_served(sock)]
        verdict.check(len(stayed) == len(there) - GONE, f"{user.name}: some were dropped")
        return len(there)


def run(scale: float) -> Verdict:
    """Each of them; `scale` of the million."""
    verdict = Verdict()
    for user in USERS:
        verdict.figures[f"held: {user.name}"] = hold(
            user, max(int(user.most * scale), 100), verdict
        )
    return verdict


TORTURE = Torture(
    "ordinary", "who is not root, with everyday limits: as many as fit, and it goes on", run
)
