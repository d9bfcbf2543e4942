"""A key-value server that is wrong now and then, in one of five ways.

Shows   that `c1m load redis://` finds each of them, and how a command is replaced.
Needs   nothing else.
Try it  python examples/broken_kv.py crossed 6400      (or stale, double, lost, counter)
        c1m load redis://127.0.0.1:6400 --connections 10k --timeout 3s
        A third argument is every how many times it is wrong.
"""

import sys
from dataclasses import replace

import c1m
from c1m.apps.kv.app import KeyValue
from c1m.kv.client import Client
from c1m.kv.commands import TABLE, Args
from c1m.kv.quick import FORMS


class Fault:
    """Takes the place of a command: mostly right, and `wrong` every so many times."""

    name = "get"
    every = 1_000

    def __init__(self) -> None:
        self.right = TABLE[self.name.encode()].run
        self.calls = self.faults = 0
        self.before: Args = []  # what the last call was asked for

    def __call__(self, client: Client, args: Args) -> bytes | None:
        """As a command of the table: the reply."""
        self.calls += 1
        if self.calls % self.every == 0 and self.can_be_wrong(client, args):
            self.faults += 1
            return self.wrong(client, args)
        self.before = args
        return self.right(client, args)

    def can_be_wrong(self, client: Client, args: Args) -> bool:
        return True

    def wrong(self, client: Client, args: Args) -> bytes | None:
        raise NotImplementedError


class Crossed(Fault):
    """A cache that answers one key with another's value."""

    def can_be_wrong(self, client: Client, args: Args) -> bool:
        return self.before != args

    def wrong(self, client: Client, args: Args) -> bytes | None:
        return self.right(client, self.before)


class Stale(Fault):
    """A store that says OK and keeps the value it had."""

    name = "set"

    def can_be_wrong(self, client: Client, args: Args) -> bool:
        return client.db.find(args[1]) is not None

    def wrong(self, client: Client, args: Args) -> bytes | None:
        return b"+OK\r\n"


class Double(Fault):
    """A server that answers twice."""

    def wrong(self, client: Client, args: Args) -> bytes | None:
        return (self.right(client, args) or b"") * 2


class Lost(Fault):
    """A server that does what was asked and does not answer."""

    name = "set"

    def wrong(self, client: Client, args: Args) -> bytes | None:
        self.right(client, args)
        return None


class Counter(Fault):
    """A counter that loses one INCR in 10,000: it says the new number and keeps the old one."""

    name = "incr"
    every = 10_000

    def wrong(self, client: Client, args: Args) -> bytes | None:
        value = client.db.find(args[1])
        reply = self.right(client, args)
        client.db.put(args[1], value or b"0")
        return reply


FAULTS = {"crossed": Crossed, "stale": Stale, "double": Double, "lost": Lost, "counter": Counter}

if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "crossed"
    port = sys.argv[2] if len(sys.argv) > 2 else "6400"
    fault = FAULTS[kind]()
    fault.every = int(sys.argv[3]) if len(sys.argv) > 3 else fault.every
    name = fault.name.encode()
    TABLE[name] = replace(TABLE[name], run=fault)
    for spelled in (name, name.upper()):  # or many at once would go past it
        FORMS.pop(spelled)
    c1m.serve(KeyValue(), f"tcp://127.0.0.1:{port}")
    print(f"{fault.calls:,} {fault.name.upper()}, of which {fault.faults:,} were {kind}")
