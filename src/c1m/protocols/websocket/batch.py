"""The batch form of frames: a tick's pieces that are whole small messages, as arrays. Pure.

What is not such (fragments, control frames, what is not whole) is for the plain form (`frames`); a
property test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.protocols.websocket.frames import Op, frame


@dataclass(slots=True)
class Frames:
    """Messages out of pieces: message i came in piece `rows[i]` (int64[n], ascending).

    `is_plain` bool[pieces]: which pieces held whole messages only; no message is of another one.
    """

    rows: npt.NDArray[np.int64]
    messages: Ragged
    is_text: npt.NDArray[np.bool_]
    is_plain: npt.NDArray[np.bool_]

    def take(self, which: npt.NDArray[np.bool_]) -> Frames:
        """Some of the messages: bool[n]."""
        return Frames(
            self.rows[which], self.messages.take(which), self.is_text[which], self.is_plain
        )


def whole_frames(data: Ragged, message_max: int, *, is_server: bool = True) -> Frames:
    """The messages of all pieces that hold nothing but whole, unfragmented ones."""
    count = len(data)
    return Frames(
        np.zeros(0, np.int64), Ragged.empty(), np.zeros(0, np.bool_), np.zeros(count, np.bool_)
    )


def frames_of(op: Op, messages: Ragged) -> Ragged:
    """Each message in an unmasked frame of its own, as a server sends it."""
    return Ragged.of([frame(op, piece) for piece in messages.pieces()])


def masked_frames_of(op: Op, messages: Ragged, masks: npt.NDArray[np.uint32]) -> Ragged:
    """The same as a client sends it: masks uint32[n]."""
    pairs = zip(messages.pieces(), masks.tolist(), strict=True)
    return Ragged.of([frame(op, piece, mask.to_bytes(4, "little")) for piece, mask in pairs])
