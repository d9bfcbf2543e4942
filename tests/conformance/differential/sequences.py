"""Random sequences of units: which connections there are, whose turn it is, and what they say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from .grammar import ANY_KEY, GARBAGE, KEYS, Maker, Words, compiled, fixed_keys
from .shapes import BLOCKING, CLUSTER, SCANNING, SHAPES, SUBSCRIBING, TIMED

Kind = Literal["run", "block", "timed", "scan"]

CONTAINERS = {"OBJECT", "CLIENT", "MEMORY", "COMMAND", "PUBSUB", "CONFIG"}
# How many of these are kept: or there would be nothing left to look at.
RARE = {
    **dict.fromkeys([b"FLUSHDB", b"SWAPDB", b"RESET"], 0.05),
    **dict.fromkeys([b"DEL", b"UNLINK", b"MOVE", b"SELECT", b"RENAME", b"RENAMENX", b"LTRIM"], 0.2),
    **dict.fromkeys([b"ZRANGESTORE", b"ZREMRANGEBYRANK", b"ZREMRANGEBYSCORE"], 0.3),
    **dict.fromkeys([b"ZREMRANGEBYLEX", b"SDIFFSTORE", b"SINTERSTORE", b"ZINTERSTORE"], 0.3),
    **dict.fromkeys([b"ZDIFFSTORE", b"ZMPOP", b"LMPOP", b"GETDEL", b"CLIENT", b"CONFIG"], 0.3),
    **dict.fromkeys([b"PERSIST", b"EXPIRE", b"PEXPIREAT"], 0.5),
}
# The order of what UNSUBSCRIBE ends is drawn, GETKEYS takes numbers that no command takes, and SORT
# of a set by what is no pattern leaves it in an order of the server's own.
UNSPOILT = ("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "COMMAND GETKEYS", "SORT")
# Settings that sequences change, and what each begins with. Not those of sets and sorted sets: of
# these, c1m remembers under the settings of a start only that they were large once.
DEFAULTS = {"hash-max-listpack-entries": "512", "hash-max-listpack-value": "64"}
TAG = b"{bar}"
_KEYS = {key for keys in KEYS.values() for key in keys}
LISTENER = 9  # the connection that hears of changes to keys


@dataclass(frozen=True)
class Unit:
    """Commands that one connection sends together. `kind` says how their replies come: at once
    (run), perhaps much later (block), when a time is over (timed), as an iteration (scan).
    """

    connection: int
    commands: tuple[tuple[bytes, ...], ...]
    kind: Kind = "run"


@dataclass(frozen=True)
class Shape:
    """A line of `shapes`."""

    text: str
    makers: tuple[Maker, ...]

    def heads(self) -> Iterator[tuple[str, ...]]:
        """The names of its commands, with those of subcommands."""
        for command in self.text.split(" ; "):
            words = command.split()
            yield tuple(words[:2] if words[0] in CONTAINERS else words[:1])

    def may_be_spoilt(self, kind: Kind) -> bool:
        """Whether a wrong argument may do no more than to be refused."""
        return (
            kind == "run"
            and len(self.makers) == 1
            and not self.text.startswith(UNSPOILT)
            and ("{x}" not in self.text)
        )

    def unit(self, draw: Random, connection: int, kind: Kind = "run") -> Unit:
        """One of these."""
        commands: list[Words] = []
        for make in self.makers:
            commands.append([])
            make(draw, commands[-1])
        if "{=" in self.text:
            flat = [word for words in commands for word in words]
            fixed_keys(draw, flat)
            commands = [[flat.pop(0) for _ in words] for words in commands]
        elif self.may_be_spoilt(kind) and draw.random() < 0.04:
            _spoil(draw, commands[0])
        return Unit(connection, tuple(map(tuple, commands)), kind)


def _tagged(draw: Random, units: list[Unit]) -> list[Unit]:
    """The same, with keys that are mostly in one slot; never some only of several commands'."""
    found = []
    for unit in units:
        chance = 1.0 if draw.random() < 0.9 else 0.0
        if not chance and len(unit.commands) == 1:
            chance = 0.7

        def word(given: bytes, chance: float = chance) -> bytes:
            return TAG + given if given in _KEYS and draw.random() < chance else given

        tagged = tuple(tuple(map(word, words)) for words in unit.commands)
        found.append(replace(unit, commands=tagged))
    return found


def _spoil(draw: Random, words: Words) -> None:
    """One argument that is missing, too many, or not what is meant."""
    chance = draw.random()
    if len(words) == 1 or chance < 0.2:
        words.append(draw.choice(GARBAGE))
    elif chance < 0.4:
        del words[draw.randrange(1, len(words))]
    elif chance < 0.6:
        words[draw.randrange(1, len(words))] = draw.choice(ANY_KEY)
    else:
        words[draw.randrange(1, len(words))] = draw.choice(GARBAGE)


def shapes(text: str, missing: Collection[tuple[str, ...]] = ()) -> list[Shape]:
    """The shapes of these lines of whose commands none is missing."""
    found = []
    for line in map(str.strip, text.strip().splitlines()):
        times, line = line[1:].split(" ", 1) if line[0] == "*" else ("1", line)
        shape = Shape(line, tuple(map(compiled, line.split(" ; "))))
        if not set(shape.heads()) & set(missing):
            found += [shape] * int(times)
    return found


