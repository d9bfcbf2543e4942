"""The quick forms of common commands on sets and sorted sets: see `quick`. Pure."""

from __future__ import annotations

from c1m.kv.database import Database
from c1m.kv.errors import CommandError
from c1m.kv.members import Members
from c1m.kv.quick import Replies, aggregates, form, wrote
from c1m.kv.scores import score_of
from c1m.kv.sorted_set import SortedSet
from c1m.protocols.resp.batch import Column
from c1m.protocols.resp.replies import EMPTY, NULLS, array, bulk, double

_NO, _YES = b":0\r\n", b":1\r\n"


def _are_missing(db: Database, keys: Column) -> bool:
    return db.data.keys().isdisjoint(keys)


@form("sadd", 2)
def sadd(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One member each, into sets that are there."""
    keys, names = columns
    if not aggregates(db, keys, Members):
        return None
    data, replies, changed = db.data, [], []
    for key, name in zip(keys, names, strict=True):
        members = data[key]
        if name in members:
            replies.append(_NO)
        else:
            members.put((name,))
            changed.append(key)
            replies.append(_YES)
    wrote(db, changed, b"sadd", "s")
    return replies


@form("sismember", 2)
def sismember(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One member each, of sets that are there."""
    keys, names = columns
    if not aggregates(db, keys, Members):
        return None
    data = db.data
    return [_YES if name in data[key] else _NO for key, name in zip(keys, names, strict=True)]


@form("spop", 1)
def spop(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One member each, from sets that hold more than are taken, or from none."""
    keys, data = columns[0], db.data
    if _are_missing(db, keys):
        return [NULLS[protocol]] * len(keys)
    if not aggregates(db, keys, Members):
        return None
    if min(len(data[key]) for key in set(keys)) <= len(keys):
        return None
    popped = [data[key].pop_random() for key in keys]
    wrote(db, keys, b"spop", "s")
    return list(map(bulk, popped))


@form("zadd", 3)
def zadd(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One member each, into sorted sets that are there."""
    keys, texts, names = columns
    if not aggregates(db, keys, SortedSet):
        return None
    try:
        scores = {text: score_of(text) for text in set(texts)}
    except CommandError:
        return None
    data, replies, changed = db.data, [], []
    for key, text, name in zip(keys, texts, names, strict=True):
        members, score = data[key], scores[text]
        old = members.scores.get(name)
        if score != old:
            members.put(name, score)
            changed.append(key)
        replies.append(_YES if old is None else _NO)
    wrote(db, changed, b"zadd", "z")
    return replies


@form("zscore", 2)
def zscore(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One member each, of sorted sets that are there."""
    keys, names = columns
    if not aggregates(db, keys, SortedSet):
        return None
    found = [db.data[key].scores.get(name) for key, name in zip(keys, names, strict=True)]
    nil = NULLS[protocol]
    return [nil if score is None else double(score, protocol) for score in found]


@form("zpopmin", 1)
def zpopmin(db: Database, protocol: int, columns: list[Column]) -> Replies | None:
    """One member each, all from one sorted set that holds more than are taken, or from none."""
    keys = columns[0]
    count = len(keys)
    if _are_missing(db, keys):
        return [EMPTY] * count
    if keys.count(keys[0]) != count or not aggregates(db, keys[:1], SortedSet):
        return None
    found: SortedSet = db.data[keys[0]]
    if len(found) <= count:
        return None
    popped = [(member, found.scores[member]) for member in found.members(0, count)]
    found.remove_range(0, count)
    wrote(db, keys, b"zpopmin", "z")
    return [array((bulk(member), double(score, protocol))) for member, score in popped]
