"""The quick forms of sets' commands against the commands, one by one."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.kv.members import Members
from c1m.kv.quick import FORMS
from kv_session import Session

KEYS = st.sampled_from([b"s", b"t", b"z", b"y", b"text", b"none", b"short"])
MEMBERS = st.integers(0, 9).map(lambda n: b"m%d" % n)
SCORES = st.sampled_from([b"0", b"1", b"-0", b"2.5", b"inf", b"nan", b"nx", b"1e400"])
ROWS = st.lists(st.tuples(KEYS, MEMBERS, SCORES), min_size=1, max_size=8)
NAMES = st.sampled_from(["sadd", "sismember", "spop", "zadd", "zscore", "zpopmin"])


def _session(protocol: int) -> Session:
    session = Session(protocol=protocol)
    for key in ("s", "t"):
        session("SADD", key, *range(10), "m1", "m2")
    for key in ("z", "y"):
        session("ZADD", key, *(word for n in range(10) for word in (n // 3, n)), 5, "m1")
    session("SET", "text", "x")
    session("SADD", "short", "m3")
    session("PEXPIRE", "t", 5)
    session("PEXPIRE", "y", 5)
    return session


@settings(deadline=None)
@given(NAMES, ROWS, st.booleans(), st.booleans(), st.sampled_from([2, 3]))
def test_quick_forms(
    name: str, rows: list[tuple[bytes, bytes, bytes]], one: bool, late: bool, protocol: int
) -> None:
    if one:
        rows = [(rows[0][0], member, score) for _, member, score in rows]
    count, run = FORMS[name.encode()]
    commands = [
        [name.encode(), key, *{1: (), 2: (member,), 3: (score, member)}[count]]
        for key, member, score in rows
    ]
    quick, plain = _session(protocol), _session(protocol)
    if late:
        quick.wait(9)
        plain.wait(9)
    for session in (quick, plain):
        for value in session.store.databases[0].data.values():
            if isinstance(value, Members):
                value.choose()  # the same draws follow
    db = quick.store.databases[0]
    random.seed(1)
    columns = [list(column) for column in zip(*(words[1:] for words in commands), strict=True)]
    replies = run(db, protocol, columns)
    if replies is None:
        assert [session_values(quick), quick.store.changes] == [
            session_values(_later(late, protocol)),
            _later(late, protocol).store.changes,
        ]
        return
    random.seed(1)
    assert replies == [plain.raw(*words) for words in commands]
    assert session_values(quick) == session_values(plain)
    assert quick.store.changes == plain.store.changes


def _later(late: bool, protocol: int) -> Session:
    session = _session(protocol)
    if late:
        session.wait(9)
    return session


def session_values(session: Session) -> dict[bytes, object]:
    """What a session's first database holds, in a form that can be compared."""
    db = session.store.databases[0]
    return {key: getattr(value, "scores", value) for key, value in db.data.items()}
