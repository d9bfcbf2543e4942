"""Commands on one sorted set: adding, removing, scores and ranks. Ranges: `sorted_sets_ranges`."""

from __future__ import annotations

import math
import random

from c1m.kv.arguments import INT64_MAX, integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.database import Database
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.object_info import is_compact
from c1m.kv.scan import EMPTY_SCAN, cursor_of, scan_options, scan_reply, scan_step
from c1m.kv.scores import score_of
from c1m.kv.sets import NOT_POSITIVE, ONE, ZERO, random_count
from c1m.kv.sorted_set import SortedSet
from c1m.protocols.resp.replies import EMPTY, NULLS, array, bulk, double
from c1m.protocols.resp.replies import integer as number

NAN = b"ERR resulting score is not a number (NaN)"
NX_AND_XX = b"ERR XX and NX options at the same time are not compatible"
GT_AND_LT = b"ERR GT, LT, and/or NX options at the same time are not compatible"
ONE_PAIR = b"ERR INCR option supports a single increment-element pair"
TOO_MANY = b"ERR value is out of range"

_FLAGS = {b"nx", b"xx", b"gt", b"lt", b"ch", b"incr"}


def entries(client: Client, members: list[bytes], scores: dict[bytes, float]) -> list[bytes]:
    """Members with their scores, encoded: in RESP3 each a pair, in RESP2 in turn."""
    protocol = client.protocol
    if protocol == 3:
        return [array([bulk(member), double(scores[member], 3)]) for member in members]
    return [reply for m in members for reply in (bulk(m), double(scores[m], 2))]


def has_lost(db: Database, key: bytes, members: SortedSet, event: bytes) -> None:
    """Members were removed; an empty sorted set goes."""
    db.changed(key, event, "z")
    if not members.scores:
        db.remove(key)
        db.changed(key, b"del", "g")


@command("zadd", -4, "write denyoom fast", (1, 1, 1))
def zadd(client: Client, args: Args) -> bytes:
    """Add members to a sorted set, or give them other scores."""
    if len(args) == 4 and args[2].lower() not in _FLAGS:
        return _add_one(client, args[1], args[2], args[3])
    at = 2
    while at < len(args) and args[at].lower() in _FLAGS:
        at += 1
    flags = {flag.lower() for flag in args[2:at]}
    texts, members = args[at::2], args[at + 1 :: 2]
    if not texts or len(texts) != len(members):
        raise CommandError(SYNTAX)
    if flags:
        if {b"nx", b"xx"} <= flags:
            raise CommandError(NX_AND_XX)
        if len(flags & {b"nx", b"gt", b"lt"}) > 1:
            raise CommandError(GT_AND_LT)
        if b"incr" in flags and len(texts) > 1:
            raise CommandError(ONE_PAIR)
    if b"incr" in flags:
        return _increase(client, args[1], members[0], score_of(texts[0]), flags)
    return _add(client, args[1], texts, members, flags)


def _add_one(client: Client, key: bytes, text: bytes, member: bytes) -> bytes:
    db, score = client.db, score_of(text)
    found = db.find_of(key, SortedSet)
    if found is None:
        found = SortedSet()
        db.put(key, found)
    old = found.scores.get(member)
    if score != old:
        found.put(member, score)
        db.changed(key, b"zadd", "z")
    return ZERO if old is not None else ONE


def _add(client: Client, key: bytes, texts: Args, members: Args, flags: set[bytes]) -> bytes:
    scores = [score_of(text) for text in texts]
    db = client.db
    found = db.find_of(key, SortedSet)
    if found is None:
        if b"xx" in flags:
            return ZERO
        found = SortedSet()
        db.put(key, found)
    known = found.scores
    before, changed = len(known), 0
    for member, score in zip(members, scores, strict=True):
        old = known.get(member)
        if score != old and not (flags and _is_left_out(flags, old, score)):
            found.put(member, score)
            changed += 1
    if changed:
        db.changed(key, b"zadd", "z")
    return number(changed if b"ch" in flags else len(known) - before)


def _is_left_out(flags: set[bytes], old: float | None, score: float) -> bool:
    """The options say that this member does not get this score."""
    if old is None:
        return b"xx" in flags
    return b"nx" in flags or (b"gt" in flags and score <= old) or (b"lt" in flags and score >= old)


def _increase(client: Client, key: bytes, member: bytes, step: float, flags: set[bytes]) -> bytes:
    db = client.db
    members = db.find_of(key, SortedSet)
    old = None if members is None else members.scores.get(member)
    score = step if old is None else old + step
    if b"nx" in flags and old is not None:
        return NULLS[client.protocol]
    if math.isnan(score):
        raise CommandError(NAN)
    if _is_left_out(flags, old, score):
        return NULLS[client.protocol]
    if members is None:
        members = SortedSet()
        db.put(key, members)
    if score != old:
        members.put(member, score)
        db.changed(key, b"zincr", "z")
    return double(score, client.protocol)


@command("zincrby", 4, "write denyoom fast", (1, 1, 1))
def zincrby(client: Client, args: Args) -> bytes:
    """Add to a member's score."""
    if args[2].lower() in _FLAGS:  # Redis reads it as ZADD's
        raise CommandError(SYNTAX)
    return _increase(client, args[1], args[3], score_of(args[2]), set())


@command("zrem", -3, "write fast", (1, 1, 1))
def zrem(client: Client, args: Args) -> bytes:
    """Remove members from a sorted set."""
    members = client.db.find_of(args[1], SortedSet)
    if members is None:
        return ZERO
    count = sum([members.remove(member) for member in args[2:]])
    if count:
        has_lost(client.db, args[1], members, b"zrem")
    return number(count)


