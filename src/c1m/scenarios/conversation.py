"""A user's scenario in its plain form: what one connection says, and what it makes of the answers.

    class Shop(c1m.Conversation):
        def talk(self, n):
            reply = yield c1m.Say(b"LIST\\r\\n", until=b"\\r\\n")
            assert reply.startswith(b"+"), "the list should be there"
            yield c1m.Say(b"BUY %d\\r\\n" % n, expect=b"+BOUGHT\\r\\n")

`talk` is a generator, begun anew when it is over and when its connection is reopened. A connection
has one from its first request on, and none before. Each `yield` is a request: its latency is
measured, and it is sent when the plan says so. Pure.

What goes wrong in `talk`: an AssertionError, a ValueError or a LookupError is about the reply that
it has just been given (int(reply) of something else, say), which counts as GARBLED, with what was
raised as a note. Anything else is a mistake in the scenario: a ScenarioError, which ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError
from c1m.protocols.inbox import UNKNOWN_MAX, Inbox
from c1m.scenarios.asks import Ask, Say
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.ledger import GARBLED, RIGHT, Resolved
from c1m.scenarios.matching import bad_frame
from c1m.scenarios.messages import Numbers
from c1m.scenarios.mistakes import described, mistake, where

ABOUT_THE_REPLY = (AssertionError, ValueError, LookupError)


Talk = Generator[Ask, Any, Any]


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

    takes_turns = True

    def __init__(self, spoken: Conversation | Callable[[int], Talk]) -> None:
        self._conversation = spoken if isinstance(spoken, Conversation) else None
        self._talk = spoken.talk if isinstance(spoken, Conversation) else spoken

    def begin(self, connections: int, seed: int) -> None:
        if self._conversation is not None:
            self._conversation.begin(connections, seed)

    def doubts(self) -> list[str]:
        return [
            "A talk begins anew after a reply that was missing or garbled, and takes what still "
            "comes for its first reply."
        ]

    def judges(self) -> bool:
        return True  # each talk does

    def notes(self) -> list[str]:
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
        return Talks(self, count)


class Talks(Exchange):
    """The exchange of talks: who talks, what they are about to say, what came of its reply."""

    def __init__(self, scenario: Talking, count: int) -> None:
        super().__init__(scenario, count)
        self._talk_of = scenario.talk
        self._talks: dict[int, Talk] = {}
        self._says: dict[int, Ask] = {}  # in flight, or to be said next
        self._inbox = Inbox()

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        messages: list[bytes] = []
        for number in numbers.tolist():
            if number not in self._says:
                talk = self._talks[number] = self._talk_of(number)
                self._step(number, lambda talk=talk: next(talk))  # type: ignore[misc]
                if number not in self._says:
                    raise ScenarioError(
                        f"talk({number}) ended without saying anything.",
                        "Let it yield c1m.Say(...) at least once.",
                    )
            say = self._says[number]
            self._check(say)
            messages.append(say.encode(self.scenario.session))
        return Ragged.of(messages), self.ledger.send(numbers)

    def _check(self, say: Ask) -> None:
        """Whether it can be said here, and its reply be heard."""
        scheme = self.scenario.session.scheme
        if scheme not in say.schemes:
            raise ScenarioError(
                f"{type(say).__name__} cannot be said over {scheme}://.",
                f"It is for targets as {', '.join(f'{name}://' for name in say.schemes)}.",
            )
        if isinstance(say, Say) and not (say.has_end or self.hears_messages):
            raise ScenarioError(
                f"Say({say.message[:40]!r}) has no end of its reply.",
                "Give one of until=, size=, frame=, or expect= alone.",
            )

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        for number, piece in zip(numbers.tolist(), data.pieces(), strict=True):
            if not self.ledger.expects(number):
                self.ledger.unasked(number, piece)
                continue
            stream = self._inbox.pop(number) + piece
            size = self._whole(number, stream)
            if size:
                self._hear(number, stream[:size])
                if stream[size:]:
                    self.ledger.unasked(number, stream[size:])
            elif len(stream) > UNKNOWN_MAX:
                self._garbled(number, stream, "no reply ends in these bytes")
            else:
                self._inbox.keep(number, stream)
        return self.ledger.resolved()

    def _whole(self, number: int, stream: bytes) -> int:
        say = self._says[number]
        if not say.has_end:
            return len(stream)
        try:
            size = say.whole(stream)
        except Exception as error:
            raise mistake(error, "frame raised") from error
        if not 0 <= size <= len(stream):
            raise bad_frame(size, len(stream))
        return size

    def _hear(self, number: int, reply: bytes) -> None:
        """A whole reply: give it to the talk, which says what comes next or ends."""
        say = self._says.pop(number)
        note: str | None
        try:
            said = say.heard(reply)
        except ValueError as error:
            said, note = reply, str(error)
        else:
            note = say.wrong(said)
        if note is None:
            talk = self._talks[number]
            note = self._step(number, lambda: talk.send(said))
        if note is None:
            self.ledger.resolve(number, int(self.ledger.oldest[number]), RIGHT)
        else:
            self._says[number] = say
            self._garbled(number, reply, note)

    def _step(self, number: int, step: Callable[[], Any]) -> str | None:
        """Let a talk go on; what it says about the reply where it is not content with it."""
        try:
            next_ = step()
        except StopIteration:
            del self._talks[number]
            return None
        except ABOUT_THE_REPLY as error:
            if not self.ledger.expects(number):
                raise mistake(error, "talk raised before it had said anything") from error
            said, _, _ = str(error).partition("\n")
            return f"{said} ({where(error)})" if said else described(error)
        except Exception as error:
            raise mistake(error, "talk raised") from error
        if not isinstance(next_, Ask):
            raise ScenarioError(
                f"{_place(self._talks[number])}: talk yielded {next_!r}, no c1m.Say.",
                "Write reply = yield c1m.Say(b'...', until=b'\\n').",
            )
        self._says[number] = next_
        return None

    def _garbled(self, number: int, reply: bytes, note: str) -> None:
        """Not the reply that was wanted: the talk begins anew."""
        seq, say = int(self.ledger.oldest[number]), self._says[number]
        expected = say.expect if isinstance(say, Say) else None
        self._end(number)
        self.ledger.fault("garbled", number, number, seq, reply, expected or b"", note)
        self.ledger.resolve(number, seq, GARBLED)

    def _end(self, number: int) -> None:
        self._says.pop(number, None)
        self._inbox.pop(number)
        talk = self._talks.pop(number, None)
        if talk is not None:
            try:
                talk.close()
            except Exception as error:
                raise mistake(error, "talk raised when it was ended") from error

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """See Exchange. Talks end with their connections."""
        for number in numbers.tolist():
            self._end(number)
        return super().gone(numbers)

    def miss(self, number: int, seq: int) -> None:
        """See Exchange. The talk begins anew, and whatever still comes is its first reply's."""
        self.ledger.miss(number, seq, self._inbox.peek(number))
        self._end(number)


def _place(talk: Talk) -> str:
    frame = talk.gi_frame if hasattr(talk, "gi_frame") else None
    return "talk" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
