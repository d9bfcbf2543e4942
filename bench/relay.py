"""Push servers with one broker: does every subscriber of all of them get each message, once?

    python bench/relay.py [--subscribers 2k] [--servers 2] [--messages 1000] [--batch 100]
                          [--broker redis|nats] [--json FILE]

`c1m serve push --relay` in processes of their own, `--subscribers` WebSockets at each, and one
redis-server or nats-server. The messages are published in requests of `--batch`, at the servers in
turn, so their order is known; the next request comes when all copies have gone out, so that the
kernel's memory for what is not read yet is bounded. The subscribers are programs in C that share
no code with c1m (`c/subscribers.c`), as many as descriptors allow: each compares every byte of its
connections with what is to come, so a message that is missing, comes twice or in another order
is seen. Printed: subscribers that had all of it, how long it took,
processor time and memory of the servers and the broker, and the servers' figures of the broker.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import build, conditions
from websockets_held import free_port, kib, wait_until_open

from c1m.protocols.websocket.frames import Op, frame
from c1m.units import format_count, parse_count

BROKERS = {"redis": "redis-server", "nats": "nats-server"}
EACH = 18_000  # subscribers of one process: it may have 20,000 descriptors
PAYLOAD = 64
OPEN_S, END_S = 900, 3600
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS_PER_S


def message(number: int) -> bytes:
    """PAYLOAD bytes that no other message has."""
    return (b"message %d " % number).ljust(PAYLOAD, b"x")


def stats(path: Path) -> dict[str, Any]:
    """/stats of a server, by its unix socket."""
    command = ["curl", "-s", "--unix-socket", str(path), "http://admin/stats"]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=-1, check=True).stdout)
    return found


class Run:
    """All processes of one run."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options, self.directory = options, directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.subscribers: list[subprocess.Popen[str]] = []
        self.ports: list[int] = []
        self.admins = [directory / f"{n}.sock" for n in range(options.servers)]

    def serve(self) -> None:
        """The broker, and the servers once they have it."""
        port = free_port()
        words = {"redis": ["--port", str(port), "--save", ""], "nats": ["-p", str(port)]}
        broker = self.options.broker
        self._start("broker", [BROKERS[broker], *words[broker]], port)
        for number, admin in enumerate(self.admins, 1):
            self.ports.append(free_port())
            command = [
                sys.executable, "-m", "c1m", "serve", "push", "--quiet", "--ping", "0",
                "--relay", f"{broker}://127.0.0.1:{port}", "--admin", f"unix://{admin}",
                "--listen", f"http://127.0.0.1:{self.ports[-1]}",
            ]  # fmt: skip
            self._start(f"server {number}", command, self.ports[-1])
        for admin in self.admins:
            while not (admin.exists() and stats(admin)["relay"]["connected"]):
                time.sleep(0.1)

    def _start(self, name: str, command: list[str], port: int) -> None:
        with (self.directory / "servers.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until_open(port, self.processes[name])

    def subscribe(self) -> int:
        """All subscribers: how many are open."""
        program, stream = build.c_program("subscribers"), self.directory / "expected"
        messages = map(message, range(self.options.messages))
        stream.write_bytes(b"".join(frame(Op.TEXT, each) for each in messages))
        left, opened = self.options.subscribers * len(self.ports), 0
        while left:
            count, source = min(left, EACH), f"127.1.0.{len(self.subscribers) + 1}"
            words = [program, source, count, stream, OPEN_S + END_S, *self.ports]
            one = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, text=True)
            self.subscribers.append(one)
            assert one.stdout is not None
            opened += int(one.stdout.readline().split()[1])  # one process after the other
            left -= count
        return opened

    def publish(self) -> None:
        """All messages, a batch at one server, the next one at the next."""
        kind = {"Content-Type": "application/x-ndjson"}
        for first in range(0, self.options.messages, self.options.batch):
            port = self.ports[first // self.options.batch % len(self.ports)]
            numbers = range(first, min(first + self.options.batch, self.options.messages))
            lines = [json.dumps({"data": message(number).decode()}) for number in numbers]
            while True:
                client = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
                client.request("POST", "/publish?channel=bench", "\n".join(lines), kind)
                answer = client.getresponse()
                said = answer.read()
                client.close()
                if answer.status == 200:
                    break
                if answer.status != 503:
                    raise SystemExit(f"message {first}: {answer.status} {said!r}")
                time.sleep(0.1)
            while any(s["waiting"] or s["bytes"]["queued"] for s in map(stats, self.admins)):
                time.sleep(0.05)

    def heard(self) -> dict[str, int]:
        """What the subscribers say at their end, in all."""
        found: dict[str, int] = {}
        for each in self.subscribers:
            said = json.loads(each.communicate()[0])
            for name, value in said.items():
                merge = min if name == "least_bytes" else int.__add__
                found[name] = merge(found[name], value) if name in found else value
        return found

    def taken(self) -> dict[str, dict[str, float]]:
        """Processor time and memory of servers and broker."""
        return {
            name: {"cpu_s": cpu_s(each.pid), "peak_kib": kib(f"/proc/{each.pid}/status", "VmHWM")}
            for name, each in self.processes.items()
        }

    def end(self) -> None:
        """All of them."""
        started: list[subprocess.Popen[Any]] = [*self.subscribers, *self.processes.values()]
        for each in started:
            each.kill()
            each.wait()


def measured(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """One run."""
    run = Run(options, directory)
    try:
        run.serve()
        begun = time.monotonic()
        opened = run.subscribe()
        opened_s, before = time.monotonic() - begun, run.taken()
        print(f"{format_count(opened)} subscribers after {opened_s:.0f} s", flush=True)
        slab_kib, begun = kib("/proc/meminfo", "Slab"), time.monotonic()
        run.publish()
        published_s = time.monotonic() - begun
        heard, seconds = run.heard(), time.monotonic() - begun
        relay = [stats(admin)["relay"] for admin in run.admins]
        after = run.taken()
    finally:
        run.end()
    return {
        "servers": options.servers, "broker": options.broker, "messages": options.messages,
        "batch": options.batch, "payload": PAYLOAD, "opened": opened,
        "opened_s": round(opened_s, 1), "published_s": round(published_s, 1),
        "all_heard_s": round(seconds, 1), "heard": heard, "slab_kib": slab_kib,
        "copies": heard["complete"] * options.messages, "processes": after,
        "publishing_cpu_s": {n: round(after[n]["cpu_s"] - before[n]["cpu_s"], 2) for n in after},
        "relay": relay,
    }  # fmt: skip


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=parse_count, default=2000, help="at each server")
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--messages", type=parse_count, default=1000)
    parser.add_argument("--batch", type=parse_count, default=100, help="in a request")
    parser.add_argument("--broker", choices=[*BROKERS], default="redis")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    made = conditions.collect([])
    with tempfile.TemporaryDirectory() as name:
        found = measured(options, Path(name))
    print(json.dumps(found, indent=1))
    print(f"{format_count(found['copies'])} copies, each once")
    if options.json is not None:
        options.json.write_text(json.dumps({"conditions": made, "runs": [found]}, indent=1) + "\n")
    return int(found["heard"]["complete"] < options.subscribers * options.servers)


if __name__ == "__main__":
    sys.exit(main())
