"""A load scenario in the batch form: arrays of connections in, arrays of bytes out.

Shows   c1m.Scenario: what many connections say at once, what is right as a reply, and whose a reply
        is; replies that cannot be said beforehand, checked when they come.
Needs   a server; examples/echo.py will do for Orders.
Try it  python examples/echo.py 8001 &
        c1m load tcp://127.0.0.1:8001 --connections 1k --hold 5s --think 1s \
            --scenario examples/load_batch.py:Orders
"""

import re

import numpy as np

import c1m


class Orders(c1m.Scenario):
    """Each connection orders, with its own numbers; the server is to repeat the order."""

    def begin(self, connections: int, seed: int) -> None:
        self.order = c1m.Message("order {n}-{seq} {random:24}\n", connections, seed)

    def requests(self, numbers: np.ndarray, seqs: np.ndarray) -> c1m.Ragged:
        return self.order.pieces(numbers, seqs)

    def replies(self, numbers: np.ndarray, seqs: np.ndarray) -> c1m.Ragged:
        return self.order.pieces(numbers, seqs)

    def which_right(
        self, numbers: np.ndarray, seqs: np.ndarray, data: c1m.Ragged
    ) -> np.ndarray:  # by arrays: the default compares one after the other
        return self.order.matching(numbers, seqs, data)

    def identify(self, reply: bytes) -> tuple[int, int] | None:
        """Whose a reply is: so swapped, doubled and late ones are told from garbage."""
        match = re.match(rb"order (\d+)-(\d+) ", reply)
        return None if match is None else (int(match[1]), int(match[2]))


class Clock(c1m.Scenario):
    """Asks for the time in seconds. It may not go back; what it is nobody knows before."""

    def begin(self, connections: int, seed: int) -> None:
        self.latest = 0

    def requests(self, numbers: np.ndarray, seqs: np.ndarray) -> c1m.Ragged:
        return c1m.Ragged.repeat(b"TIME\n", len(numbers))

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        return stream.find(b"\n") + 1

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        return re.fullmatch(rb"\d{1,12}\n", reply) is not None

    def took(self, numbers: np.ndarray, seqs: np.ndarray, data: c1m.Ragged) -> None:
        self.latest = max(self.latest, *(int(piece) for piece in data.pieces()))

    def notes(self) -> list[str]:
        return [] if self.latest < 2**33 else [f"The server's clock says {self.latest}."]
