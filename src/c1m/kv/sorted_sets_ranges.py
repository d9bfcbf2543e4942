"""Commands on ranges of a sorted set: by rank, by score, by bytes.

Whatever the range is of, it becomes one of ranks (`kv/scores.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.scores import lex_bound, ranks_by_index, ranks_by_lex, ranks_by_score, score_bound
from c1m.kv.sets import ZERO
from c1m.kv.sorted_set import LISTPACK_MAX, LISTPACK_VALUE_MAX, SortedSet
from c1m.kv.sorted_sets import entries, has_lost
from c1m.protocols.resp.replies import EMPTY, array, bulks
from c1m.protocols.resp.replies import integer as number

LIMIT_ALONE = (
    b"ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
)
LEX_SCORES = b"ERR syntax error, WITHSCORES not supported in combination with BYLEX"


@dataclass(slots=True)
class Range:
    """What a command of the ZRANGE family asks for. `by`: rank, score or lex; "": not said."""

    by: str = ""
    reverse: bool | None = None  # None: not said
    with_scores: bool = False
    offset: int = 0
    limit: int = -1  # negative: all
    is_limited: bool = False

    def read(self, args: Args, at: int, *, is_stored: bool = False) -> None:
        """The options from args[at] on. Raises CommandError."""
        while at < len(args):
            word = args[at].lower()
            if word == b"withscores" and not is_stored:
                self.with_scores = True
            elif word == b"limit" and at + 2 < len(args):
                self.offset, self.limit = integer(args[at + 1]), integer(args[at + 2])
                self.is_limited = True
                at += 2
            elif word == b"rev" and self.reverse is None:
                self.reverse = True
            elif word in (b"byscore", b"bylex") and not self.by:
                self.by = word[2:].decode()
            else:
                raise CommandError(SYNTAX)
            at += 1
        # Redis takes a limit of -1 for none, wherever it begins.
        if self.is_limited and self.limit != -1 and self.by in ("", "rank"):
            raise CommandError(LIMIT_ALONE)
        if self.with_scores and self.by == "lex":
            raise CommandError(LEX_SCORES)

    def find(self, client: Client, key: bytes, first: bytes, last: bytes) -> Found:
        """The sorted set of a key and its members in this range, in the order asked for."""
        low, high = (last, first) if self.reverse and self.by in ("score", "lex") else (first, last)
        if self.by == "score":
            scores = score_bound(low), score_bound(high)
        elif self.by == "lex":
            texts = lex_bound(low), lex_bound(high)
        else:
            indices = integer(low), integer(high)
        found = client.db.find_of(key, SortedSet)
        if found is None:
            return None, []
        if self.by == "score":
            start, stop = ranks_by_score(found, *scores)
        elif self.by == "lex":
            start, stop = ranks_by_lex(
                found, *texts, reverse=bool(self.reverse), skip=max(self.offset, 0)
            )
        else:
            start, stop = ranks_by_index(len(found), *indices)
            if self.reverse:
                start, stop = len(found) - stop, len(found) - start
            return found, self._members(found, start, stop)
        if self.is_limited:
            if self.offset < 0:
                return found, []
            count = stop - start if self.limit < 0 else self.limit
            if self.reverse:
                stop -= self.offset
                start = max(start, stop - count)
            else:
                start += self.offset
                stop = min(stop, start + count)
        return found, self._members(found, start, stop)

    def _members(self, found: SortedSet, start: int, stop: int) -> list[bytes]:
        members = found.members(start, stop)
        if self.reverse:
            members.reverse()
        return members


Found = tuple[SortedSet | None, list[bytes]]


def _range(client: Client, args: Args, asked: Range) -> bytes:
    asked.read(args, 4)
    found, members = asked.find(client, args[1], args[2], args[3])
    if not members or found is None:
        return EMPTY
    if asked.with_scores:
        return array(entries(client, members, found.scores))
    return bulks(members)


@command("zrange", -4, "readonly", (1, 1, 1))
def zrange(client: Client, args: Args) -> bytes:
    """The members of a range of ranks, scores or bytes."""
    return _range(client, args, Range())


@command("zrevrange", -4, "readonly", (1, 1, 1))
def zrevrange(client: Client, args: Args) -> bytes:
    """The members of a range of ranks, counted from the end."""
    return _range(client, args, Range("rank", reverse=True))


@command("zrangebyscore", -4, "readonly", (1, 1, 1))
def zrangebyscore(client: Client, args: Args) -> bytes:
    """The members of a range of scores."""
    return _range(client, args, Range("score", reverse=False))


@command("zrevrangebyscore", -4, "readonly", (1, 1, 1))
def zrevrangebyscore(client: Client, args: Args) -> bytes:
    """The members of a range of scores, the highest first."""
    return _range(client, args, Range("score", reverse=True))


@command("zrangebylex", -4, "readonly", (1, 1, 1))
def zrangebylex(client: Client, args: Args) -> bytes:
    """The members of a range of bytes, where all have one score."""
    return _range(client, args, Range("lex", reverse=False))


@command("zrevrangebylex", -4, "readonly", (1, 1, 1))
def zrevrangebylex(client: Client, args: Args) -> bytes:
    """The members of a range of bytes, the last first, where all have one score."""
    return _range(client, args, Range("lex", reverse=True))


@command("zrangestore", -5, "write denyoom", (1, 2, 1))
def zrangestore(client: Client, args: Args) -> bytes:
    """Store the members of a range of ranks, scores or bytes."""
    asked = Range()
    asked.read(args, 5, is_stored=True)
    found, members = asked.find(client, args[2], args[3], args[4])
    scores = {} if found is None else {member: found.scores[member] for member in members}
    return store(client, args[1], scores, b"zrangestore")


def store(client: Client, key: bytes, scores: dict[bytes, float], event: bytes) -> bytes:
    """Put a sorted set of these members in place of what a key had; none: the key is removed."""
    db = client.db
    if scores:
        if len(scores) <= LISTPACK_MAX and max(map(len, scores)) <= LISTPACK_VALUE_MAX:
            scores = {member: score + 0.0 for member, score in scores.items()}  # knows no -0.0
        db.put(key, SortedSet(scores))
        db.changed(key, event, "z")
    elif db.find(key) is not None:
        db.remove(key)
        db.changed(key, b"del", "g")
    return number(len(scores))


# --- counting and removing ------------------------------------------------------------------------


@command("zcount", 4, "readonly fast", (1, 1, 1))
def zcount(client: Client, args: Args) -> bytes:
    """How many members a range of scores has."""
    low, high = score_bound(args[2]), score_bound(args[3])
    members = client.db.find_of(args[1], SortedSet)
    if members is None:
        return ZERO
    start, stop = ranks_by_score(members, low, high)
    return number(stop - start)


@command("zlexcount", 4, "readonly fast", (1, 1, 1))
def zlexcount(client: Client, args: Args) -> bytes:
    """How many members a range of bytes has, where all have one score."""
    low, high = lex_bound(args[2]), lex_bound(args[3])
    members = client.db.find_of(args[1], SortedSet)
    if members is None:
        return ZERO
    start, stop = ranks_by_lex(members, low, high)
    return number(stop - start)


@command("zremrangebyrank", 4, "write", (1, 1, 1))
def zremrangebyrank(client: Client, args: Args) -> bytes:
    """Remove the members of a range of ranks."""
    first, last = integer(args[2]), integer(args[3])
    members = client.db.find_of(args[1], SortedSet)
    if members is None:
        return ZERO
    ranks = ranks_by_index(len(members), first, last)
    return _remove(client, args[1], members, ranks, b"zremrangebyrank")


@command("zremrangebyscore", 4, "write", (1, 1, 1))
def zremrangebyscore(client: Client, args: Args) -> bytes:
    """Remove the members of a range of scores."""
    low, high = score_bound(args[2]), score_bound(args[3])
    members = client.db.find_of(args[1], SortedSet)
    if members is None:
        return ZERO
    ranks = ranks_by_score(members, low, high)
    return _remove(client, args[1], members, ranks, b"zremrangebyscore")


@command("zremrangebylex", 4, "write", (1, 1, 1))
def zremrangebylex(client: Client, args: Args) -> bytes:
    """Remove the members of a range of bytes, where all have one score."""
    low, high = lex_bound(args[2]), lex_bound(args[3])
    members = client.db.find_of(args[1], SortedSet)
    if members is None:
        return ZERO
    ranks = ranks_by_lex(members, low, high)
    return _remove(client, args[1], members, ranks, b"zremrangebylex")


def _remove(
    client: Client, key: bytes, members: SortedSet, ranks: tuple[int, int], event: bytes
) -> bytes:
    start, stop = ranks
    if start >= stop:
        return ZERO
    members.remove_range(start, stop)
    has_lost(client.db, key, members, event)
    return number(stop - start)
