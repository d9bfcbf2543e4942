"""The 64 bits that a submission carries and its completion brings back.

    63            48 47           32 31                                    0
    [  generation   ][  op          ][  slot (or listener, for accepts)    ]

Seen as two little-endian uint32: word 0 is the slot, word 1 the *tag*, generation << 16 | op. Each
part stands on a boundary of its own size, so that an array of completions is taken apart by views
instead of by arithmetic. A completion whose generation is not the slot's any more is late: its
connection is gone. For accepts the generation's place holds the ring that accepts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

OP = 0xFFFF  # of a tag
GENERATION_SHIFT = 16  # of a tag


class Op:
    """What a submission was for. Plain numbers: a look at an enumeration's member costs as much as
    a small array operation, and each batch makes a dozen.
    """

    NONE = 0  # nobody waits for it
    ACCEPT = 1
    RECEIVE = 2
    SEND = 3  # tried at once, completes only if it was short or refused
    OUTBOX = 4  # the outbox's head: completes with how much of it went
    CONNECT = 5
    SETUP = 6  # socket, option and bind before a connect: completes only if it failed
    WAKE = 7
    POLL = 8  # a parked connection has something
    READ = 9  # a single receive after a poll
    WRITABLE = 10  # there may be room for output again


def pack(
    slots: npt.NDArray[np.int32], generations: npt.NDArray[np.uint16], op: int
) -> npt.NDArray[np.uint64]:
    """User data for an array of slots.

    The scalar form: `slot | op << 32 | generation << 48`.
    """
    tags = generations.astype(np.uint64) << np.uint64(48)
    tags |= np.uint64(op << 32)
    tags |= slots.astype(np.uint64)
    return tags


def pack_one(slot: int, generation: int, op: int) -> int:
    """User data for one slot: the scalar reference of `pack`."""
    return slot | op << 32 | generation << 48
