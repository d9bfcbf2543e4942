"""Plays a sequence to both servers, in the same order, and compares what they say."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from .replies import AGGREGATES, Reply, Said, is_same, parse, shown
from .sequences import DEFAULTS, Unit
from .servers import ARRIVAL_S, Connection, Unanswered, encoded

Args = tuple[bytes, ...]

NOT_QUEUED = {b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"RESET", b"QUIT"}
SUBSCRIBING = {b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE",
               b"SUNSUBSCRIBE"}  # fmt: skip
PONG = b"*2\r\n$4\r\npong\r\n"  # what is before the mark where RESP2 subscribes
NONE: Reply = ("_", b"")


@dataclass(frozen=True)
class Difference:
    """What the servers said differently; `after` counts the units up to it."""

    after: int
    connection: int
    command: Args
    theirs: str
    ours: str

    def kind(self) -> str:
        """What is the same for all differences that have probably one cause."""
        if self.theirs.startswith("connection "):
            return "what others hear"
        errors = [
            said[:24] if said.startswith("-") else said[:1] for said in (self.theirs, self.ours)
        ]
        return " ".join([self.command[0].decode("latin-1").upper(), *errors])


@dataclass
class Pair:
    """One connection to each server, and what is known of it without looking at replies."""

    theirs: Connection
    ours: Connection
    queue: list[Args] | None = None  # MULTI was said
    is_blocked: bool = False
    is_told: bool = False  # it subscribed: something may come at any time
    last: Args = (b"",)

    def close(self) -> None:
        """Both end."""
        self.theirs.close()
        self.ours.close()

    def follow(self, args: Args) -> list[Args] | None:
        """Note what a command changes; for an EXEC the commands that it runs."""
        name = args[0].upper()
        self.is_told = self.is_told or name in SUBSCRIBING
        if name in (b"EXEC", b"DISCARD", b"RESET") and len(args) == 1:
            queue, self.queue = self.queue, None
            return queue if name == b"EXEC" else None
        if self.queue is not None:
            if name not in NOT_QUEUED:
                self.queue.append(args)
        elif name == b"MULTI" and len(args) == 1:
            self.queue = []
        return None


@dataclass
class Player:
    """Two servers that are asked the same."""

    their_path: Path
    our_path: Path
    commands: int = 0  # that were compared
    _pairs: dict[int, Pair] = field(default_factory=dict)
    _marks: int = 0

    def __post_init__(self) -> None:
        self._control = self.pair()

    def pair(self) -> Pair:
        """A new connection to each."""
        return Pair(Connection(self.their_path), Connection(self.our_path))

    def close(self) -> None:
        """No more is asked."""
        self._control.close()

    def play(self, units: Sequence[Unit]) -> Difference | None:
        """The first difference; None where there is none."""
        for side in (self._control.theirs, self._control.ours):
            settings = " ".join(f"{name} {value}" for name, value in DEFAULTS.items())
            side.ask(b"CONFIG", b"SET", b"notify-keyspace-events", b"", *settings.encode().split())
            side.ask(b"FLUSHALL")
        after = 0
        try:
            for group in _groups(units):
                after += len(group)
                pair = self._pairs.get(group[0].connection)
                if pair is None:
                    pair = self._pairs[group[0].connection] = self.pair()
                try:
                    self._group(pair, group, after)
                except Unanswered as why:
                    last = group[-1]
                    return Difference(after, last.connection, last.commands[-1], "", str(why))
        except _Found as found:
            return found.difference
        finally:
            for pair in self._pairs.values():
                pair.close()
            self._pairs.clear()
            self.settle()
        return None

    def _group(self, pair: Pair, group: Sequence[Unit], after: int) -> None:
        if pair.is_blocked:
            return
        self.commands += sum(len(unit.commands) for unit in group)
        kind = group[0].kind
        if kind == "scan" and pair.queue is None:
            self._scan(pair, group[0], after)
            return
        commands = [command for unit in group for command in unit.commands]
        runs = [pair.follow(command) for command in commands]
        pair.last = commands[-1]
        is_open = pair.queue is not None or kind == "block"  # there is no mark to wait for
        self._marks += 1
        mark = b"!%d!" % self._marks
        data = encoded(commands if is_open else [*commands, (b"PING", mark)])
        pair.theirs.send(data)
        pair.ours.send(data)
        said: tuple[bytes, bytes]
        if is_open:
            self.settle()
            said = self._arrived(pair)
            pair.is_blocked = kind == "block" and pair.queue is None and not any(said)
        else:
            end = b"$%d\r\n%b\r\n" % (len(mark), mark)
            theirs, ours = pair.theirs.until(end), pair.ours.until(end)
            said = theirs.removesuffix(PONG), ours.removesuffix(PONG)
        where = (after, group[0].connection)
        if said[0] != said[1]:
            self._compare(commands, runs, said, where)
        self._hear_others(pair, where, commands[-1])

    def settle(self) -> None:
        """All that was sent before this has been carried out, and its replies are on their way."""
        for side in (self._control.theirs, self._control.ours):
            side.ask(b"PING")
            side.ask(b"PING")

    def _arrived(self, pair: Pair) -> tuple[bytes, bytes]:
        """What came from both; they get some time to say the same."""
        theirs, ours = pair.theirs.now(), pair.ours.now()
        deadline = time.monotonic() + ARRIVAL_S
        while theirs != ours and time.monotonic() < deadline:
            time.sleep(0.002)
            theirs, ours = theirs + pair.theirs.now(), ours + pair.ours.now()
        return theirs, ours

    def _hear_others(self, speaker: Pair, where: tuple[int, int], command: Args) -> None:
        others = [(n, p) for n, p in self._pairs.items() if p.is_blocked or p.is_told]
        if not others:
            return
        self.settle()
        for number, pair in others:
            if pair is speaker:
                continue
            theirs, ours = self._arrived(pair)
            if theirs != ours and not _are_shuffled(theirs, ours):
                what = f"connection {number}, which said {text(pair.last)}, heard "
                said = what + _all(theirs), what + _all(ours)
                raise _Found(Difference(*where, command, *said))
            if pair.is_blocked and any(reply[0] != ">" for reply in parse(ours)):
                pair.is_blocked = False

    def _compare(
        self,
        commands: Sequence[Args],
        runs: Sequence[list[Args] | None],
        said: tuple[bytes, bytes],
        where: tuple[int, int],
    ) -> None:
        theirs, ours = ([r for r in parse(s) if r[0] != ">"] for s in said)
        pushes = [[r for r in parse(s) if r[0] == ">"] for s in said]
        if pushes[0] != pushes[1] or len(theirs) != len(ours) or len(ours) != len(commands):
            raise _Found(Difference(*where, commands[-1], _all(said[0]), _all(said[1])))
        before = NONE, NONE
        for args, run, their, our in zip(commands, runs, theirs, ours, strict=True):
            if not _is_same(args, run, (their, our), before):
                raise _Found(Difference(*where, args, shown(their), shown(our)))
            before = their, our

    def _scan(self, pair: Pair, unit: Unit, after: int) -> None:
        """A whole iteration on each server, and what it found."""
        command = unit.commands[0]
        theirs, ours = (_iterated(side, command) for side in (pair.theirs, pair.ours))
        if theirs != ours:
            said = [sorted(found) if isinstance(found, set) else found for found in (theirs, ours)]
            raise _Found(Difference(after, unit.connection, command, *map(str, said)))


class _Found(Exception):
    def __init__(self, difference: Difference) -> None:
        super().__init__(difference)
        self.difference = difference


def _groups(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Runs of one connection. Those that do not answer at once are alone, and MULTI begins one."""
    starts = 0

    def key(unit: Unit) -> tuple[int, int]:
        nonlocal starts
        starts += unit.kind != "run" or unit.commands[0][0].upper() == b"MULTI"
        return (unit.connection, starts)

    for _, run in groupby(units, key):
        units_of_run = list(run)
        alone = units_of_run[0].kind != "run"
        if alone:
            yield units_of_run[:1]
            units_of_run = units_of_run[1:]
        for at in range(0, len(units_of_run), 40):
            yield units_of_run[at : at + 40]