class Generator:
    """Makes sequences; `missing` are the names of commands that are left out.

    In a cluster most keys are in the slot of `TAG`, which is the asked node's.
    """

    def __init__(
        self, missing: Collection[tuple[str, ...]] = (), *, is_cluster: bool = False
    ) -> None:
        self._is_cluster = is_cluster
        texts = {**SHAPES, "cluster": CLUSTER} if is_cluster else SHAPES
        groups = {name: shapes(text, missing) for name, text in texts.items()}
        self._groups = {name: found for name, found in groups.items() if found}
        self._blocking = shapes(BLOCKING, missing)
        self._timed = shapes(TIMED, missing)
        self._subscribing = shapes(SUBSCRIBING, missing)
        self._scanning = shapes(SCANNING, missing)
        self._missing = set(missing)

    def sequence(self, seed: str, size: int) -> list[Unit]:
        """About `size` commands."""
        draw = Random(seed)
        made = _Sequence(draw, self._of_groups(draw), draw.randint(1, 4))
        made.begin(
            chooses=("HELLO",) not in self._missing,
            listens=draw.random() < 0.4
            and not self._missing & {("PSUBSCRIBE",), ("CONFIG", "SET")},
        )
        has_turns = draw.random() < 0.5 and made.connections > 1
        made.chance_of_transaction = draw.choice([0, 0, 0.02, 0.1])
        if ("MULTI",) in self._missing:
            made.chance_of_transaction = 0
        while made.count < size:
            connection = draw.randrange(made.connections)
            made.turn(connection, draw.choice([1, 3, 10, 40] if has_turns else [40]))
            if connection and self._blocking and draw.random() < 0.4:
                made.add(draw.choice(self._blocking).unit(draw, connection, "block"))
            if self._timed and draw.random() < 0.01:
                made.add(draw.choice(self._timed).unit(draw, connection, "timed"))
            if self._scanning and draw.random() < 0.1:
                made.add(draw.choice(self._scanning).unit(draw, connection, "scan"))
            if made.connections > 2 and self._subscribing and draw.random() < 0.2:
                made.add(draw.choice(self._subscribing).unit(draw, 5))
        return _tagged(draw, made.units) if self._is_cluster else made.units

    def _of_groups(self, draw: Random) -> list[Shape]:
        """Shapes of one group and some of others, or of all."""
        names = list(self._groups)
        if draw.random() < 0.5:
            first = self._groups[draw.choice(names)]
            others = [s for name in ("keys", "server") for s in self._groups.get(name, [])]
            return first * 6 + others[:: draw.choice([1, 3, 9])]
        return [shape for name in names for shape in self._groups[name]]


class _Sequence:
    """A sequence while it is made."""

    def __init__(self, draw: Random, shapes: Sequence[Shape], connections: int) -> None:
        self.draw = draw
        self.connections = connections
        self.units: list[Unit] = []
        self.count = 0
        self.chance_of_transaction = 0.0
        self._shapes = shapes
        self._in_transaction: set[int] = set()

    def add(self, unit: Unit) -> None:
        self.units.append(unit)
        self.count += len(unit.commands)

    def say(self, connection: int, words: str) -> None:
        self.add(Unit(connection, (tuple(words.encode().split()),)))

    def begin(self, *, chooses: bool, listens: bool) -> None:
        """Protocols are chosen; one connection may hear of every change."""
        for connection in (*range(self.connections), 5, LISTENER):
            if chooses and self.draw.random() < 0.5:
                self.say(connection, "HELLO 3")
        for name in DEFAULTS:
            if chooses and self.draw.random() < 0.1:
                self.say(0, f"CONFIG SET {name} {self.draw.choice([0, 1, 4, 20, 1000])}")
        if listens:
            self.say(0, "CONFIG SET notify-keyspace-events KEA")
            self.say(LISTENER, "PSUBSCRIBE __key*__:*")

    def turn(self, connection: int, size: int) -> None:
        """Some units of one connection."""
        for _ in range(size):
            if self.chance_of_transaction:
                self._step_of_transaction(connection)
            shape = self.draw.choice(self._shapes)
            unit = shape.unit(self.draw, connection)
            if self.draw.random() >= RARE.get(unit.commands[-1][0], 1):
                continue
            self.add(unit)

    def _step_of_transaction(self, connection: int) -> None:
        chance = self.draw.random()
        if connection in self._in_transaction:
            if chance < 0.15:
                self.say(
                    connection, self.draw.choice(["EXEC"] * 6 + ["DISCARD", "WATCH s1", "MULTI"])
                )
                if self.units[-1].commands[0][0] in (b"EXEC", b"DISCARD"):
                    self._in_transaction.discard(connection)
        elif chance < self.chance_of_transaction:
            if self.draw.random() < 0.5:
                keys = b" ".join(self.draw.choices(ANY_KEY, k=self.draw.randint(1, 3))).decode()
                self.say(connection, f"WATCH {keys}")
            if self.draw.random() < 0.1:
                self.say(connection, self.draw.choice(["UNWATCH", "EXEC", "DISCARD", "EXEC x"]))
            if self.draw.random() < 0.8:
                self.say(connection, "MULTI")
                self._in_transaction.add(connection)
