"""What a conversation yields: a request of some protocol, and what its reply must be. Pure.

Each kind has its protocol's words, and makes of a whole reply what `yield` returns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar
from urllib.parse import quote

from c1m.arguments import DURATION
from c1m.errors import ScenarioError, UsageError
from c1m.protocols import framing
from c1m.protocols.http.messages import HasFields
from c1m.protocols.resp.slots import Shards

_PATH = re.compile(r"/[!\"$-~]*")  # as a request says it (RFC 9112, 3.2.1)
_SAFE = "!$%&'()*+,-./:;=?@[]_~"
_FIELD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: ?[^\x00-\x08\x0a-\x1f\x7f]*")  # RFC 9110, 5.5


@dataclass(frozen=True, slots=True)
class Session:
    """What is spoken on the connections of a run, and what its requests begin with."""

    scheme: str = "tcp"
    host: str = ""  # and port, as the field Host has them
    # Further ones of each request, "Name: value"; a password may be in them.
    fields: Sequence[str] = field(default=(), repr=False)
    target: str = field(default="", repr=False)  # the first, as it was given: with a password
    shards: Shards | None = None  # of a Redis Cluster, whose nodes are the targets
    head: str = field(init=False, default="", repr=False)  # all of them as they are sent

    def __post_init__(self) -> None:
        lines = [f"Host: {self.host}", *self.fields]
        object.__setattr__(self, "head", "".join(f"{line}\r\n" for line in lines))


@dataclass(frozen=True, slots=True)
class Spoken:
    """What comes over a scheme without having been asked: `whole(stream)` says how many bytes the
    first message has (0: more must come), `heard(message)` what a user is given of it, and
    `is_due` of that whether it may come at any time."""

    whole: Callable[[bytes], int] = len
    heard: Callable[[bytes], Any] = bytes
    is_due: Callable[[Any], bool] = lambda _: False


def text_or_bytes(message: bytes) -> str | bytes:
    """A message of text where it is UTF-8."""
    try:
        return message.decode()
    except UnicodeDecodeError:
        return message


SPOKEN = {"ws": Spoken(heard=text_or_bytes)}
PLAIN = Spoken()


class Ask:
    """A request. `schemes` are those over which it can be said."""

    __slots__ = ()
    schemes: ClassVar[tuple[str, ...]] = ()

    def encode(self, session: Session) -> bytes:
        """What is said; b"": nothing, it only waits."""
        raise NotImplementedError

    @property
    def has_end(self) -> bool:
        """Whether it knows where its reply ends in a stream of bytes."""
        return False

    def whole(self, stream: bytes) -> int:
        """Bytes of the reply that `stream` begins with; 0: more must come."""
        return len(stream)

    def heard(self, reply: bytes) -> Any:
        """What the talk is given of a whole message. Raises ValueError for what is none."""
        return reply

    def is_reply(self, heard: Any) -> bool:
        """Whether this message is the reply; else the next may be, and it came unasked."""
        return True

    def wrong(self, reply: Any) -> str | None:
        """What is wrong with it as far as the request says so; None: nothing, "": all of it."""
        return None

    def is_elsewhere(self, reply: bytes) -> bool:
        """Whether a wrong reply says that another server is to be asked."""
        return False

    def due(self) -> bytes:
        """The right reply, where it is known beforehand: shown beside a wrong one."""
        return b""


class Say(Ask):
    """Bytes or a text, and where their reply ends.

    One of: `until`, the bytes that end it; `size`, how many it has; `frame`, a function of the
    bytes so far that returns how many of them are the whole reply (0: more must come); `expect`,
    the right reply itself. With one of the first three `expect` may be given, too. Without any, the
    next message is the reply: over ws://, where there are messages.

    `when`: a function of a message that says whether it is the reply; others came unasked. The
    reply to a text is a text.
    """

    __slots__ = ("expect", "frame", "is_text", "message", "size", "until", "when")
    schemes: ClassVar[tuple[str, ...]] = ("tcp", "ws", "redis", "http", "sse")

    def __init__(
        self,
        message: bytes | str,
        until: bytes | str = b"",
        size: int = 0,
        frame: Callable[[bytes], int] | None = None,
        expect: bytes | str | None = None,
        when: Callable[[Any], bool] | None = None,
    ) -> None:
        if not isinstance(message, bytes | str) or not (message or type(self) is Hear):
            raise UsageError(
                f"Say({message!r}) says nothing.", "Give the bytes to send, at least one."
            )
        self.is_text = isinstance(message, str)
        self.message = _bytes(message)
        self.until, self.size, self.frame, self.when = _bytes(until), size, frame, when
        self.expect = None if expect is None else _bytes(expect)
        if size < 0:
            raise UsageError(f"No reply has {size} bytes.", "Give a size above zero.")
        if bool(until) + bool(size) + (frame is not None) > 1:
            raise UsageError(
                f"{self!r} has more than one end of its reply.",
                "Give one of until=, size=, frame=, or expect= alone.",
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message[:40]!r})"

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
        size = self.size or len(self.expect or b"")
        return framing.sized(stream, size) if size else len(stream)

    def heard(self, reply: bytes) -> Any:
        """See Ask."""
        if not self.is_text:
            return reply
        return reply.decode() if self.when is None else text_or_bytes(reply)

    def is_reply(self, heard: Any) -> bool:
        """See Ask."""
        return self.when is None or bool(self.when(heard))

    def wrong(self, reply: Any) -> str | None:
        """See Ask."""
        said = getattr(reply, "payload", reply)  # of a message of MQTT
        return None if self.expect is None or _bytes(said) == self.expect else ""

    def due(self) -> bytes:
        """See Ask."""
        return self.expect or b""


class Hear(Say):
    """Says nothing, and waits for the next message, or for the first that `when` says yes to.

    Over tcp:// one of `until`, `size`, `frame` and `expect` says where it ends.
    """

    __slots__ = ("_spoken",)
    schemes: ClassVar[tuple[str, ...]] = ("tcp", "ws", "redis", "mqtt", "sse")

    def __init__(
        self,
        until: bytes | str = b"",
        size: int = 0,
        frame: Callable[[bytes], int] | None = None,
        expect: bytes | str | None = None,
        when: Callable[[Any], bool] | None = None,
    ) -> None:
        super().__init__(b"", until, size, frame, expect, when)
        self._spoken = PLAIN

    def encode(self, session: Session) -> bytes:
        """See Ask: nothing."""
        self._spoken = SPOKEN.get(session.scheme, PLAIN)
        return b""

    @property
    def has_end(self) -> bool:
        """See Ask."""
        return super().has_end or self._spoken.whole is not len

    def whole(self, stream: bytes) -> int:
        """See Ask."""
        return super().whole(stream) if super().has_end else self._spoken.whole(stream)

    def heard(self, reply: bytes) -> Any:
        """See Ask."""
        return self._spoken.heard(reply)


class Pause:
    """A time to think: what follows it is due so much later. "2s", or seconds.

    It is no request. In an open loop the schedule says when requests are due: it is passed over.
    """

    __slots__ = ("ns",)

    def __init__(self, time: str | float) -> None:
        self.ns: int = DURATION.check("Pause", time)


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


# --- HTTP ---------------------------------------------------------------------------------------


def json_of(text: bytes) -> Any:
    """A value. Raises ValueError for what is none, or nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


