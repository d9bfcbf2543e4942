"""The exchange of conversations: who talks, what they are about to say, what came of it. Pure."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError
from c1m.protocols.inbox import UNKNOWN_MAX, Inbox
from c1m.scenarios.asks import PLAIN, SPOKEN, Ask, Pause, Say, Session
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.checks import Checks, use
from c1m.scenarios.ledger import GARBLED, MOVED, OUTCOMES, RIGHT, Resolved
from c1m.scenarios.matching import bad_frame
from c1m.scenarios.messages import Numbers
from c1m.scenarios.mistakes import described, mistake, where

FEW = 8  # replies that are counted one by one
ABOUT_THE_REPLY = (AssertionError, ValueError, LookupError)

AnyTalk = Generator[Any, Any, Any]


class Spoken(Protocol):
    """What talks ask of their scenario."""

    session: Session
    checked: Checks

    def talk(self, number: int) -> AnyTalk:
        """The talk of a connection."""
        ...

    def hears(self, number: int, message: Any) -> bool:
        """Whether what is no reply was due."""
        ...

    def awaits(self) -> int:
        """What is still to be heard."""
        ...


class Talks(Exchange):
    """See Exchange. A connection that has not said anything has no object here."""

    says_nothing_at_times = True

    def __init__(self, scenario: Scenario, count: int) -> None:
        super().__init__(scenario, count)
        self._spoken: Spoken = scenario  # type: ignore[assignment]
        self._words = SPOKEN.get(scenario.session.scheme, PLAIN)
        self._talks: dict[int, AnyTalk] = {}
        self._asked: dict[int, Ask] = {}  # in flight
        self._next: dict[int, Ask] = {}  # to be said next
        self._pauses: dict[int, int] = {}  # before that
        self._may: set[type] = set()  # what can be said here
        self._inbox = Inbox()

    @property
    def awaited(self) -> int:
        """See Exchange."""
        return self.ledger.in_flight + self._spoken.awaits()

    # --- saying -------------------------------------------------------------------------------

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        use(self._spoken.checked)
        session = self._spoken.session
        asks: list[Ask] = []
        messages: list[bytes] = []
        every = numbers.tolist()
        for number in every:
            ask = self._next.pop(number, None) or self._begin(number)
            if type(ask) not in self._may:
                self._check(ask)
            try:
                messages.append(ask.encode(session))
            except Exception as error:
                raise mistake(error, f"{ask!r} cannot be said") from error
            asks.append(ask)
            if self._pauses:
                self._pauses.pop(number, None)
        self._asked.update(zip(every, asks, strict=True))
        return Ragged.of(messages), self.ledger.send(numbers)

    def _begin(self, number: int) -> Ask:
        """A talk begins; what it says first."""
        self._pauses.pop(number, None)  # of the one before, where a schedule has not waited for it
        self._talks[number] = self._spoken.talk(number)
        if note := self._step(number, None):
            raise ScenarioError(
                f"{note} (talk raised before it had said anything).", "Correct the scenario."
            )
        ask = self._next.pop(number, None)
        if ask is None or self._pauses.pop(number, 0):
            raise ScenarioError(
                f"talk({number}) "
                + ("ended without saying anything." if ask is None else "begins with a Pause."),
                "Let it yield c1m.Say(...) at least once, and pause behind that.",
            )
        return ask

    def _check(self, ask: Ask) -> None:
        """Whether it can be said here, and its reply be heard."""
        scheme = self._spoken.session.scheme
        if scheme not in ask.schemes:
            raise ScenarioError(
                f"{type(ask).__name__} cannot be said over {scheme}://.",
                f"It is for targets as {', '.join(f'{name}://' for name in ask.schemes)}.",
            )
        if not isinstance(ask, Say):
            self._may.add(type(ask))
        elif not (ask.has_end or self.hears_messages or self._words.whole is not len):
            raise ScenarioError(
                f"{ask!r} has no end of its reply.",
                "Give one of until=, size=, frame=, or expect= alone.",
            )

    def pauses(self, numbers: Numbers) -> Numbers | None:
        """See Exchange."""
        if not self._pauses:
            return None
        return np.array([self._pauses.pop(number, 0) for number in numbers.tolist()], np.int64)

    # --- hearing ------------------------------------------------------------------------------

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        use(self._spoken.checked)
        right: list[int] = []
        for number, piece in zip(numbers.tolist(), data.pieces(), strict=True):
            if self._inbox and number in self._inbox:
                piece = self._inbox.pop(number) + piece
            while piece:
                ask = self._asked.get(number)
                size = self._whole(ask, piece)
                if not size:
                    self._wait(number, ask, piece)
                    break
                message, piece = (
                    (piece, b"") if size == len(piece) else (piece[:size], piece[size:])
                )
                if ask is None:
                    self._overhear(number, message)
                elif self._hear(number, ask, message):
                    right.append(number)
        if len(right) <= FEW:
            for number in right:
                self.ledger.resolve(number, self.ledger.oldest_at[number], RIGHT)
            return self.ledger.resolved()
        answered = np.array(right, np.int64)
        seqs = self.ledger.oldest.take(answered).astype(np.int64)
        self.ledger.answer(answered)
        return self.ledger.resolved(right=[(answered, seqs)])

    def _whole(self, ask: Ask | None, stream: bytes) -> int:
        """Bytes of the first whole message; 0: more must come."""
        try:
            if ask is None:
                size = len(stream) if self.hears_messages else self._words.whole(stream)
            elif self.hears_messages and not ask.has_end:
                return len(stream)
            else:
                size = ask.whole(stream)
        except Exception as error:
            raise mistake(error, "frame raised") from error
        if not 0 <= size <= len(stream):
            raise bad_frame(size, len(stream))
        return size

    def _wait(self, number: int, ask: Ask | None, stream: bytes) -> None:
        """No message is whole by these bytes."""
        if len(stream) <= UNKNOWN_MAX:
            self._inbox.keep(number, stream)
        elif ask is None:
            self.ledger.unasked(number, stream)
        else:
            self._garbled(number, ask, stream, "no reply ends in these bytes")

    def _hear(self, number: int, ask: Ask, message: bytes) -> bool:
        """A whole message: where it is the reply, give it to the talk, which says what comes next
        or ends. Whether it is a right one."""
        note: str | None
        try:
            said = ask.heard(message)
        except ValueError as error:
            note = str(error)
        else:
            if not _is_reply(ask, said):
                self._overhear(number, message)
                return False
            note = _wrong(ask, said)
            if note is None:
                note = self._step(number, said)
        if note is None:
            del self._asked[number]
            return True
        self._garbled(number, ask, message, note)
        return False

    def _overhear(self, number: int, message: bytes) -> None:
        """A message that is no reply."""
        try:
            said = self._words.heard(message)
        except ValueError:
            said = message
        if not (self._spoken.hears(number, said) or self._words.is_due(said)):
            self.ledger.unasked(number, message)

    def _step(self, number: int, said: Any) -> str | None:
        """Let a talk go on; what it says about the reply where it is not content with it."""
        talk = self._talks[number]
        try:
            asked = talk.send(said)
            while type(asked) is Pause:
                self._pauses[number] = self._pauses.get(number, 0) + asked.ns
                asked = talk.send(None)
        except StopIteration:
            del self._talks[number]
            return None
        except ABOUT_THE_REPLY as error:
            text, _, _ = str(error).partition("\n")
            is_said = text and not isinstance(error, LookupError)  # whose text is the key alone
            has_spoken = number in self._asked
            return f"{text} ({where(error)})" if is_said and has_spoken else described(error)
        except Exception as error:
            raise mistake(error, "talk raised") from error
        if not isinstance(asked, Ask):
            raise ScenarioError(
                f"{_place(talk)}: talk yielded {asked!r}, which is no request.",
                "Yield c1m.Get('/') over http://, elsewhere c1m.Say(...), or another.",
            )
        self._next[number] = asked
        return None

    def _garbled(self, number: int, ask: Ask, reply: bytes, note: str) -> None:
        """Not the reply that was wanted: the talk begins anew."""
        seq = int(self.ledger.oldest[number])
        self._end(number)
        outcome = MOVED if ask.is_elsewhere(reply) else GARBLED
        self.ledger.fault(OUTCOMES[outcome], number, number, seq, reply, ask.due(), note)
        self.ledger.resolve(number, seq, outcome)

    # --- ends ---------------------------------------------------------------------------------

    def _end(self, number: int) -> None:
        self._asked.pop(number, None)
        self._next.pop(number, None)
        self._pauses.pop(number, None)
        self._inbox.pop(number)
        talk = self._talks.pop(number, None)
        if talk is not None:
            try:
                talk.close()
            except Exception as error:
                raise mistake(error, "talk raised when it was ended") from error

    def again(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """See Exchange: what these wait for."""
        session = self._spoken.session
        return Ragged.of([self._asked[number].encode(session) for number in numbers.tolist()])

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """See Exchange. Talks end with their connections."""
        for number in numbers.tolist():
            self._end(number)
        return super().gone(numbers)

    def miss(self, number: int, seq: int) -> None:
        """See Exchange. The talk begins anew, and whatever still comes is its first reply's."""
        self.ledger.miss(number, seq, self._inbox.peek(number))
        self._end(number)


def _is_reply(ask: Ask, said: Any) -> bool:
    """A message of which `when` cannot make anything is none."""
    try:
        return ask.is_reply(said)
    except ABOUT_THE_REPLY:
        return False
    except Exception as error:
        raise mistake(error, "when raised") from error


def _wrong(ask: Ask, said: Any) -> str | None:
    """See Ask.wrong, for an `expect` with which nothing can be compared, too."""
    try:
        return ask.wrong(said)
    except Exception as error:
        raise mistake(error, f"{ask!r} cannot be judged") from error


def _place(talk: AnyTalk) -> str:
    frame = talk.gi_frame if hasattr(talk, "gi_frame") else None
    return "talk" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
