"""A user's scenario behind a guard: what it raises becomes one ScenarioError, with file and line.

A mistake in the tenth minute of a run is told like one in the first second, and the run ends in
good order with what it has measured. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError, UsageError
from c1m.scenarios.base import Scenario
from c1m.scenarios.conversation import Talking, mistake
from c1m.scenarios.matching import Exchange
from c1m.scenarios.messages import Numbers

if TYPE_CHECKING:
    from c1m.results.requests import FanOut


class Guarded(Scenario):
    """Passes everything on to `inner`, and says where it raised."""

    def __init__(self, inner: Scenario) -> None:
        self.inner = inner
        self.name = inner.name
        self.is_silent, self.reads = inner.is_silent, inner.reads
        self.wants_end, self.speakers = inner.wants_end, inner.speakers
        self.takes_turns = isinstance(inner, Talking)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            raise mistake(error, f"{what} raised") from error

    def begin(self, connections: int, seed: int) -> None:
        with self._telling("begin"):
            self.inner.begin(connections, seed)
        self.is_silent, self.speakers = self.inner.is_silent, self.inner.speakers

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        if self.takes_turns:  # what it says is known in a conversation only
            raise NotImplementedError("a conversation has no requests by their numbers")
        with self._telling("requests"):
            pieces = self.inner.requests(numbers, seqs)
        return check_pieces(self.name, "requests", pieces, len(numbers))

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        with self._telling("replies"):
            pieces = self.inner.replies(numbers, seqs)
        return check_pieces(self.name, "replies", pieces, len(numbers))

    def has_replies(self) -> bool:
        return self.inner.has_replies()

    def judges(self) -> bool:
        return self.inner.judges()

    def are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        with self._telling("are_right"):
            return self.inner.are_right(numbers, seqs, data)

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        with self._telling("which_right"):
            return self.inner.which_right(numbers, seqs, data)

    def took(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> None:
        with self._telling("took"):
            self.inner.took(numbers, seqs, data)

    def reply(self, number: int, seq: int) -> bytes:
        with self._telling("reply"):
            return self.inner.reply(number, seq)

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        with self._telling("accepts"):
            return self.inner.accepts(number, seq, reply)

    def reply_size(self, number: int, seq: int) -> int:
        with self._telling("reply_size"):
            return self.inner.reply_size(number, seq)

    def reply_sizes(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32] | None:
        with self._telling("reply_sizes"):
            return self.inner.reply_sizes(numbers, seqs)

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        with self._telling("frame"):
            return self.inner.frame(number, seq, stream)

    def has_ends(self) -> bool:
        return self.inner.has_ends()

    def doubts(self) -> list[str]:
        with self._telling("doubts"):
            return self.inner.doubts()

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        with self._telling("identify"):
            return self.inner.identify(reply)

    def notes(self) -> list[str]:
        with self._telling("notes"):
            return self.inner.notes()

    def fan_out(self) -> FanOut | None:
        with self._telling("fan_out"):
            return self.inner.fan_out()

    def exchange(self, count: int, depth: int) -> Exchange:
        with self._telling("exchange"):
            made = self.inner.exchange(count, depth)
        if made.scenario is self.inner:
            made.scenario = self
        return made


def check_pieces(name: str, method: str, pieces: object, count: int) -> Ragged:
    """What a scenario's method returned: a piece with a byte in it for each connection.

    Raises ScenarioError for all else, as for a piece that is not inside its memory: it would be
    sent.
    """
    if not isinstance(pieces, Ragged):
        raise ScenarioError(
            f"{name}: {method} returned {type(pieces).__name__}, no c1m.Ragged.",
            "Use c1m.Ragged.of(list of bytes).",
        )
    if len(pieces) != count:
        raise ScenarioError(
            f"{name}: {method} returned {len(pieces)} pieces for {count} connections.",
            "Return one for each.",
        )
    try:
        pieces.check(f"what {method} returned")
    except UsageError as error:
        raise ScenarioError(f"{name}: {error.message}", error.remedy) from None
    if count and int(pieces.lengths.min()) < 1:
        raise ScenarioError(
            f"{name}: {method} returned a piece without a byte.", "Return at least one."
        )
    return pieces
