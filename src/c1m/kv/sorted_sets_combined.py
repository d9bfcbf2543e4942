"""Commands on several sorted sets: unions, intersections, differences.

A set takes part as a sorted set whose scores are all 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, WRONG_TYPE, CommandError
from c1m.kv.members import Members
from c1m.kv.scores import score_of
from c1m.kv.sets import card_limit
from c1m.kv.sorted_set import SortedSet
from c1m.kv.sorted_sets import entries
from c1m.kv.sorted_sets_ranges import store
from c1m.protocols.resp.replies import array, bulks
from c1m.protocols.resp.replies import integer as number

NO_KEYS = b"ERR at least 1 input key is needed for '%b' command"
NO_WEIGHT = b"ERR weight value is not a float"

Scores = dict[bytes, float]
Aggregate = Callable[[float, float], float]


def _sum(one: float, other: float) -> float:
    total = one + other
    return 0.0 if math.isnan(total) else total  # inf - inf, as Redis has it


_AGGREGATES: dict[bytes, Aggregate] = {b"sum": _sum, b"min": min, b"max": max}


@dataclass(slots=True)
class Combination:
    """What is to be combined, and how."""

    sources: list[Scores]
    weights: list[float] = field(default_factory=list)  # [] if none were given
    aggregate: Aggregate = _sum
    with_scores: bool = False

    def weighted(self, at: int) -> Scores:
        """The scores of one source, times its weight."""
        scores = self.sources[at]
        if not self.weights or self.weights[at] == 1.0:
            return scores
        weight = self.weights[at]
        return {member: _number(score * weight) for member, score in scores.items()}


def _number(score: float) -> float:
    return 0.0 if math.isnan(score) else score  # NaN: 0 * inf, as Redis has it


def _read(client: Client, args: Args, at: int, *, is_difference: bool = False) -> Combination:
    """The count of keys at args[at], the keys, and the options. Raises CommandError."""
    name = args[0].lower()
    count = integer(args[at])
    if count < 1:
        raise CommandError(NO_KEYS % name)
    end = at + 1 + count
    if end > len(args):
        raise CommandError(SYNTAX)
    asked = Combination([_scores(client, key) for key in args[at + 1 : end]])
    at, is_stored = end, at == 2
    while at < len(args):
        word = args[at].lower()
        if word == b"weights" and not is_difference and at + count < len(args):
            asked.weights = [score_of(text, NO_WEIGHT) for text in args[at + 1 : at + 1 + count]]
            at += count
        elif word == b"aggregate" and not is_difference and at + 1 < len(args):
            if args[at + 1].lower() not in _AGGREGATES:
                raise CommandError(SYNTAX)
            asked.aggregate = _AGGREGATES[args[at + 1].lower()]
            at += 1
        elif word == b"withscores" and not is_stored:
            asked.with_scores = True
        else:
            raise CommandError(SYNTAX)
        at += 1
    if not is_difference:  # Redis adds up from the smallest on, which decides how sums are rounded
        order = sorted(range(count), key=lambda source: len(asked.sources[source]))
        asked.sources = [asked.sources[source] for source in order]
        asked.weights = [asked.weights[source] for source in order] if asked.weights else []
    return asked


def _scores(client: Client, key: bytes) -> Scores:
    value = client.db.find(key)
    if isinstance(value, SortedSet):
        return value.scores
    if isinstance(value, Members):
        return dict.fromkeys(value, 1.0)
    if value is not None:
        raise CommandError(WRONG_TYPE)
    return {}


def _union(asked: Combination) -> Scores:
    total = dict(asked.weighted(0))
    for at in range(1, len(asked.sources)):
        for member, score in asked.weighted(at).items():
            total[member] = asked.aggregate(total[member], score) if member in total else score
    return total


def _intersection(asked: Combination) -> Scores:
    keys = set(asked.sources[0]).intersection(*asked.sources[1:])
    totals = asked.weighted(0)
    totals = {member: totals[member] for member in keys}
    for at in range(1, len(asked.sources)):
        # Here Redis lets 0 * inf be NaN: the sum becomes 0.
        scores, weight = asked.sources[at], asked.weights[at] if asked.weights else 1.0
        for member in keys:
            totals[member] = asked.aggregate(totals[member], scores[member] * weight)
    return totals


def _difference(asked: Combination) -> Scores:
    first, *others = asked.sources
    left = first.keys() - set[bytes]().union(*others) if others else first
    return {member: first[member] for member in left}


def _reply(client: Client, scores: Scores, asked: Combination) -> bytes:
    members = SortedSet(scores).members()
    return array(entries(client, members, scores)) if asked.with_scores else bulks(members)


@command("zunion", -3, "readonly movablekeys", counted_keys=1)
def zunion(client: Client, args: Args) -> bytes:
    """The members that any of the sorted sets has."""
    asked = _read(client, args, 1)
    return _reply(client, _union(asked), asked)


@command("zinter", -3, "readonly movablekeys", counted_keys=1)
def zinter(client: Client, args: Args) -> bytes:
    """The members that all sorted sets have."""
    asked = _read(client, args, 1)
    return _reply(client, _intersection(asked), asked)


@command("zdiff", -3, "readonly movablekeys", counted_keys=1)
def zdiff(client: Client, args: Args) -> bytes:
    """The members of the first sorted set that no other one has."""
    asked = _read(client, args, 1, is_difference=True)
    return _reply(client, _difference(asked), asked)


@command("zunionstore", -4, "write denyoom movablekeys", (1, 1, 1), counted_keys=2)
def zunionstore(client: Client, args: Args) -> bytes:
    """Store the members that any of the sorted sets has."""
    return store(client, args[1], _union(_read(client, args, 2)), b"zunionstore")


@command("zinterstore", -4, "write denyoom movablekeys", (1, 1, 1), counted_keys=2)
def zinterstore(client: Client, args: Args) -> bytes:
    """Store the members that all sorted sets have."""
    return store(client, args[1], _intersection(_read(client, args, 2)), b"zinterstore")


@command("zdiffstore", -4, "write denyoom movablekeys", (1, 1, 1), counted_keys=2)
def zdiffstore(client: Client, args: Args) -> bytes:
    """Store the members of the first sorted set that no other one has."""
    asked = _read(client, args, 2, is_difference=True)
    return store(client, args[1], _difference(asked), b"zdiffstore")


@command("zintercard", -3, "readonly movablekeys", counted_keys=1)
def zintercard(client: Client, args: Args) -> bytes:
    """How many members all sorted sets have, counted up to a limit."""
    count = integer(args[1])
    if count < 1:
        raise CommandError(NO_KEYS % b"zintercard")
    if count + 2 > len(args):
        raise CommandError(SYNTAX)
    smallest, *others = sorted([_scores(client, key) for key in args[2 : count + 2]], key=len)
    limit = card_limit(args, count + 2)
    size = len(set(smallest).intersection(*others))
    return number(min(size, limit) if limit else size)
