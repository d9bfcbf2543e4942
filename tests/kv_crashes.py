"""kill -9 under load: what a server confirmed with --durability always is there afterwards.

How it works. A server runs in a process; connections write random commands, several at once, each
on keys of its own, and count the replies. At a random moment the process is killed. Then the data
is read, here. For each connection it must be what its commands make of an empty store, up to one
that is not before the last confirmed one: nothing confirmed is lost, nothing is there in part, and
a transaction is there whole or not at all. The next server goes on with the same data.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from c1m.apps.kv.persistence import Persistence
from c1m.kv.store import Store
from c1m.protocols.resp.replies import command
from kv_kept import comparable
from kv_session import Refused, Session, decode_at, encoded

CONNECTIONS = 6
AT_ONCE = 8  # commands of a connection that are on their way, at most
LOAD_S = 0.4  # of load, at most, before it is killed
START_S = 180
# What lives is written again all the time, so that it happens at that moment, too.
SERVER = """
import sys
from c1m.apps.kv import persistence
from c1m.apps.kv.app import KeyValue
from c1m.serving import serve
if sys.argv[3] == "again":
    persistence.LOG_BYTES, persistence.LOG_TIMES = 20_000, 1
    persistence.SLICE_KEYS, persistence.FORGET_BYTES = 4, 2_000
serve(KeyValue(data=sys.argv[1], durability="always"), sys.argv[2])
"""
Command = list[object]


class Lost(AssertionError):
    """What was confirmed is not there, or what was never said is."""


@dataclass
class Writer:
    """A connection's commands: those whose outcome is known, and those on their way."""

    name: str
    draw: random.Random
    model: Session = field(default_factory=Session)
    sent: list[Command] = field(default_factory=list)  # since the last start
    confirmed: int = 0  # of these
    fault: str = ""

    def load(self, path: str) -> None:
        """Write until the server is gone."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            while True:
                commands = self._some()
                self.sent += commands
                sock.sendall(b"".join(command(*map(encoded, words)) for words in commands))
                self._hear(sock, len(commands))

    def _some(self) -> list[Command]:
        commands = [self._any() for _ in range(self.draw.randrange(1, AT_ONCE))]
        if self.draw.random() < 0.1:
            return [["MULTI"], *commands, ["EXEC"]]
        return commands

    def _any(self) -> Command:
        draw = self.draw
        kind = draw.randrange(6)
        key, member = f"{self.name}:{kind}:{draw.randrange(4)}", f"m{draw.randrange(300)}"
        number = draw.randrange(10_000)
        if draw.random() < 0.03:
            far = 4_000_000_000_000 + number
            return draw.choice([["DEL", key], ["PEXPIREAT", key, far], ["PERSIST", key]])
        choices: list[list[Command]] = [
            [["SET", key, "x" * number], ["INCR", f"{self.name}:counter"], ["GETDEL", key]],
            [
                ["APPEND", key, member],
                ["SETRANGE", key, number, member],
                ["SETBIT", key, number, 1],
            ],
            [["HSET", key, member, number], ["HDEL", key, member], ["HINCRBY", key, "n", 1]],
            [["RPUSH", key, member, number], ["LPOP", key], ["LTRIM", key, 1, 200]],
            [["SADD", key, member, number], ["SREM", key, member]],
            [["ZADD", key, number, member], ["ZINCRBY", key, 1, member], ["ZPOPMIN", key]],
        ]
        return draw.choice(choices[kind])

    def _hear(self, sock: socket.socket, count: int) -> None:
        came, at = b"", 0
        while count:
            piece = sock.recv(1 << 16)
            if not piece:
                raise ConnectionResetError
            came += piece
            with contextlib.suppress(IndexError):
                while count:
                    reply, at = decode_at(came, at)
                    if isinstance(reply, Refused) and reply.startswith("MISCONF"):
                        self.fault = reply
                        return
                    self.confirmed += 1
                    count -= 1

    def check(self, found: dict[bytes, Any]) -> int:
        """What of its keys was found is right; how many commands that were not confirmed it has.

        Raises Lost.
        """
        prefix = f"{self.name}:".encode()
        found = {key: value for key, value in found.items() if key.startswith(prefix)}
        if self.fault:
            raise Lost(f"{self.name}: {self.fault}")
        for words in self.sent[: self.confirmed]:
            self.model(*words)
        at = self.confirmed
        while self._contents() != found:
            if at == len(self.sent):
                raise Lost(self._difference(found))
            self.model(*self.sent[at])
            at += 1
        extra = at - self.confirmed
        self.sent.clear()
        self.confirmed = 0
        self.model("DISCARD")
        return extra

    def _contents(self) -> dict[bytes, Any]:
        db = self.model.store.databases[0]
        return {key: (comparable(v), db.expires.get(key)) for key, v in db.data.items()}

    def _difference(self, found: dict[bytes, Any]) -> str:
        mine = self._contents()
        keys = [key for key in mine.keys() | found.keys() if mine.get(key) != found.get(key)]
        shown = [f"{key!r}: {mine.get(key)!r:.200}, found {found.get(key)!r:.200}" for key in keys]
        return f"{self.name}, {self.confirmed} of {len(self.sent)} confirmed: {shown[:3]}"


class Crashes:
    """Lives of one store in `directory`, each ended by a kill. The same seed, the same commands."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.draw = random.Random(seed)
        self.writers = [
            Writer(f"c{number}", random.Random(f"{seed}/{number}")) for number in range(CONNECTIONS)
        ]
        self.kills = self.confirmed = self.extra = 0

    def life(self) -> None:
        """Start, write, kill, check. Raises Lost, or UsageError for a store that does not open."""
        path = str(self.directory / f"{self.kills}.sock")
        how = self.draw.choice(["again", "as it is"])
        arguments = [str(self.directory / "data"), f"unix://{path}", how]
        server = subprocess.Popen([sys.executable, "-c", SERVER, *arguments])
        threads = [threading.Thread(target=w.load, args=(path,)) for w in self.writers]
        try:
            if self.draw.random() < 0.1:  # it may not even listen yet
                time.sleep(self.draw.random())
            else:
                _wait_for(path, server)
                for thread in threads:
                    thread.start()
                time.sleep(self.draw.random() * LOAD_S)
        finally:
            server.kill()
            server.wait()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        self.kills += 1
        self.check()

    def check(self) -> None:
        """The data opens, and is what was confirmed, or a little more."""
        persistence = Persistence(str(self.directory / "data"))
        store = Store()
        try:
            persistence.load(store)
        finally:
            persistence.release()
        db = store.databases[0]
        found = {key: (comparable(v), db.expires.get(key)) for key, v in db.data.items()}
        for writer in self.writers:
            self.confirmed += writer.confirmed
            self.extra += writer.check(found)


def _wait_for(path: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not os.path.exists(path):
        if server.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("the server has not begun to listen")
        time.sleep(0.01)
