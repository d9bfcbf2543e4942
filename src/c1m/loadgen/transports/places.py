"""Requests that differ by connection: the places of a template in their target and fields. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.scenarios.expected import with_braces
from c1m.scenarios.messages import Message, Numbers


class Places:
    """Those of a request's target and fields, for connections 0 .. `count` - 1.

    {n} is the connection, `first` for connection 0; {seq} is 0: a connection asks once.
    """

    def __init__(
        self, target: str, fields: Sequence[str], count: int, seed: int, first: int = 0
    ) -> None:
        made = [(text, Message(with_braces(text), count, seed, is_kept=False, first=first))
                for text in (target, *fields)]  # fmt: skip
        self._texts = [(text.encode(), each) for text, each in made if each.one(0) != text.encode()]

    def put_in(self, numbers: Numbers, requests: Ragged) -> Ragged:
        """Requests of these connections, in which the texts stand as they were given."""
        if not self._texts:
            return requests
        made, zeros = requests.pieces(), np.zeros(len(numbers), np.int64)
        for text, message in self._texts:
            own = message.pieces(numbers, zeros).pieces()
            made = [each.replace(text, mine, 1) for each, mine in zip(made, own, strict=True)]
        return Ragged.of(made)
