"""Many WebSocket connections to unmodified servers, on c1m's loop and on asyncio's.

    python bench/websockets_held.py [--server websockets|uvicorn] [--loop c1m|asyncio]
                                    [--connections 200k] [--connect-rate 1k/s]
                                    [--engine uring|epoll] [--json FILE]

A server of the package `websockets`, or uvicorn (its WebSockets by `websockets`, too), in a process
of its own. `c1m load` opens the connections; each upgrades, and sends one message while all are
there, which must come back. Printed for each: how many were open at the same time, whether all
replies were right, the server's descriptors, and its memory a connection: the growth of its
resident memory from before the first connection to the most that it had, by their number; and the
kernel's slabs, for both ends.

Connections are opened no faster than the server can upgrade them, and it gives them the time that
they need (`open_timeout=None`; 10 s are the default of `websockets`). asyncio has a descriptor for
each connection, so it is asked for 15,000, whatever c1m is asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from c1m.units import format_count, parse_count

ROOT = Path(__file__).resolve().parents[1]
ASYNCIO_MOST = 15_000  # below 20,000 descriptors
SERVERS = ("websockets", "uvicorn")

WEBSOCKETS = """
import asyncio, sys
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:  # without a close frame: the clients just go
        pass


OPTIONS = {"ping_interval": None, "open_timeout": None, "backlog": 4096}


async def main(port):
    async with serve(echo, "127.0.0.1", port, **OPTIONS) as server:
        await server.serve_forever()


port, loop = int(sys.argv[1]), sys.argv[2]
if loop == "c1m":
    import c1m
    c1m.run(main(port))
else:
    asyncio.run(main(port))
"""
UVICORN = """
async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
"""


def command_of(server: str, loop: str, port: int, directory: Path) -> list[str]:
    """How a user starts it."""
    if server == "websockets":
        (directory / "server.py").write_text(WEBSOCKETS)
        return [sys.executable, "server.py", str(port), loop]
    (directory / "app.py").write_text(UVICORN)
    name = "c1m:new_event_loop" if loop == "c1m" else "asyncio"
    return [
        sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--loop", name,
        "--lifespan", "off", "--log-level", "error", "--ws", "websockets-sansio",
        "--ws-ping-interval", "0", "--backlog", "4096",
    ]  # fmt: skip


def free_port() -> int:
    """A port that nobody listens on, below the ephemeral ones."""
    for port in range(18_000, 19_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("there is no free port between 18,000 and 19,000")


def kib(path: str, name: str) -> int:
    """A line of /proc as KiB; 0 where there is none."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


class Watch(threading.Thread):
    """The most that a server has had of each, every tenth of a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.before = self.now()
        self.most = dict(self.before)
        self.is_over = threading.Event()
        self.start()

    def now(self) -> dict[str, int]:
        """As /proc says."""
        return {
            "rss_kib": kib(f"/proc/{self.pid}/status", "VmRSS"),
            "slab_kib": kib("/proc/meminfo", "Slab"),
            "descriptors": len(os.listdir(f"/proc/{self.pid}/fd")),
        }

    def run(self) -> None:
        while not self.is_over.wait(0.1):
            try:
                now = self.now()
            except OSError:
                return
            self.most = {name: max(value, self.most[name]) for name, value in now.items()}

    def growth(self, name: str) -> int:
        """From before to the most."""
        return self.most[name] - self.before[name]


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until it takes connections."""
    for _ in range(400):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server does not listen")


def measured(server: str, loop: str, engine: str, count: int, rate: str) -> dict[str, Any]:
    """One row."""
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        log = (directory / "server.log").open("w")
        process = subprocess.Popen(
            command_of(server, loop, port, directory), cwd=directory,
            env=os.environ | {"C1M_ENGINE": engine}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_until_open(port, process)
            time.sleep(0.5)
            watch = Watch(process.pid)
            begun = time.monotonic()
            record_path = directory / "run.json"
            load = subprocess.run(
                [
                    sys.executable, "-m", "c1m", "load", f"ws://127.0.0.1:{port}",
                    "--stage", f"ramp {count}", "--stage", "hold for 2s", "--stage", "stampede",
                    "--timeout", "300s", "--connect-rate", rate, "--quiet",
                    "--json", str(record_path),
                ],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            seconds = time.monotonic() - begun
            watch.is_over.set()
            watch.join()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        record = json.loads(record_path.read_text()) if record_path.exists() else {}
        errors = [line for line in (directory / "server.log").read_text().splitlines() if line]
        log.close()
    connections = record.get("connections", {})
    said = (load.stdout + load.stderr).strip().splitlines()
    held = int(connections.get("peak_open", 0))
    return {
        "server": server,
        "loop": loop,
        "engine": engine if loop == "c1m" else "",
        "asked": count,
        "held": held,
        "complete": load.returncode == 0,
        "said": said[:1] if load.returncode == 0 else [*said[:6], *errors[-3:]],
        "descriptors": watch.most["descriptors"],
        "bytes_a_connection": watch.growth("rss_kib") * 1024 // max(held, 1),
        "slab_bytes_a_connection": watch.growth("slab_kib") * 1024 // max(held, 1),
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Measure what was asked for; 1 where something was not complete."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--server", choices=SERVERS, action="append")
    parser.add_argument("--loop", choices=("c1m", "asyncio"), action="append")
    parser.add_argument("--engine", choices=("uring", "epoll"), default="uring")
    parser.add_argument("--connections", default="200k")
    parser.add_argument("--connect-rate", default="1k/s")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    asked = parse_count(given.connections)
    rows = []
    for server in given.server or SERVERS:
        for loop in given.loop or ("asyncio", "c1m"):
            count = min(asked, ASYNCIO_MOST) if loop == "asyncio" else asked
            row = measured(server, loop, given.engine, count, given.connect_rate)
            rows.append(row)
            name = f"{server} on {loop}{' ' * bool(row['engine'])}{row['engine']}"
            print(
                f"{name:26} {format_count(row['held']):>8} held, "
                f"{'all right' if row['complete'] else 'NOT complete'}, "
                f"{row['descriptors']:,} descriptors, "
                f"{row['bytes_a_connection']:,} bytes a connection, "
                f"kernel (both ends) {row['slab_bytes_a_connection']:,}, {row['seconds']} s"
            )
            for line in row["said"] if not row["complete"] else ():
                print(f"    {line}")
            sys.stdout.flush()
    if given.json:
        given.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return int(not all(row["complete"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
