"""What a connection to a server of Redis's protocol says first: AUTH, SELECT. Pure.

It is open when all of that was answered with OK. From then on bytes go through unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import AUTH_REFUSED, NOT_REDIS, SELECT_REFUSED
from c1m.loadgen.transports.base import NOBODY, SAID_MAX, Rows, Taken, Transport, chosen
from c1m.protocols.resp.replies import command
from c1m.scenarios.messages import Numbers

LINE_MAX = 1024  # bytes of a reply
_NONE, _FAILED = 0, 255  # instead of how many replies are still to come
_REASONS = {b"AUTH": AUTH_REFUSED, b"SELECT": SELECT_REFUSED}


class LoginTransport(Transport):
    """The same `commands` on each of up to `count` connections. `secret` is never repeated."""

    wraps = False

    def __init__(self, count: int, commands: Sequence[Sequence[bytes]], secret: str = "") -> None:
        self._said = np.frombuffer(b"".join(command(*each) for each in commands), np.uint8)
        self._reasons = [_REASONS[words[0]] for words in commands]
        self._secret = secret
        self._left = np.zeros(count, np.uint8)  # replies that are still to come
        self._shaking = 0  # connections with any
        self._parts: dict[int, bytes] = {}  # of a reply

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: all of them say the same."""
        count = len(numbers)
        self._left[numbers] = len(self._reasons)
        self._shaking += count
        lengths = np.full(count, len(self._said), np.int32)
        return numbers, Ragged(self._said, np.zeros(count, np.int64), lengths)

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """See Transport."""
        if not self._shaking:
            return Taken(messages=[(numbers, data)])
        taken, rows = Taken(), Rows()
        is_shaking = self._left.take(numbers) != _NONE
        for row in np.flatnonzero(is_shaking).tolist():
            self._shake(int(numbers[row]), data.piece(row), taken, rows)
        rows.into(taken)
        if not is_shaking.all():
            taken.messages.append(chosen(numbers, data, ~is_shaking))
        return taken

    def _shake(self, number: int, piece: bytes, taken: Taken, rows: Rows) -> None:
        """What came on a connection that was not open before this tick."""
        if self._left[number] == _NONE:  # it was opened by what came before this
            rows.messages.append((number, piece))
            return
        stream = self._parts.pop(number, b"") + piece
        while stream and (left := int(self._left[number])) != _FAILED:
            line, end, rest = stream.partition(b"\r\n")
            if line[:1] not in (b"+", b"-") or len(line) > LINE_MAX:
                self._fail(number, NOT_REDIS, line, taken)
            elif not end:
                self._parts[number] = stream
                return
            elif line[:1] == b"-":
                self._fail(number, self._reasons[-left], line[1:], taken)
            else:
                self._left[number], stream = left - 1, rest
                if left == 1:
                    self._shaking -= 1
                    rows.ready.append(number)
                    if rest:
                        rows.messages.append((number, rest))
                    return

    def _fail(self, number: int, reason: int, said: bytes, taken: Taken) -> None:
        self._left[number] = _FAILED
        text = said.decode("utf-8", "replace")  # an unknown command is repeated with its arguments
        if self._secret:
            text = text.replace(self._secret, "***")
        taken.failed.append((number, reason))
        taken.said.setdefault(reason, text[:SAID_MAX])

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport: as they are."""
        return messages

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: nobody."""
        return NOBODY, Ragged.empty()

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        was_shaking = self._left.take(numbers) != _NONE
        self._shaking -= int(was_shaking.sum())
        self._left[numbers] = _NONE
        if self._parts:
            for number in numbers.tolist():
                self._parts.pop(number, None)

    def is_idle(self, number: int) -> bool:
        """See Transport: never."""
        return False
