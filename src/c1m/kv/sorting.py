"""SORT and SORT_RO: the members of a list, set or sorted set in another order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.database import Database
from c1m.kv.errors import SYNTAX, WRONG_TYPE, CommandError
from c1m.kv.members import Members
from c1m.kv.scores import score_of
from c1m.kv.sorted_set import SortedSet
from c1m.protocols.resp.replies import NULLS, array, bulk
from c1m.protocols.resp.replies import integer as number

NOT_A_SCORE = b"ERR One or more scores can't be converted into double"


@dataclass(slots=True)
class SortOptions:
    """What may follow the key."""

    by: bytes | None = None
    is_kept: bool = False  # the order: BY names no key of the members, even if another BY follows
    get: list[bytes] = field(default_factory=list)
    start: int = 0
    count: int = -1  # below 0: all
    descends: bool = False
    is_alpha: bool = False
    target: bytes | None = None


@command("sort", -2, "write denyoom movablekeys", (1, 1, 1))
def sort(client: Client, args: Args) -> bytes:
    """Sort a list, set or sorted set, by the members or by other keys."""
    return _sort(client, args[1], _options(client, args, may_store=True))


@command("sort_ro", -2, "readonly movablekeys", (1, 1, 1))
def sort_ro(client: Client, args: Args) -> bytes:
    """The same as SORT, without STORE."""
    return _sort(client, args[1], _options(client, args, may_store=False))


def _options(client: Client, args: Args, *, may_store: bool) -> SortOptions:
    options = SortOptions()
    words = iter(args[2:])
    try:
        for given in words:
            word = given.lower()
            if word in (b"asc", b"desc"):
                options.descends = word == b"desc"
            elif word == b"alpha":
                options.is_alpha = True
            elif word == b"limit":
                start, count = next(words), next(words)
                options.start, options.count = max(integer(start), 0), integer(count)
            elif word == b"store" and may_store:
                options.target = next(words)
            elif word == b"by":
                options.by = next(words)
                options.is_kept |= b"*" not in options.by
                if not options.is_kept:
                    _only_alone(client, b"BY")
            elif word == b"get":
                options.get.append(next(words))
                _only_alone(client, b"GET")
            else:
                raise CommandError(SYNTAX)
    except StopIteration:
        raise CommandError(SYNTAX) from None
    return options


def _only_alone(client: Client, option: bytes) -> None:
    """Raise CommandError in a cluster, where other keys may be elsewhere."""
    if client.store.cluster is not None:
        raise CommandError(b"ERR %b option of SORT denied in Cluster mode." % option)


def _sort(client: Client, key: bytes, options: SortOptions) -> bytes:
    db = client.db
    members = _in_order(db, key, options)
    end = None if options.count < 0 else options.start + options.count
    members = members[options.start : end]
    found: list[bytes | None] = []
    for member in members:
        found += [_look_up(db, pattern, member) for pattern in options.get] or [member]
    if options.target is None:
        null = NULLS[client.protocol]
        return array([null if each is None else bulk(each) for each in found])
    target = options.target
    if found:
        db.put(target, deque(each or b"" for each in found))
        db.changed(target, b"sortstore", "l")
    elif db.find(target) is not None:
        db.remove(target)
        db.changed(target, b"del", "g")
    return number(len(found))


def _in_order(db: Database, key: bytes, options: SortOptions) -> list[bytes]:
    value = db.find(key)
    if value is None:
        return []
    if not isinstance(value, deque | Members | SortedSet):
        raise CommandError(WRONG_TYPE)
    if isinstance(value, SortedSet):
        value.was_large = True  # Redis converts it for this
    by, is_alpha = options.by, options.is_alpha
    members = value.members() if isinstance(value, SortedSet) else list(value)
    if options.is_kept:
        if not (isinstance(value, Members) and options.target is not None):
            return members[::-1] if options.descends else members
        by, is_alpha = None, True  # a set has no order: what is stored gets one
    weights = members if by is None else [_look_up(db, by, member) for member in members]
    if not is_alpha:
        scores = [_score(text) for text in weights]
        order = sorted(zip(scores, members, strict=True), reverse=options.descends)
        return [member for _, member in order]
    ranks = [(text is not None, text or b"") for text in weights]
    places = sorted(range(len(members)), key=ranks.__getitem__, reverse=options.descends)
    return [members[place] for place in places]


def _score(text: bytes | None) -> float:
    """As C reads it: up to a zero byte, behind blanks; what is not there is 0."""
    said = (text or b"").partition(b"\0")[0]
    return score_of(said.lstrip(), NOT_A_SCORE) if said else 0.0  # blanks alone are refused


def _look_up(db: Database, pattern: bytes, member: bytes) -> bytes | None:
    """What a pattern names: the member itself, a string, or a hash's field behind an arrow."""
    if pattern == b"#":
        return member
    before, star, after = pattern.partition(b"*")
    if not star:
        return None
    name, arrow, wanted = after.partition(b"->")
    if not arrow or not wanted:
        name, wanted = after, b""
    value = db.find(before + member + name)
    if wanted:
        return value.get(wanted) if isinstance(value, dict) else None
    return bytes(value) if isinstance(value, bytes | bytearray) else None
