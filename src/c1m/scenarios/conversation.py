"""A user's scenario in its plain form: what one connection says, and what it makes of the answers.

    class Shop(c1m.Conversation):
        def talk(self, n):
            reply = yield c1m.Get("/cart")
            self.check("cart total", reply.json()["total"] == 0, reply.text)
            yield c1m.Post(f"/cart/{reply.json()['id']}", data={"item": 7}, expect=201)

`talk` is a generator, begun anew when it is over and when its connection is reopened. A connection
has one from its first request on, and none before. Each `yield` of an ask (see `asks`) is a
request: its latency is measured, and it is sent when the plan says so. Pure.

What goes wrong in `talk`: an AssertionError, a ValueError or a LookupError is about the reply that
it has just been given (int(reply) of something else, say), which counts as GARBLED, with what was
raised as a note. Anything else is a mistake in the scenario: a ScenarioError, which ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from c1m.errors import ScenarioError
from c1m.results.outcomes import Check
from c1m.results.share import WHOLE
from c1m.scenarios import asks_mqtt as asks_mqtt  # it tells what comes unasked over its scheme,
from c1m.scenarios import commands as commands  # and so does this
from c1m.scenarios.asks import Ask, Pause
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.checks import Checks, check, use
from c1m.scenarios.mistakes import mistake
from c1m.scenarios.talks import Talks

Talk = Generator[Ask | Pause, Any, Any]


class Conversation:
    """Derive from this and give `talk`. One object serves all connections: `self` is what they
    share. `target`: what is loaded, the first of several, as it was given.

    With --cluster each worker has an object of its own, for its connections. `share`: which part
    that is (`share.index`, from 0) of how many (`share.of`, 1 without --cluster).
    """

    target = ""
    share = WHOLE

    def begin(self, connections: int, seed: int) -> None:
        """Before anything is opened, perhaps more than once: how many connections at most, those
        of all workers together; each of these has a seed of its own."""

    def set_up(self) -> None:
        """Once a run, before anything is opened; with --cluster once in each worker, before any of
        them opens something. What it raises is told, and nothing is opened."""

    def talk(self, n: int) -> Talk:
        """What connection `n` says: yields asks as Say, Get and Command, is given their replies."""
        raise NotImplementedError(f"{type(self).__name__} has no talk(self, n)")

    def heard(self, n: int, message: Any) -> bool:
        """What came on connection `n` and is no reply, as somebody else's message in a chat: True
        where it was due. False: it is counted as unasked."""
        return False

    def awaited(self) -> int:
        """How many messages are still to be `heard` when all is said: the run waits for these, up
        to its timeout, before it ends."""
        return 0

    check = staticmethod(check)

    def at_end(self) -> None:
        """Once, when all is said: the place to check what must add up over all connections."""

    def tear_down(self) -> None:
        """Once, after `at_end`; also when the run was interrupted, or ended by a mistake."""

    def notes(self) -> list[str]:
        """At the end: sentences about what does not add up over all connections; [] if all does."""
        return []


class Talking(Scenario):
    """A Conversation, or a generator function of a connection's number, as a scenario."""

    takes_turns = True
    sees_to_stretch = True

    def __init__(self, spoken: Conversation | Callable[[int], Talk]) -> None:
        self._conversation = spoken if isinstance(spoken, Conversation) else None
        self._talk = spoken.talk if isinstance(spoken, Conversation) else spoken
        self.checked = Checks()

    def begin(self, connections: int, seed: int) -> None:
        self.checked = Checks()
        use(self.checked)
        if self._conversation is not None:
            self._conversation.target = self.session.target
            share = self._conversation.share = self.stretch.share
            total = max(self.stretch.total, connections)
            self._conversation.begin(total, share.seed(seed))

    def set_up(self) -> None:
        use(self.checked)
        if self._conversation is not None:
            self._conversation.set_up()

    def tear_down(self) -> None:
        use(self.checked)
        if self._conversation is not None:
            try:
                self._conversation.at_end()
            finally:
                self._conversation.tear_down()

    def doubts(self) -> list[str]:
        return [
            "A talk begins anew after a reply that was missing or garbled, and takes what still "
            "comes for its first reply."
        ]

    def judges(self) -> bool:
        return True  # each talk does

    def notes(self) -> list[str]:
        return [] if self._conversation is None else self._conversation.notes()

    def checks(self) -> list[Check]:
        return self.checked.found()

    def talk(self, number: int) -> Talk:
        """A generator for one connection. Raises ScenarioError if `talk` is none."""
        try:
            made = self._talk(self.stretch.first + number)
        except Exception as error:
            raise mistake(error, "talk raised") from error
        if not isinstance(made, Generator):
            if isinstance(made, Coroutine):
                made.close()  # or Python warns that nobody has waited for it
            raise ScenarioError(
                f"talk({number}) returned {type(made).__name__}, no generator.",
                "Let it yield what it says, as reply = yield c1m.Get('/'), or c1m.Say(...).",
            )
        return made

    def hears(self, number: int, message: Any) -> bool:
        """Whether what came, and is no reply, was due. Raises ScenarioError."""
        if self._conversation is None:
            return False
        try:
            is_due = self._conversation.heard(self.stretch.first + number, message)
        except Exception as error:
            raise mistake(error, "heard raised") from error
        if not isinstance(is_due, bool):
            raise ScenarioError(
                f"heard({number}, ...) returned {is_due!r}.",
                "Return True where the message was due, else False.",
            )
        return is_due

    def awaits(self) -> int:
        """What is still to be heard."""
        if self._conversation is None:
            return 0
        try:
            return int(self._conversation.awaited())
        except Exception as error:
            raise mistake(error, "awaited raised") from error

    def exchange(self, count: int, depth: int) -> Exchange:
        return Talks(self, count)
