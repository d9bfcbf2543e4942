"""Messages out of streams that are cut anywhere, against their slow forms."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.protocols import inbox as inbox_module
from c1m.protocols.framing import delimited, length_prefixed, sized
from c1m.protocols.inbox import Inbox
from c1m.protocols.resp import replies as resp

WORDS = st.lists(st.binary(min_size=1, max_size=9).map(lambda word: word.replace(b"\n", b"")))


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [piece for piece in [*pieces, stream] if piece]


@given(WORDS, st.lists(st.integers(1, 7)), st.integers(1, 12))
def test_lines_come_whole_and_in_order(words: list[bytes], sizes: list[int], long: int) -> None:
    inbox, lines = Inbox(), [word + b"\n" for word in words]
    frame = partial(delimited, end=b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox_module, "LONG_MESSAGE", long)
        pieces = cut(b"".join(lines) + b"rest", sizes)
        came = [line for piece in pieces for line in inbox.messages(5, piece, frame)]
    assert came == lines
    assert len(inbox) == 1 and inbox.peek(5) == inbox.pop(5) == b"rest"
    assert len(inbox) == 0 and 5 not in inbox and inbox.pop(5) == b""


@given(WORDS, st.lists(st.integers(1, 7)))
def test_messages_behind_their_length(words: list[bytes], sizes: list[int]) -> None:
    inbox = Inbox()
    sent = [len(word).to_bytes(2, "big") + word for word in words]
    frame = partial(length_prefixed, width=2, most=100)
    pieces = cut(b"".join(sent), sizes)
    assert [one for piece in pieces for one in inbox.messages(1, piece, frame)] == sent
    assert len(inbox) == 0


def test_a_length_that_no_message_has_takes_all_that_came() -> None:
    assert length_prefixed(b"HTTP/1.1", width=4, most=100) == 8
    assert sized(b"abc", 3) == 3 and sized(b"ab", 3) == 0


def test_stray_bytes_are_passed_over() -> None:
    passed = []

    def stray(stream: bytes) -> int:
        count = len(stream) - len(stream.lstrip(b"?"))
        passed.append(count)
        return count

    inbox, frame = Inbox(), partial(delimited, end=b"\n")
    assert list(inbox.messages(0, b"??a\n?b\nc", frame, stray)) == [b"a\n", b"b\n"]
    assert sum(passed) == 3 and inbox.pop(0) == b"c"


@pytest.mark.parametrize("expected", [0, 10])
def test_what_does_not_end_is_returned_at_a_bound(
    expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "BEYOND_MAX", 90)
    monkeypatch.setattr(inbox_module, "UNKNOWN_MAX", 100)
    inbox = Inbox()
    came: list[bytes] = []
    for _ in range(11):
        came += inbox.messages(0, b"x" * 10, lambda stream: 0, expected=expected)
    assert came == [b"x" * 110] and len(inbox) == 0


LINES = st.sampled_from(
    [
        b"+OK",
        b"-ERR x",
        b":1",
        b"_",
        b"#t",
        b",1.5",
        b",inf",
        b"(12",
        b"$-1",
        b"*-1",
        b"?",
        b"",
        b"$x",
    ]
)
VALUES = st.recursive(
    LINES.map(lambda line: line + b"\r\n")
    | st.tuples(st.sampled_from([b"$", b"!", b"="]), st.binary(max_size=9)).map(
        lambda each: b"%b%d\r\n%b\r\n" % (each[0], len(each[1]), each[1])
    ),
    lambda values: st.tuples(st.sampled_from([b"*", b"~", b">", b"%", b"|"]), st.lists(values)).map(
        lambda each: aggregate(*each)
    ),
    max_leaves=8,
)


def aggregate(kind: bytes, parts: list[bytes]) -> bytes:
    """Replies as one; for a map as many as there are pairs, and attributes before a reply."""
    if kind in b"%|":
        parts = parts[: len(parts) // 2 * 2]
        text = b"%b%d\r\n" % (kind, len(parts) // 2) + b"".join(parts)
        return text + b"+behind\r\n" if kind == b"|" else text
    return b"%b%d\r\n" % (kind, len(parts)) + b"".join(parts)


@given(VALUES)
def test_where_a_reply_of_any_type_ends(reply: bytes) -> None:
    assert resp.reply_size(reply) == resp.reply_size(reply + b":1\r\n") == len(reply)
    assert not any(resp.reply_size(reply[:at]) for at in range(len(reply)))


def test_deep_replies_and_long_counts() -> None:
    deep = b"*1\r\n" * 100_000
    assert resp.reply_size(deep) == 0 and resp.reply_size(deep + b":1\r\n") == len(deep) + 4
    assert resp.reply_size(b"*9999999999\r\n:1\r\n") == 0
    assert resp.reply_size(b"*99999999999\r\n:1\r\n") == 14


@given(st.lists(st.binary(max_size=20), min_size=1))
def test_a_command_is_an_array_of_bulk_strings(words: list[bytes]) -> None:
    command = resp.command(*words)
    assert command == b"*%d\r\n" % len(words) + b"".join(resp.bulk(word) for word in words)
    assert resp.reply_size(command + b"+OK\r\n") == len(command)
    assert all(resp.reply_size(command[:at]) == 0 for at in range(len(command)))
