"""Commands of Redis's protocol in a conversation. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from c1m.errors import ScenarioError
from c1m.protocols.resp.replies import reply_size
from c1m.protocols.resp.slots import REDIRECTIONS, tag_at
from c1m.protocols.resp.values import ErrorReply, value_of
from c1m.scenarios.asks import SPOKEN, Ask, Session, Spoken

Word = bytes | str | int | float

_UNSET: Any = object()


def hash_tag(n: int) -> str:
    """A text as {0a7z} for the keys of connection `n`: against a Redis Cluster, a key with it is of
    the node that the connection is with. Elsewhere it means nothing, and does no harm.

    f"cart{c1m.hash_tag(n)}:{item}"
    """
    return tag_at(n).decode()


class Command(Ask):
    """A command and its arguments; the reply is a value: bytes, int, None, a list, an ErrorReply.

    An error is wrong, unless `may_fail`. `expect` is the right value. `when`: a function of a value
    that says whether it is the reply; others came unasked, as pushes of RESP3 do.
    """

    __slots__ = ("expect", "may_fail", "when", "words")
    schemes: ClassVar[tuple[str, ...]] = ("redis", "tcp")

    def __init__(
        self,
        *words: Word,
        expect: Any = _UNSET,
        may_fail: bool = False,
        when: Callable[[Any], bool] | None = None,
    ) -> None:
        self.words, self.expect, self.may_fail, self.when = words, expect, may_fail, when

    def __repr__(self) -> str:
        return f"Command({', '.join(map(repr, self.words))})"[:60]

    def encode(self, session: Session) -> bytes:
        """See Ask."""
        if not self.words:
            raise ScenarioError("Command() says nothing.", "Give its words: Command('GET', key).")
        parts = [b"*%d\r\n" % len(self.words)]
        for word in self.words:
            text = word if type(word) is bytes else _text(word)
            parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
        return b"".join(parts)

    @property
    def has_end(self) -> bool:
        """See Ask."""
        return True

    def whole(self, stream: bytes) -> int:
        """See Ask."""
        return reply_size(stream)

    def heard(self, reply: bytes) -> Any:
        """See Ask."""
        return _Push(value_of(reply)) if reply[:1] == b">" else value_of(reply)

    def is_reply(self, heard: Any) -> bool:
        """See Ask."""
        if self.when is not None:
            return bool(self.when(heard))
        return type(heard) is not _Push

    def is_elsewhere(self, reply: bytes) -> bool:
        """See Ask: of a key that another node of a Redis Cluster has."""
        return reply.startswith(REDIRECTIONS)

    def wrong(self, reply: Any) -> str | None:
        """See Ask."""
        if self.expect is not _UNSET:
            expect = self.expect.encode() if isinstance(self.expect, str) else self.expect
            return None if reply == expect else ""
        if type(reply) is ErrorReply and not self.may_fail:
            return reply.text
        return None


class _Push(list[Any]):
    """What comes unasked, in RESP3."""


def _text(word: Any) -> bytes:
    """An argument as it is sent."""
    if isinstance(word, str):
        return word.encode()
    if isinstance(word, bool) or not isinstance(word, bytes | bytearray | int | float):
        raise ScenarioError(
            f"{word!r} is no argument of a command.", "Give bytes, a text or a number."
        )
    return bytes(word) if isinstance(word, bytes | bytearray) else repr(word).encode()


SPOKEN["redis"] = Spoken(reply_size, value_of)
