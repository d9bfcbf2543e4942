"""What a server counts, and why its connections ended. Pure."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from c1m.engine.contract import EngineStatistics
from c1m.guard import reasons as guard
from c1m.guard.reasons import Why
from c1m.protocols.proxy import BY_CODE
from c1m.tls import reasons as tls
from c1m.tls.words import words_of


class CloseReason(IntEnum):
    """Why a connection is no longer open; `text` says it to people."""

    text: str

    PEER_EOF = 1, "closed by the peer"  # in good order
    LOCAL = 2, "closed by us"  # the application asked to
    RESET = 3, "reset by the peer"  # its RST, or a send to a peer that is gone
    TIMED_OUT = 4, "timed out"  # the kernel gave up on the peer
    ERROR = 5, "failed"  # any other errno
    IDLE = 6, "idle too long"  # nothing came for the idle timeout
    DRAIN = 7, "closed at shutdown"
    # It took nothing of its output until the linger timeout.
    NOT_READ = 8, "closed by us, and reset because the peer did not read the rest"
    TRUNCATED = 9, "closed by the peer without TLS's close_notify"
    TLS = 10, "ended by an error of TLS"  # an alert, a record that cannot be read
    SILENT = 11, "sent nothing in time"  # no first byte
    UNREAD = 12, "did not read for too long"
    UNSENT = 13, "had more unsent than it may"
    APP = 14, "closed because the application failed"  # `on_error`
    PROCESS = 15, "ended with their process"  # of several, one has died

    def __new__(cls, value: int, text: str = "") -> Self:
        reason = int.__new__(cls, value)
        reason._value_ = value
        reason.text = text
        return reason


_OF_ENGINE = (
    "opening", "never_opened", "received_bytes", "sent_bytes", "unsent_bytes", "limited", "refused",
    "refusal",
)  # fmt: skip
_BY_ERRNO = {
    errno.ECONNRESET: CloseReason.RESET,
    errno.EPIPE: CloseReason.RESET,
    errno.ECONNABORTED: CloseReason.RESET,
    errno.ETIMEDOUT: CloseReason.TIMED_OUT,
    Why.FIRST_BYTE.code: CloseReason.SILENT,
    Why.IDLE.code: CloseReason.IDLE,
    Why.UNREAD.code: CloseReason.UNREAD,
    Why.UNSENT.code: CloseReason.UNSENT,
    Why.UNSENT_SOFT.code: CloseReason.UNSENT,
    Why.UNSENT_TOTAL.code: CloseReason.UNSENT,
}


def reason_of(code: int) -> CloseReason:
    """The reason for an errno (positive) that a receive or a send ended with, or of TLS."""
    if code in _BY_ERRNO:
        return _BY_ERRNO[code]
    if code >= tls.BASE:
        return CloseReason.TRUNCATED if code == tls.TRUNCATED else CloseReason.TLS
    return _BY_ERRNO.get(code, CloseReason.ERROR)


def why_never_opened(code: int) -> str:
    """The same in words for a connection that was accepted, and that no application was told of."""
    if code in guard.BY_CODE:
        said = guard.BY_CODE[code].words
        return said[0].upper() + said[1:]
    if code in BY_CODE:
        return str(BY_CODE[code].value).rstrip(".")
    if code >= tls.BASE:
        return words_of(code)
    return "The server stopped" if code == errno.ECANCELED else reason_of(code).text.capitalize()


def by_words(counts: Mapping[int, int]) -> dict[str, int]:
    """Of connections that were never opened, by why."""
    found: Counter[str] = Counter()
    for code, count in counts.items():
        found[why_never_opened(code)] += count
    return {why: count for why, count in found.most_common() if count}


@dataclass(slots=True)
class ServerStatistics:
    """opened = live + sum of closed, at any time. Bytes are counts since the start.

    Connections whose TLS handshake or PROXY header is not done are `opening`, and in nothing else;
    those that ended so are `never_opened`, by an errno or another reason (`why_never_opened`).
    """

    opened: int = 0
    live: int = 0
    peak: int = 0
    closed: dict[CloseReason, int] = field(default_factory=lambda: dict.fromkeys(CloseReason, 0))
    opening: int = 0
    never_opened: dict[int, int] = field(default_factory=dict)
    spoke_tls: int = 0  # of HTTP's and Redis's clients, where there is none
    failed: dict[str, int] = field(default_factory=dict)  # callbacks that raised, by name
    messages: int = 0  # pieces of data received
    received_bytes: int = 0
    sent_bytes: int = 0
    unsent_bytes: int = 0  # owed to connections that ended first
    ticks: int = 0
    limited: dict[str, int] = field(default_factory=dict)  # which limit acted how often, by option
    refused: dict[str, int] = field(default_factory=dict)  # what the kernel refused, how often
    refusal: str = ""  # the last refusal in a sentence

    def updated(self, engine: EngineStatistics) -> Self:
        """These, with what an engine counts brought up to date."""
        for name in _OF_ENGINE:
            setattr(self, name, getattr(engine, name))
        return self
