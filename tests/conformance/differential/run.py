"""The command line of the differential test."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from ..obtaining import CannotBeHad
from .playing import Difference, Player, text
from .sequences import Generator, Unit, shapes
from .servers import Connection, nodes, servers
from .shapes import BLOCKING, SCANNING, SHAPES, SUBSCRIBING, TIMED
from .shrinking import shrunk
from .streams import differing, stream

SEQUENCE_SIZE = 1000  # commands


def main(words: Sequence[str]) -> int:
    """0 where every reply was the same."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance redis-differential")
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", type=int, default=0, help="the sequence to begin with")
    parser.add_argument("--size", type=int, default=SEQUENCE_SIZE, help="commands of a sequence")
    parser.add_argument(
        "--differences", type=int, default=1, help="of different commands: stop then"
    )
    parser.add_argument("--streams", type=int, default=20_000, help="that break the protocol")
    parser.add_argument("--data", action="store_true", help="c1m keeps its data in a directory")
    parser.add_argument("--cluster", action="store_true", help="both are nodes of a cluster")
    parser.add_argument("--engine", default="auto", help="of c1m's server")
    parser.add_argument("--without", action="append", default=[], metavar="COMMAND")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="c1m-differential-") as directory:
        try:
            options = ["--engine", asked.engine]
            if asked.data:
                options += ["--data", str(Path(directory) / "data")]
            started = nodes if asked.cluster else servers
            with started(Path(directory), *options) as paths:
                return _run(asked, *paths)
        except CannotBeHad as why:
            print(f"redis-differential cannot be had here: {why}", file=sys.stderr)
            return 2


def _run(asked: argparse.Namespace, their_path: Path, our_path: Path) -> int:
    missing = missing_commands(our_path)
    if missing:
        print("c1m does not have:", ", ".join(" ".join(head) for head in sorted(missing)))
    missing |= {tuple(name.upper().split()) for name in asked.without}
    generator = Generator(missing, is_cluster=asked.cluster)
    player = Player(their_path, our_path)
    began = told = time.monotonic()
    number = asked.first
    seen: set[str] = set()
    while player.commands < asked.commands and len(seen) < asked.differences:
        units = generator.sequence(f"{asked.seed}/{number}", asked.size)
        difference = player.play(units)
        if difference is not None and difference.kind() not in seen:
            seen.add(difference.kind())
            _tell(player, units, difference, f"--seed {asked.seed} --first {number}")
        number += 1
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{player.commands:,} commands, {len(seen)} differences", file=sys.stderr)
    taken = time.monotonic() - began
    seen |= _streams(player, asked.seed, asked.streams)
    player.close()
    print(
        f"{player.commands:,} commands in {number - asked.first:,} sequences, {taken:.0f} s: ",
        end="",
    )
    print(f"{len(seen)} differences" if seen else "0 differences")
    return int(bool(seen))


def _streams(player: Player, seed: str, count: int) -> set[str]:
    """Streams that break the protocol: those that are not answered the same."""
    draw, found = Random(seed), set[str]()
    for _ in range(count):
        said = stream(draw)
        if difference := differing(player, said, draw.randrange(len(said) + 1)):
            print(f"A stream: {said!r}\n    redis: {difference[0]}\n    c1m:   {difference[1]}")
            found.add(repr(said))
            if len(found) == 10:
                break
    print(f"{count:,} streams: ", end="")
    print(f"{len(found)} differences")
    return found


def _tell(player: Player, units: list[Unit], found: Difference, seed: str) -> None:
    """The difference, in as few commands as show it."""
    counted = player.commands

    def differs(trial: Sequence[Unit]) -> bool:
        other = player.play(trial)
        return other is not None and other.kind() == found.kind()

    left = shrunk(units[: found.after], differs)
    again = player.play(left)
    player.commands = counted
    if again is None:
        print(f"Seen once, not when it was played again ({seed}):")
        left = list(units[max(found.after - 5, 0) : found.after])
    else:
        found = again
        print(f"A difference ({seed}):")
    for unit in left:
        for command in unit.commands:
            print(f"    {unit.connection}> {text(command)}")
    print(
        f"  {text(found.command)}\n    redis: {found.theirs}\n    c1m:   {found.ours}", flush=True
    )


def missing_commands(path: Path) -> set[tuple[str, ...]]:
    """Those that c1m's server does not know."""
    connection = Connection(path)
    texts = [*SHAPES.values(), BLOCKING, TIMED, SUBSCRIBING, SCANNING]
    heads = {head for text in texts for shape in shapes(text) for head in shape.heads()}
    heads |= {("MULTI", "x"), ("PSUBSCRIBE",), ("HELLO",), ("CONFIG", "SET")}
    unknown = set()
    for head in heads:
        if "NOSUCH" in " ".join(head):
            continue
        said = connection.ask(*(word.encode() for word in head))
        if b"unknown command" in said or b"unknown subcommand" in said:
            unknown.add(head[:1] if head == ("MULTI", "x") else head)
    connection.close()
    return unknown