@command("zscore", 3, "readonly fast", (1, 1, 1))
def zscore(client: Client, args: Args) -> bytes:
    """The score of a member."""
    members = client.db.find_of(args[1], SortedSet)
    score = None if members is None else members.scores.get(args[2])
    return NULLS[client.protocol] if score is None else double(score, client.protocol)


@command("zmscore", -3, "readonly fast", (1, 1, 1))
def zmscore(client: Client, args: Args) -> bytes:
    """The scores of members."""
    members = client.db.find_of(args[1], SortedSet)
    scores = {} if members is None else members.scores
    null, protocol = NULLS[client.protocol], client.protocol
    return array([double(scores[m], protocol) if m in scores else null for m in args[2:]])


@command("zcard", 2, "readonly fast", (1, 1, 1))
def zcard(client: Client, args: Args) -> bytes:
    """How many members a sorted set has."""
    return number(len(client.db.find_of(args[1], SortedSet) or ()))


@command("zrank", 3, "readonly fast", (1, 1, 1))
def zrank(client: Client, args: Args) -> bytes:
    """How many members stand before a member."""
    members = client.db.find_of(args[1], SortedSet)
    if members is None or args[2] not in members.scores:
        return NULLS[client.protocol]
    return number(members.rank(args[2]))


@command("zrevrank", 3, "readonly fast", (1, 1, 1))
def zrevrank(client: Client, args: Args) -> bytes:
    """How many members stand behind a member."""
    members = client.db.find_of(args[1], SortedSet)
    if members is None or args[2] not in members.scores:
        return NULLS[client.protocol]
    return number(len(members) - 1 - members.rank(args[2]))


def pop(db: Database, key: bytes, count: int, *, highest: bool) -> list[tuple[bytes, float]]:
    """Remove up to so many members from one end of a sorted set that is there, outermost first."""
    members: SortedSet = db.data[key]
    if count == 1:
        pairs = [members.pop(highest=highest)]
    else:
        size = len(members)
        count = min(count, size)
        start, stop = (size - count, size) if highest else (0, count)
        pairs = [(member, members.scores[member]) for member in members.members(start, stop)]
        if highest:
            pairs.reverse()
        members.remove_range(start, stop)
    has_lost(db, key, members, b"zpopmax" if highest else b"zpopmin")
    return pairs


@command("zpopmin", -2, "write fast", (1, 1, 1))
def zpopmin(client: Client, args: Args) -> bytes:
    """Remove the members of the lowest scores, and return them."""
    return _pop(client, args, highest=False)


@command("zpopmax", -2, "write fast", (1, 1, 1))
def zpopmax(client: Client, args: Args) -> bytes:
    """Remove the members of the highest scores, and return them."""
    return _pop(client, args, highest=True)


def _pop(client: Client, args: Args, *, highest: bool) -> bytes:
    count = 1
    if len(args) > 2:
        if len(args) > 3:
            raise CommandError(SYNTAX)
        count = integer(args[2], NOT_POSITIVE)
        if count < 0:
            raise CommandError(NOT_POSITIVE)
    members = client.db.find_of(args[1], SortedSet)
    if members is None or not count:
        return EMPTY
    protocol = client.protocol
    pairs = pop(client.db, args[1], count, highest=highest)
    replies = [reply for m, score in pairs for reply in (bulk(m), double(score, protocol))]
    if protocol == 3 and len(args) > 2:
        return array([array(replies[at : at + 2]) for at in range(0, len(replies), 2)])
    return array(replies)


@command("zrandmember", -2, "readonly", (1, 1, 1))
def zrandmember(client: Client, args: Args) -> bytes:
    """Random members: so many different ones, or with a negative count any so many."""
    if len(args) == 2:
        members = client.db.find_of(args[1], SortedSet)
        if members is None:
            return NULLS[client.protocol]
        at = random.randrange(len(members))
        return bulk(members.members(at, at + 1)[0])
    count = random_count(args[2])
    with_scores = len(args) == 4 and args[3].lower() == b"withscores"
    if len(args) > 3 and not with_scores:
        raise CommandError(SYNTAX)
    if with_scores and not -(INT64_MAX // 2) <= count <= INT64_MAX // 2:
        raise CommandError(TOO_MANY)
    members = client.db.find_of(args[1], SortedSet)
    if members is None or not count:
        return EMPTY
    size = len(members)
    if count >= size:
        drawn = members.members()
    else:
        ranks = random.sample(range(size), count) if count > 0 else None
        ranks = ranks or random.choices(range(size), k=-count)
        drawn = [members.members(at, at + 1)[0] for at in ranks]
    return array(entries(client, drawn, members.scores) if with_scores else list(map(bulk, drawn)))


@command("zscan", -3, "readonly", (1, 1, 1))
def zscan(client: Client, args: Args) -> bytes:
    """Go through a sorted set's members and their scores, some at a time."""
    cursor = cursor_of(args[2])
    members = client.db.find_of(args[1], SortedSet)
    if members is None:
        return EMPTY_SCAN
    options = scan_options(args, 3)
    scores = members.scores
    is_small = is_compact(client.store, members)
    # A small one is returned in order, as Redis does.
    container = dict.fromkeys(members.members()) if is_small else scores
    following, found = scan_step(
        client, args[1], cursor, options, container, len(scores) if is_small else 0
    )
    shown = _compact if is_small else _plain
    return scan_reply(following, [r for m in found for r in (bulk(m), bulk(shown(scores[m])))])


def _plain(score: float) -> bytes:
    return b"%.17g" % score


def _compact(score: float) -> bytes:
    """As Redis keeps it in a listpack: integers with all their digits."""
    return b"%d" % score if abs(score) <= 1 << 62 and score.is_integer() else _plain(score)
