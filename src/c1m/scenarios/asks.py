"""What a conversation yields: a request of some protocol, and what its reply must be. Pure.

Each kind has its protocol's words, and makes of a whole reply what `yield` returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from c1m.errors import UsageError
from c1m.protocols import framing
from c1m.protocols.http.messages import HasFields


@dataclass(frozen=True, slots=True)
class Session:
    """What is spoken on the connections of a run, and what its requests begin with."""

    scheme: str = "tcp"
    host: str = ""  # and port, as the field Host has them
    fields: Sequence[str] = ()  # further ones of each request: "Name: value"


class Ask:
    """A request. `schemes` are those over which it can be said."""

    schemes: ClassVar[tuple[str, ...]] = ()

    def encode(self, session: Session) -> bytes:
        """What is said."""
        raise NotImplementedError

    @property
    def has_end(self) -> bool:
        """Whether it knows where its reply ends in a stream of bytes."""
        return False

    def whole(self, stream: bytes) -> int:
        """Bytes of the reply that `stream` begins with; 0: more must come."""
        return len(stream)

    def heard(self, reply: bytes) -> Any:
        """What the talk is given of a whole reply. Raises ValueError for what is none."""
        return reply

    def wrong(self, reply: Any) -> str | None:
        """What is wrong with it as far as the request says so; None: nothing, "": all of it."""
        return None


@dataclass(frozen=True, slots=True)
class Say(Ask):
    """Bytes, and where their reply ends.

    One of: `until`, the bytes that end it; `size`, how many it has; `frame`, a function of the
    bytes so far that returns how many of them are the whole reply (0: more must come); `expect`,
    the right reply itself. With one of the first three `expect` may be given, too. Without any, the
    next message is the reply: over ws://, where there are messages.
    """

    schemes: ClassVar[tuple[str, ...]] = ("tcp", "ws", "redis", "http", "sse")

    message: bytes
    until: bytes = b""
    size: int = 0
    frame: Callable[[bytes], int] | None = None
    expect: bytes | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.message, bytes) or not self.message:
            raise UsageError(
                f"Say({self.message!r}) says nothing.", "Give the bytes to send, at least one."
            )
        if self.size < 0:
            raise UsageError(f"No reply has {self.size} bytes.", "Give a size above zero.")
        ends = (bool(self.until), bool(self.size), self.frame is not None)
        if sum(ends) > 1:
            raise UsageError(
                f"Say({self.message[:40]!r}) has more than one end of its reply.",
                "Give one of until=, size=, frame=, or expect= alone.",
            )

    def encode(self, session: Session) -> bytes:
        """See Ask."""
        return self.message

    @property
    def has_end(self) -> bool:
        """See Ask."""
        return bool(self.until or self.size or self.frame or self.expect)

    def whole(self, stream: bytes) -> int:
        """See Ask."""
        if self.frame is not None:
            return self.frame(stream)
        if self.until:
            return framing.delimited(stream, self.until)
        return framing.sized(stream, self.size or len(self.expect or b""))

    def wrong(self, reply: Any) -> str | None:
        """See Ask."""
        return None if self.expect is None or reply == self.expect else ""


@dataclass
class Response(HasFields):
    """A response of HTTP; `fields` are (name in lower case, value), in order."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def of(cls, message: bytes) -> Response:
        """Of a whole one, as a transport makes it."""
        head, _, body = message.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        split = (each.partition(b":") for each in lines)
        fields = [(name.lower(), value.strip()) for name, _, value in split]
        return cls(int(line.split(b" ", 2)[1]), fields, body)

    @cached_property
    def headers(self) -> dict[str, str]:
        """The fields by their names in lower case."""
        return {name.decode("latin-1"): (self.get(name) or b"").decode("latin-1")
                for name, _ in self.fields}  # fmt: skip

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body's value. Raises ValueError where it is no JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Request(Ask):
    """A request of HTTP. `data` is sent as JSON, `body` as it is; the reply is a Response.

    `expect` is the status that is right (None: any below 400).
    """

    schemes: ClassVar[tuple[str, ...]] = ("http",)

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Any = None
    expect: int | None = None

    def encode(self, session: Session) -> bytes:
        """See Ask."""
        body = self.body if self.data is None else json.dumps(self.data).encode()
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {session.host}", *session.fields]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.data is not None:
            lines.append("Content-Type: application/json")
        if body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def heard(self, reply: bytes) -> Response:
        """See Ask."""
        return Response.of(reply)

    def wrong(self, reply: Any) -> str | None:
        """See Ask."""
        right = reply.status < 400 if self.expect is None else reply.status == self.expect
        return None if right else f"status {reply.status}"
