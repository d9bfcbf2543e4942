"""The quickest form of frames: pieces that are one small message each, all of one size. Pure.

So are many games' and feeds'. Where one is not, all are for `batch`; a property test holds the two
equal. Measured: a third of its time for 64 pieces, a quarter for 8,000.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged
from c1m.protocols.framing import windows

FIN_TEXT, FIN_BINARY = 0x81, 0x82
MASKED, SHORT = 0x80, 126
HEADER = 6  # bytes of a client's small frame in front of the payload: two, and the mask

Words = npt.NDArray[np.uint32]


def alike_messages(data: Ragged, message_max: int) -> tuple[int, Bytes] | None:
    """The messages of pieces that each hold one whole frame of a client, all with the same header.

    The first byte of a server's frame with such a message, and uint8[n, m] records: the message
    begins at HEADER, and the two bytes in front of it are that frame's. None: they are not so.
    """
    lengths, memory = data.lengths, data.memory
    size = int(lengths[0]) - HEADER
    if not 0 < size < min(SHORT, message_max + 1) or (lengths != lengths[0]).any():
        return None
    words = (HEADER + size + 3) >> 2
    if int(data.offsets.max()) + 4 * words > len(memory):
        return None
    records: Words = windows(memory, f"V{4 * words}")[data.offsets].view("<u4").reshape(-1, words)
    headers = records[:, 0]
    header = int(headers[0]) & 0xFFFF
    op = header & 0xFF
    if op not in (FIN_TEXT, FIN_BINARY) or header >> 8 != MASKED | size:
        return None
    if ((headers & 0xFFFF) != header).any():
        return None
    # In words, the payload is half a word behind: so is the mask put on it. What stands for the
    # mask's own second half becomes 0.
    masks = (headers & 0xFFFF0000) | (records[:, 1] & 0xFFFF)
    payload = records[:, 1:]
    payload ^= masks[:, None]
    over = 4 * words - HEADER - size
    if over:
        payload[:, -1] &= 0xFFFFFFFF >> 8 * over
    if op == FIN_TEXT and int(np.bitwise_or.reduce(payload, axis=None)) & 0x80808080:
        return None
    records[:, 1] |= op | size << 8
    return op, records.view(np.uint8)
