"""Replies as trees, and when two of them say the same.

A reply is (kind, content): content is a list for arrays, sets, maps (flat) and pushes, None for the
nil of RESP2, and else the bytes as they came, so that 3 and 3.0 are not the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Reply = tuple[str, Any]
Args = Sequence[bytes]

AGGREGATES = "*~%>"
NEAR = {b"TTL": 5, b"PTTL": 5000, b"EXPIRETIME": 5, b"PEXPIRETIME": 5000}  # how far apart


def parse(stream: bytes) -> list[Reply]:
    """All replies. IndexError where the last is unfinished."""
    replies, at = [], 0
    while at < len(stream):
        reply, at = _parse_at(stream, at)
        replies.append(reply)
    return replies


def _parse_at(stream: bytes, at: int) -> tuple[Reply, int]:
    end = stream.find(b"\r\n", at)
    if end < 0:
        raise IndexError("an unfinished reply")
    kind, line, at = chr(stream[at]), stream[at + 1 : end], end + 2
    if kind in "$=" and line != b"-1":
        end = at + int(line)
        if len(stream) < end + 2:
            raise IndexError("an unfinished reply")
        return (kind, stream[at:end]), end + 2
    if kind in AGGREGATES and line != b"-1":
        parts = []
        for _ in range(int(line) * (2 if kind == "%" else 1)):
            part, at = _parse_at(stream, at)
            parts.append(part)
        return (kind, parts), at
    return (kind, None if kind in "$*" else line), at


def shown(reply: Reply) -> str:
    """A reply on one line."""
    kind, content = reply
    if isinstance(content, list):
        return f"{kind}[{', '.join(map(shown, content))}]"
    return "nil" if content is None else kind + repr(content)[1:]


@dataclass(frozen=True)
class Said:
    """A reply of both servers to the same command, and their replies to the one before it."""

    args: Args
    ours: Reply
    theirs: Reply
    ours_before: Reply
    theirs_before: Reply


def is_same(said: Said) -> bool:
    """Whether both replies say the same, by the command's own rule."""
    if said.ours == said.theirs:
        return True
    if said.ours[0] != said.theirs[0]:
        return False
    name = said.args[0].upper()
    return RULES.get(b" ".join(said.args[:2]).upper(), RULES.get(name, _never))(said)


def _never(said: Said) -> bool:
    return False


def _always(said: Said) -> bool:
    return True


def _unordered(said: Said) -> bool:
    return _are_lists(said) and sorted(said.ours[1], key=repr) == sorted(said.theirs[1], key=repr)


def _pairs(said: Said) -> bool:
    if not _are_lists(said):
        return False
    both = [sorted(zip(c[::2], c[1::2], strict=True), key=repr) for c in _contents(said)]
    return both[0] == both[1]


def _near(said: Said) -> bool:
    if said.ours[0] != ":":
        return False
    ours, theirs = map(int, _contents(said))
    return min(ours, theirs) >= 0 and abs(ours - theirs) <= NEAR[said.args[0].upper()]


def _sample(said: Said) -> bool:
    """Members that are drawn: as many on both, from what the command before it showed."""
    ours, theirs = leaves(said.ours), leaves(said.theirs)
    if len(ours) != len(theirs) or said.ours[0] == "-":
        return False
    if len(said.args) > 2 and not said.args[2].startswith(b"-"):  # each once
        names = [reply[1][:: _step(said)] for reply in (said.ours, said.theirs)]
        if any(len(set(map(repr, found))) != len(found) for found in names):
            return False
    return all(
        set(found) <= set(leaves(before))
        for found, before in ((ours, said.ours_before), (theirs, said.theirs_before))
    )


def _step(said: Said) -> int:
    """Names and values take turns where RESP2 is asked for both."""
    content = said.ours[1]
    is_flat = len(said.args) > 3 and content and not isinstance(content[0][1], list)
    return 2 if is_flat else 1


def leaves(reply: Reply) -> list[bytes | None]:
    """The texts in a reply, however deep."""
    if not isinstance(reply[1], list):
        return [reply[1]]
    return [leaf for part in reply[1] for leaf in leaves(part)]


def _contents(said: Said) -> tuple[Any, Any]:
    return said.ours[1], said.theirs[1]


def _are_lists(said: Said) -> bool:
    return all(isinstance(content, list) for content in _contents(said))


def _encoding(said: Said) -> bool:
    """What INCRBYFLOAT makes is never an int in Redis: c1m looks at the value only."""
    return (said.theirs[1], said.ours[1]) == (b"embstr", b"int")


RULES: dict[bytes, Callable[[Said], bool]] = {
    **dict.fromkeys([b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"KEYS", b"HKEYS"], _unordered),
    **dict.fromkeys([b"HVALS", b"PUBSUB CHANNELS", b"PUBSUB SHARDCHANNELS"], _unordered),
    **dict.fromkeys([b"HGETALL", b"CONFIG GET"], _pairs),
    **dict.fromkeys(NEAR, _near),
    **dict.fromkeys(
        [b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"SPOP", b"RANDOMKEY"], _sample
    ),
    **dict.fromkeys(
        [b"OBJECT IDLETIME", b"OBJECT REFCOUNT", b"MEMORY USAGE", b"CLIENT ID"], _always
    ),
    b"OBJECT ENCODING": _encoding,
    **dict.fromkeys([b"TIME", b"HELLO"], _always),
}
