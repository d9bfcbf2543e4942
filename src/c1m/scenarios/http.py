"""Scenario http: one request, again and again, and what its response must be. Pure."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged
from c1m.scenarios.asks import Request, Response, Session
from c1m.scenarios.base import Scenario
from c1m.scenarios.message_rows import equal_to
from c1m.scenarios.messages import Message, Numbers


class Http(Scenario):
    """GET of one path; right is a status below 400."""

    name = "http"
    help = "over http://: asks for the URL; a status below 400 is right"

    def __init__(self) -> None:
        self.ask("/", Session("http", "localhost"))
        self._statuses: Counter[int] = Counter()
        self._known = b""  # the last response that was read and judged
        self._seen: Bytes | None = None

    def ask(self, target: str, session: Session) -> None:
        """What to ask for."""
        self._request = Request("GET", target).encode(session)

    def begin(self, connections: int, seed: int) -> None:
        self._message = Message(self._request, connections, seed)

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._message.pieces(numbers, seqs)

    def judges(self) -> bool:
        return True

    def are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        """Where all are one memory, which was right a moment ago, nothing is compared."""
        is_one = not np.count_nonzero(data.lengths != len(data.memory))
        if is_one and data.memory is self._seen:
            return True
        if not self.which_right(numbers, seqs, data).all():
            return False
        if is_one:
            self._seen = data.memory
        return True

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        """Equal, byte for byte, to one that was right: so is that one."""
        right = equal_to(data, self._known) if self._known else np.zeros(len(data), np.bool_)
        for row in np.flatnonzero(~right).tolist():
            piece = data.piece(row)
            right[row] = self.accepts(int(numbers[row]), int(seqs[row]), piece)
            if right[row]:
                self._known = piece
        return right

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        return Response.of(reply).status < 400

    def took(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> None:
        self._statuses[Response.of(data.piece(0)).status] += len(data)

    def statuses(self) -> dict[str, int]:
        return {str(code): count for code, count in sorted(self._statuses.items())}
