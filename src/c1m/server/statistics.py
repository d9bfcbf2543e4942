"""What a server counts, and why its connections ended. Pure."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from enum import IntEnum


class CloseReason(IntEnum):
    """Why a connection is no longer open."""

    PEER_EOF = 1  # the peer closed in good order
    LOCAL = 2  # we closed it: the application asked to
    RESET = 3  # the peer's RST, or a send to a peer that is gone
    TIMED_OUT = 4  # the kernel gave up on the peer
    ERROR = 5  # any other errno
    IDLE = 6  # nothing came for the idle time-out
    DRAIN = 7  # the server was stopping
    NOT_READ = 8  # we closed it, and the peer took nothing of its output until the linger time-out


REASON_TEXT = {
    CloseReason.PEER_EOF: "closed by the peer",
    CloseReason.LOCAL: "closed by us",
    CloseReason.RESET: "reset by the peer",
    CloseReason.TIMED_OUT: "timed out",
    CloseReason.ERROR: "failed",
    CloseReason.IDLE: "idle too long",
    CloseReason.DRAIN: "closed at shutdown",
    CloseReason.NOT_READ: "closed by us, and reset because the peer did not read the rest",
}

_BY_ERRNO = {
    errno.ECONNRESET: CloseReason.RESET,
    errno.EPIPE: CloseReason.RESET,
    errno.ECONNABORTED: CloseReason.RESET,
    errno.ETIMEDOUT: CloseReason.TIMED_OUT,
}


def reason_of(code: int) -> CloseReason:
    """The reason for an errno (positive) that a receive or a send ended with."""
    return _BY_ERRNO.get(code, CloseReason.ERROR)


@dataclass(slots=True)
class ServerStatistics:
    """opened = live + sum of closed, at any time. Bytes are counts since the start."""

    opened: int = 0
    live: int = 0
    peak: int = 0
    closed: dict[CloseReason, int] = field(default_factory=lambda: dict.fromkeys(CloseReason, 0))
    messages: int = 0  # pieces of data received
    received_bytes: int = 0
    sent_bytes: int = 0
    unsent_bytes: int = 0  # owed to connections that ended first
    ticks: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # what the kernel refused, how often
    refusal: str = ""  # the last refusal in a sentence
