"""The batch form of frames that are sent: a message each, made in arrays. Pure.

A property test holds them equal to those of `frames.frame`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged, starts_of
from c1m.protocols.framing import windows
from c1m.protocols.websocket.batch import LONG, MASKED, SHORT, Received
from c1m.protocols.websocket.frames import FIN, Op, frame

FEW = 16  # messages that are looked at one by one: measured, arrays are quicker from here on


def frames_of(op: Op, messages: Ragged) -> Ragged:
    """Each message in an unmasked frame of its own, as a server sends it.

    Messages that came, and have this opcode, are in such a frame already.
    """
    if isinstance(messages, Received):
        framed = _as_they_came(op, messages)
        if framed is not None:
            return framed
    if len(messages) <= FEW or messages.nbytes() > LONG * len(messages):
        return Ragged.of([frame(op, piece) for piece in messages.pieces()])
    return _framed(op, messages, None)


def masked_frames_of(op: Op, messages: Ragged, masks: npt.NDArray[np.uint32]) -> Ragged:
    """The same as a client sends it: masks uint32[n]."""
    if len(messages) <= FEW or messages.nbytes() > LONG * len(messages):
        pairs = zip(messages.pieces(), masks.tolist(), strict=True)
        return Ragged.of([frame(op, piece, mask.to_bytes(4, "little")) for piece, mask in pairs])
    return _framed(op, messages, masks)


def _as_they_came(op: Op, messages: Received) -> Ragged | None:
    """The frames of messages that came; None: not all have this opcode."""
    memory, sizes = messages.memory, messages.lengths
    if len(sizes) <= FEW:
        rooms = [2 if size < SHORT else 4 for size in sizes.tolist()]
        places = messages.offsets.tolist()
        if any(memory[at - room] != FIN | op for at, room in zip(places, rooms, strict=True)):
            return None
        room = np.array(rooms, np.int32)
    else:
        room = np.where(sizes < SHORT, np.int32(2), np.int32(4))
        if (memory[messages.offsets - room] != FIN | op).any():
            return None
    return Ragged(memory, messages.offsets - room, sizes + room, messages.address)


def _framed(op: Op, messages: Ragged, masks: npt.NDArray[np.uint32] | None) -> Ragged:
    """In words: [header][mask][payload], a header of two bytes in the second half of its word."""
    sizes = messages.lengths.astype(np.int64)
    before = 1 if masks is None else 2
    words = before + (sizes + 3 >> 2)
    at = starts_of(words)
    memory = messages.memory
    if int((messages.offsets + 4 * (words - before)).max()) > len(memory) or len(memory) < 4:
        # The last words reach beyond the memory: it needs an end, and is copied for that.
        if len(memory) > max(messages.nbytes(), 1 << 16):
            messages = messages.packed()
        memory = np.concatenate((messages.memory, np.zeros(4, np.uint8)))
    widest = int(words.max())
    if before < widest == int(words.min()):
        out = np.empty((len(sizes), widest), np.uint32)
        payload = windows(memory, f"V{4 * (widest - before)}")[messages.offsets]
        out[:, before:] = payload.view("<u4").reshape(len(sizes), -1)
        if masks is not None:
            out[:, before:] ^= masks[:, None]
        content = out.ravel()
    else:
        index = np.repeat(messages.offsets - 4 * (at + before), words)
        index += np.arange(0, 4 * int(words.sum()), 4)
        content = windows(memory, "<u4")[np.maximum(index, 0, out=index)]
        if masks is not None:
            content ^= np.repeat(masks, words)
    bit = 0 if masks is None else MASKED
    short = (FIN | op) << 16 | (bit | sizes) << 24
    medium = FIN | op | (bit | SHORT) << 8 | sizes >> 8 << 16 | (sizes & 0xFF) << 24
    content[at] = np.where(sizes < SHORT, short, medium).astype(np.uint32)
    if masks is not None:
        content[at + 1] = masks
    skip = np.where(sizes < SHORT, 2, 0)
    lengths = (4 * before - skip + sizes).astype(np.int32)
    return Ragged(content.view(np.uint8), 4 * at + skip, lengths)
