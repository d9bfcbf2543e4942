"""Scenarios by templates: a request, and the reply that is right. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.protocols import framing
from c1m.scenarios.base import NO_ENDS, NO_SEQS, Scenario
from c1m.scenarios.messages import Message, Numbers

Text = str | bytes

MESSAGE = "client {n} message {seq}\n"
SLOW_MESSAGE = "client {n} message {seq} {random:1000}\n"


class Templates(Scenario):
    """A request and its reply (None: the same again), each a template (str) or bytes as they are.

    `prefix`: bytes of a big-endian length before each request and reply (0: none). `by_line`: a
    reply ends with a newline, whatever is in it; otherwise it ends where the right one would.
    """

    schemes = ("tcp", "ws", "mqtt")
    sees_to_stretch = True
    prefix = 0
    by_line = False

    def __init__(self, message: Text = MESSAGE, expect: Text | None = None) -> None:
        self._texts = message, message if expect is None else expect

    def begin(self, connections: int, seed: int) -> None:
        request, reply = self._texts
        first, prefix = self.stretch.first, self.prefix
        self._request = Message(request, connections, seed, prefix=prefix, first=first)
        if self._request.has_any:
            raise UsageError(
                "The message has {any:..}, which only what is expected can have.",
                "Use {random:N} for letters of any kind.",
            )
        self._reply = self._request
        if reply != request:
            self._reply = Message(reply, connections, seed, prefix=prefix, first=first)
        self._pattern = self._reply.pattern()
        self._ends = self._reply.ends

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._request.pieces(numbers, seqs)

    def request(self, number: int, seq: int) -> bytes:
        return self._request.one(number, seq)

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._reply.pieces(numbers, seqs)

    def are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        return self._reply.equal(numbers, seqs, data)

    def is_right(self, number: int, seq: int, piece: bytes) -> bool:
        return piece == self._reply.one(number, seq, piece)

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        return self._reply.matching(numbers, seqs, data)

    def reply(self, number: int, seq: int) -> bytes:
        return self._reply.one(number, seq)

    def reply_size(self, number: int, seq: int) -> int:
        return self._reply.size(number, seq)

    def reply_sizes(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32] | None:
        return self._reply.lengths(numbers, seqs)

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        if len(reply) != self._reply.size(number, seq):
            return False
        return reply == self._reply.one(number, seq, reply)

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        if self.prefix:  # one longer than any connection's reply: nobody knows where it ends
            return framing.length_prefixed(stream, self.prefix, self._reply.size_max)
        if self.by_line:
            return framing.delimited(stream, b"\n")
        expected = self._reply.one(number, seq, stream)
        if stream.startswith(expected):
            found = self._pattern.match(stream) if self._reply.ends_in_number else None
            return found.end() if found else len(expected)  # "no 5" begins "no 50", too
        if expected.startswith(stream):
            return 0
        found = self._pattern.search(stream)
        if found is not None:
            return found.end() if found.start() == 0 else found.start()
        return self._garbage(stream, len(expected))

    def has_ends(self) -> bool:
        return self.by_line or self.prefix > 0

    def doubts(self) -> list[str]:
        knows_ends = self.has_ends() or self._ends[1] or self.hears_messages
        doubts = [] if knows_ends else [NO_ENDS + " End the message with \\n, or use lines."]
        return doubts if self._reply.has_seq else [*doubts, NO_SEQS]

    def _garbage(self, stream: bytes, size: int) -> int:
        """No reply begins in `stream`, unless one of another connection that is not whole yet."""
        head, tail = self._ends
        end = framing.delimited(stream, tail) if tail else 0
        if end > len(tail) or (tail and stream.startswith(tail)):
            return end
        is_other = stream.startswith(head[: len(stream)]) and len(stream) < self._reply.size_max
        return 0 if is_other or len(stream) < size else size

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        match = self._pattern.fullmatch(reply) if self._reply.has_n else None
        if match is None:
            return None
        groups = match.groupdict()
        number = int(groups["n"]) - self.stretch.first
        return number, int(groups["seq"]) if "seq" in groups else None


class Echo(Templates):
    """Each message comes back as it was sent."""

    name = "echo"
    help = "says `client {n} message {seq}` and a newline; the same comes back"

    def __init__(self, message: Text = MESSAGE) -> None:
        super().__init__(message)


class Ping(Templates):
    """A fixed request and the reply to it."""

    name = "ping"
    help = "says `PING`, and expects `+PONG`; or what both options say"

    def __init__(self, message: Text | None = None, expect: Text | None = None) -> None:
        if (message is None) != (expect is None):
            options = "--expect", "--message"
            given, other = options if message is None else reversed(options)
            raise UsageError(
                f"The scenario 'ping' was given {given} without {other}.",
                "Give both: the request and its reply.",
            )
        if message is None or expect is None:
            message, expect = "PING\r\n", "+PONG\r\n"
        super().__init__(message, expect)


class Lines(Templates):
    """An echo of lines."""

    name = "lines"
    help = "as `echo`; a reply ends with its line, whatever is in it"
    by_line = True

    def __init__(self, message: Text = MESSAGE, expect: Text | None = None) -> None:
        super().__init__(_line(message), None if expect is None else _line(expect))


class LengthPrefixed(Templates):
    """An echo of messages behind their length."""

    name = "length-prefixed"
    help = "as `echo`, behind its length in 4 bytes, big-endian"
    prefix = 4


class SlowReader(Templates):
    """Sends as an echo does and reads nothing before the last stage is over.

    Then all replies must be there, and right: a server may stop reading from such a client, but not
    lose what it has taken. One that says little is no slow reader: so many requests at once.
    """

    name = "slow-reader"
    help = (
        "says 1 KiB, as often as `--pipeline` allows; reads nothing before the last "
        "stage is over, then all the same"
    )
    reads = False
    pipeline = 64
    stampedes = False
    keeps_asking = True

    def __init__(self, message: Text = SLOW_MESSAGE, expect: Text | None = None) -> None:
        super().__init__(message, expect)


class ReconnectStorm(Echo):
    """An echo, with all connections dropped and reopened between two holds."""

    name = "reconnect-storm"
    help = "as `echo`; between two holds all connections are dropped and reopened"
    stampedes = False
    storms = True


def _line(text: Text) -> Text:
    """With its newline, which nobody types. Raises UsageError for more than one line."""
    end, both = ("\n", "\r\n") if isinstance(text, str) else (b"\n", b"\r\n")
    if text.rstrip(both).count(end):  # type: ignore[arg-type]
        raise UsageError(
            "The message has several lines; each would have a reply of its own.",
            "Use one line, or echo for messages of any form.",
        )
    return text if text.endswith(end) else text + end  # type: ignore[operator,arg-type]
