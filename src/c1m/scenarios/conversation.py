"""A user's scenario in its plain form: what one connection says, and what it makes of the answers.

    class Shop(c1m.Conversation):
        def talk(self, n):
            reply = yield c1m.Say(b"LIST\\r\\n", until=b"\\r\\n")
            assert reply.startswith(b"+"), "the list should be there"
            yield c1m.Say(b"BUY %d\\r\\n" % n, expect=b"+BOUGHT\\r\\n")

`talk` is a generator, begun anew when it is over and when its connection is opened again. A
connection has one from when it first speaks on, and none before. Each `yield` is a request: its
latency is measured, and it is sent when the generator says so. Pure.

What goes wrong in `talk`: an AssertionError, a ValueError or a LookupError is about the reply that
it has just had (int(reply) of something else, say), which counts as GARBLED, with what was raised
as a note. Anything else is a mistake in the scenario: a ScenarioError, which ends the run.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError, UsageError
from c1m.scenarios.base import Scenario
from c1m.scenarios.matching import (
    FAULTS_KEPT,
    GARBLED,
    MISSING,
    RIGHT,
    UNKNOWN_REPLY_MAX,
    Exchange,
    Fault,
    Resolved,
)
from c1m.scenarios.messages import Numbers
from c1m.scenarios.outcomes import FAULT_BYTES_MAX, gathered

_OURS = __file__.rpartition("loadgen")[0]
_LIBRARY = "/lib/python"

ABOUT_THE_REPLY = (AssertionError, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class Say:
    """A request: its bytes, and where its reply ends.

    One of: `until`, the bytes that end it; `size`, how many it has; `frame`, a function of the
    bytes so far that returns how many of them are the whole reply (0: more must come); `expect`,
    the right reply itself. With one of the first three `expect` may be given, too.
    """

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
        if sum(ends) > 1 or not (sum(ends) or self.expect):
            raise UsageError(
                f"Say({self.message[:40]!r}) has {'more than one' if sum(ends) else 'no'} end of "
                "its reply.",
                "Give one of until=, size=, frame=, or expect= alone.",
            )

    def whole(self, stream: bytes) -> int:
        """Bytes of the reply that `stream` begins with; 0: more must come."""
        if self.frame is not None:
            return self.frame(stream)
        if self.until:
            at = stream.find(self.until)
            return 0 if at < 0 else at + len(self.until)
        size = self.size or len(self.expect or b"")
        return size if len(stream) >= size else 0


Talk = Generator[Say, bytes, Any]


class Conversation:
    """Derive from this and give `talk`. One object serves all connections."""

    def begin(self, connections: int, seed: int) -> None:
        """Before anything is opened, perhaps more than once: how many connections at most."""

    def talk(self, n: int) -> Talk:
        """What connection `n` says: yields Say, is given the reply."""
        raise NotImplementedError(f"{type(self).__name__} has no talk(self, n)")

    def notes(self) -> list[str]:
        """At the end: sentences about what does not add up over all connections; [] if all does."""
        return []


class Talking(Scenario):
    """A Conversation, or a generator function of a connection's number, as a scenario."""

    name = "own"

    def __init__(self, spoken: Conversation | Callable[[int], Talk]) -> None:
        self._conversation = spoken if isinstance(spoken, Conversation) else None
        self._talk = spoken.talk if isinstance(spoken, Conversation) else spoken

    def begin(self, connections: int, seed: int) -> None:
        """See Scenario."""
        if self._conversation is not None:
            self._conversation.begin(connections, seed)

    def doubts(self) -> list[str]:
        """See Scenario."""
        return [
            "A talk begins anew after a reply that was missing or garbled, and takes what still "
            "comes for its first reply."
        ]

    def notes(self) -> list[str]:
        """See Scenario."""
        return [] if self._conversation is None else self._conversation.notes()

    def talk(self, number: int) -> Talk:
        """A generator for one connection. Raises ScenarioError if `talk` is none."""
        try:
            made = self._talk(number)
        except Exception as error:
            raise mistake(error, "talk raised") from error
        if not isinstance(made, Generator):
            raise ScenarioError(
                f"talk({number}) returned {type(made).__name__}, no generator.",
                "Let it yield c1m.Say(...).",
            )
        return made

    def exchange(self, count: int, depth: int) -> Exchange:
        """Its own: who talks has one request in flight."""
        return TalkExchange(self, count)