class Response(HasFields):
    """A response of HTTP, of a whole one as a transport makes it: `status`, `headers`, `body`,
    `text`, `json()`. `fields` are (name in lower case, value), in order."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.status = int(message[9:12])  # behind "HTTP/1.1 "

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body):,} bytes>"

    @cached_property
    def fields(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        lines = self.message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        split = (each.partition(b":") for each in lines)
        return [(name.lower(), value.strip()) for name, _, value in split]

    @cached_property
    def headers(self) -> dict[str, str]:
        """The fields by their names in lower case."""
        return {name.decode("latin-1"): (self.get(name) or b"").decode("latin-1")
                for name, _ in self.fields}  # fmt: skip

    @property
    def body(self) -> bytes:
        """What follows the head, without chunks."""
        return self.message.partition(b"\r\n\r\n")[2]

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body's value. Raises ValueError where it is no JSON."""
        return json_of(self.body)


class Request(Ask):
    """A request of HTTP. `data` is sent as JSON, `body` as it is; the reply is a Response.

    `expect` is the status that is right, or several (None: any below 400).
    """

    __slots__ = ("body", "data", "expect", "headers", "method", "path")
    schemes: ClassVar[tuple[str, ...]] = ("http",)

    def __init__(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        expect: int | Collection[int] | None = None,
    ) -> None:
        self.method, self.path, self.body, self.data = method, path, body, data
        self.headers, self.expect = headers, expect

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.path!r})"

    def encode(self, session: Session) -> bytes:
        """See Ask. A path is quoted where it has what a request cannot say."""
        path, body = self.path, _bytes(self.body)
        if not _PATH.fullmatch(path):
            if path[:1] != "/":
                raise ScenarioError(f"{path!r} is no path.", "Begin it with a slash.")
            path = quote(path, _SAFE)
        head = f"{self.method} {path} HTTP/1.1\r\n{session.head}"
        for name, value in (self.headers or {}).items():
            line = f"{name}: {value}"
            if not _FIELD.fullmatch(line):
                raise ScenarioError(f"{line!r} is no field of a request.", "Write it in one line.")
            head += line + "\r\n"
        if self.data is not None:
            body = json.dumps(self.data).encode()
            head += "Content-Type: application/json\r\n"
        if body or self.method in ("POST", "PUT", "PATCH"):
            head += f"Content-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body

    def heard(self, reply: bytes) -> Response:
        """See Ask."""
        return Response(reply)

    def wrong(self, reply: Any) -> str | None:
        """See Ask."""
        status, expect = reply.status, self.expect
        if expect is None:
            is_right = status < 400
        else:
            is_right = status == expect if isinstance(expect, int) else status in expect
        return None if is_right else f"status {status}"


Get = partial(Request, "GET")
"""A Request with this method: `Get(path, ...)`."""
Post = partial(Request, "POST")
"""A Request with this method: `Post(path, ...)`."""
Put = partial(Request, "PUT")
"""A Request with this method: `Put(path, ...)`."""
Delete = partial(Request, "DELETE")
"""A Request with this method: `Delete(path, ...)`."""
