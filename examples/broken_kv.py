"""A key-value server that is wrong now and then, in one of six ways.

Shows   that `c1m load redis://` finds each of them, and how a command is replaced.
Needs   nothing else.
Try it  python examples/broken_kv.py crossed 6400      (or stale, double, lost, counter, payment)
        c1m load redis://127.0.0.1:6400 --connections 10k --timeout 3s
        A third argument is every how many times it is wrong.
"""

import sys

import c1m
from c1m.apps.kv.app import KeyValue
from c1m.kv.client import Client
from c1m.kv.commands import TABLE, Args
from c1m.kv.quick import override

COMMANDS = {
    "crossed": "get", "stale": "set", "double": "get", "lost": "set", "counter": "incr",
    "payment": "incrby",  # what examples/bank.py finds
}  # fmt: skip


class Fault:
    """Takes the place of a command of the table."""

    def __init__(self, kind: str, every: int) -> None:
        self.kind, self.every = kind, every
        self.right = TABLE[COMMANDS[kind].encode()].run
        self.calls = self.faults = 0
        self.last = self.other = [b"", b""]  # what was asked for last, and the last time otherwise

    def __call__(self, client: Client, args: Args) -> bytes | None:
        if args[1] != self.last[1]:
            self.other, self.last = self.last, args
        self.calls += 1
        value = client.db.find(args[1])
        if self.calls % self.every or value is None:
            return self.right(client, args)
        self.faults += 1
        if self.kind == "stale":  # it says OK, and keeps the value that it had
            return b"+OK\r\n"
        reply = self.right(client, self.other if self.kind == "crossed" else args)
        if self.kind in ("counter", "payment"):  # it says the new number, and forgets it
            client.db.put(args[1], value)
        return None if self.kind == "lost" else (reply or b"") * (1 + (self.kind == "double"))


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "crossed"
    port = sys.argv[2] if len(sys.argv) > 2 else "6400"
    every = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000 if kind == "counter" else 1_000
    fault = Fault(kind, every)
    override(COMMANDS[kind], fault)
    c1m.serve(KeyValue(), f"tcp://127.0.0.1:{port}")
    print(f"{fault.calls:,} {COMMANDS[kind].upper()}, of which {fault.faults:,} were {kind}")