class TalkExchange(Exchange):
    """Who talks, what they are about to say, and what has come of its reply."""

    def __init__(self, talking: Talking, count: int) -> None:
        super().__init__(talking, count)
        self._talking = talking
        self._talks: dict[int, Talk] = {}
        self._says: dict[int, Say] = {}  # in flight, or to be said next
        self._streams: dict[int, bytes] = {}

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        """See Exchange."""
        messages: list[bytes] = []
        for number in numbers.tolist():
            if number not in self._says:
                talk = self._talks[number] = self._talking.talk(number)
                self._step(number, lambda talk=talk: next(talk))  # type: ignore[misc]
                if number not in self._says:
                    raise ScenarioError(
                        f"talk({number}) ended without saying anything.",
                        "Let it yield c1m.Say(...) at least once.",
                    )
            messages.append(self._says[number].message)
        seqs = self.sent.take(numbers).astype(np.int64)
        self.sent[numbers] += np.uint32(1)
        self.in_flight += len(numbers)
        return Ragged.of(messages), seqs

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        """See Exchange."""
        resolved: list[tuple[int, int, int]] = []
        for number, piece in zip(numbers.tolist(), data.pieces(), strict=True):
            seq = int(self.oldest[number])
            if seq == int(self.sent[number]):
                self._extra("unasked", number, number, max(seq - 1, 0), piece)
                continue
            stream = self._streams.pop(number, b"") + piece
            size = self._whole(number, stream)
            if size:
                self._hear(number, seq, stream[:size], resolved)
                if stream[size:]:
                    self._extra("unasked", number, number, seq, stream[size:])
            elif len(stream) > UNKNOWN_REPLY_MAX:
                self._garbled(number, seq, stream, "no reply ends in these bytes", resolved)
            else:
                self._streams[number] = stream
        return gathered(resolved)

    def _whole(self, number: int, stream: bytes) -> int:
        say = self._says[number]
        try:
            size = say.whole(stream)
        except Exception as error:
            raise mistake(error, "frame raised") from error
        if not 0 <= size <= len(stream):
            raise ScenarioError(
                f"frame said that a reply has {size} bytes, of {len(stream)}.",
                "It is to return the bytes of the first whole reply, or 0.",
            )
        return size

    def _hear(
        self, number: int, seq: int, reply: bytes, resolved: list[tuple[int, int, int]]
    ) -> None:
        """A whole reply: give it to the talk, which says what comes next or ends."""
        say = self._says.pop(number)
        if say.expect is not None and reply != say.expect:
            self._says[number] = say
            self._garbled(number, seq, reply, "", resolved)
            return
        talk = self._talks[number]
        note = self._step(number, lambda: talk.send(reply))
        if note is not None:
            self._says[number] = say
            self._garbled(number, seq, reply, note, resolved)
            return
        self._resolve(number, seq, RIGHT, resolved)

    def _step(self, number: int, step: Callable[[], Any]) -> str | None:
        """Let a talk go on; what it says about the reply where it is not content with it."""
        try:
            next_ = step()
        except StopIteration:
            del self._talks[number]
            return None
        except ABOUT_THE_REPLY as error:
            if number not in self._says and not int(self.sent[number] - self.oldest[number]):
                raise mistake(error, "talk raised before it had said anything") from error
            said, _, _ = str(error).partition("\n")
            return f"{said} ({where(error)})" if said else told(error)
        except Exception as error:
            raise mistake(error, "talk raised") from error
        if not isinstance(next_, Say):
            raise ScenarioError(
                f"{_place(self._talks[number])}: talk yielded {next_!r}, no c1m.Say.",
                "Write reply = yield c1m.Say(b'...', until=b'\\n').",
            )
        self._says[number] = next_
        return None

    def _garbled(
        self, number: int, seq: int, reply: bytes, note: str, resolved: list[tuple[int, int, int]]
    ) -> None:
        """Not the reply that was wanted: the talk begins anew."""
        expected = self._says[number].expect
        self._end(number)
        if self._kept["garbled"] < FAULTS_KEPT:
            self._kept["garbled"] += 1
            due = note.encode("utf-8", "replace") if expected is None else expected
            cut = slice(0, FAULT_BYTES_MAX)
            self.faults.append(Fault("garbled", number, seq, due[cut], reply[cut], note))
        self._resolve(number, seq, GARBLED, resolved)

    def _end(self, number: int) -> None:
        self._says.pop(number, None)
        self._streams.pop(number, None)
        talk = self._talks.pop(number, None)
        if talk is not None:
            try:
                talk.close()
            except Exception as error:
                raise mistake(error, "talk raised when it was ended") from error

    def gone(self, numbers: Numbers) -> Resolved:
        """See Exchange. Talks end with their connections."""
        for number in numbers.tolist():
            self._end(number)
        return super().gone(numbers)

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        """See Exchange. The talk begins anew, and whatever still comes is its first reply's."""
        resolved: list[tuple[int, int, int]] = []
        for number, seq in zip(numbers.tolist(), seqs.tolist(), strict=True):
            if self._is_waiting(number, seq):
                came = self._streams.get(number, b"")
                self._fault("missing", number, number, seq, came)
                self._end(number)
                self._resolve(number, seq, MISSING, resolved)
        return gathered(resolved)


def told(error: BaseException) -> str:
    """An exception in a line, with where it was raised: "shop.py:12: ValueError: no number"."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{where(error)}: {text}"


def where(error: BaseException) -> str:
    """File and line that raised, as a user knows them: the innermost that is not of a library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if not f.filename.startswith(_OURS) and _LIBRARY not in f.filename]
    frame = (ours or list(frames))[-1] if frames else None
    return "somewhere" if frame is None else f"{frame.filename}:{frame.lineno}"


def mistake(error: BaseException, what: str) -> ScenarioError:
    """An exception out of a user's scenario, told as ours."""
    if isinstance(error, ScenarioError):
        return error
    return ScenarioError(f"{told(error)} ({what}).", "Mend the scenario.")


def _place(talk: Talk) -> str:
    frame = talk.gi_frame if hasattr(talk, "gi_frame") else None
    return "talk" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