def _is_same(
    args: Args,
    run: list[Args] | None,
    said: tuple[Reply, Reply],
    before: tuple[Reply, Reply],
) -> bool:
    their, our = said
    if run is None or their[0] != "*" or our[0] != "*" or None in (their[1], our[1]):
        return is_same(Said(args, our, their, before[1], before[0]))
    if not len(run) == len(their[1]) == len(our[1]):
        return their == our
    before = NONE, NONE
    for queued, their_part, our_part in zip(run, their[1], our[1], strict=True):
        if not is_same(Said(queued, our_part, their_part, before[1], before[0])):
            return False
        before = their_part, our_part
    return True


def _iterated(side: Connection, command: Args) -> set[str] | str:
    """What a SCAN or one of its likes finds; its error."""
    at = 1 if command[0].upper() == b"SCAN" else 2
    cursor, found = b"0", set()
    step = 2 if command[0] in (b"HSCAN", b"ZSCAN") else 1
    for _ in range(10_000):
        reply = parse(side.ask(*command[:at], cursor, *command[at:]))[0]
        if reply[0] not in AGGREGATES:
            return shown(reply)
        cursor, parts = reply[1][0][1], reply[1][1][1]
        found |= {str(parts[i : i + step]) for i in range(0, len(parts), step)}
        if cursor == b"0":
            return found
    return "an iteration without an end"


def _texts(stream: bytes) -> list[str]:
    return [shown(reply) for reply in parse(stream)]


def _all(stream: bytes) -> str:
    return " ".join(_texts(stream)) or "nothing"


def _are_shuffled(theirs: bytes, ours: bytes) -> bool:
    """The same messages by several patterns: Redis keeps no order among these."""
    return b"pmessage" in theirs and sorted(_texts(theirs)) == sorted(_texts(ours))


def text(args: Args) -> str:
    """A command on one line."""
    return " ".join(repr(arg)[2:-1] if arg else "''" for arg in args)
