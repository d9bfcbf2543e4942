"""The helper of the key-value store's tests: what it decodes, and whom it runs commands for."""

from __future__ import annotations

import numpy as np
import pytest

from kv_session import Push, Refused, Session, decode, decode_all, decode_at


def test_every_kind_of_reply() -> None:
    stream = b"+OK\r\n-ERR no\r\n:-3\r\n$2\r\nab\r\n$-1\r\n*-1\r\n*2\r\n:1\r\n*0\r\n"
    assert decode_all(stream) == ["OK", Refused("ERR no"), -3, b"ab", None, None, [1, []]]
    stream = b"%1\r\n+a\r\n,1.5\r\n~2\r\n:1\r\n:2\r\n_\r\n#t\r\n(12\r\n=6\r\ntxt:ab\r\n>1\r\n:1\r\n"
    assert decode_all(stream) == [{"a": 1.5}, {1, 2}, None, True, 12, b"ab", Push([1])]
    for size in range(1, len(b"*2\r\n:1\r\n$2\r\nab\r\n")):
        with pytest.raises(IndexError):
            decode_at(b"*2\r\n:1\r\n$2\r\nab\r\n"[:size], 0)


def test_commands_of_several_clients() -> None:
    session = Session(clients=2)
    assert session("SET", "k", 1) == "OK"
    assert session("GET", b"k", client=1) == b"1"
    assert isinstance(session("GET"), Refused)
    session.store.out.say(1, b":1\r\n")
    session.store.out.say_to_all(np.array([0, 1], np.int32), b":2\r\n")
    assert (session.heard(0), session.heard(1), session.heard(1)) == ([2], [1, 2], [])
    assert decode(b":1\r\n") == 1
