"""The states of a connection and the one table that moves it from one to the next.

FREE --CONNECT--> CONNECTING --CONNECTED--> OPEN --EOF--> HALF_CLOSED
FREE --ACCEPT--------------------------->   OPEN
OPEN, HALF_CLOSED --LINGER--> LINGERING         (closed by the caller, output still going out)
anything but FREE --FREE--> FREE                (gone, slot given back)
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class ConnState(IntEnum):
    """What a slot is doing."""

    FREE = 0
    CONNECTING = 1
    OPEN = 2
    HALF_CLOSED = 3  # the peer has sent its FIN; we may still send
    LINGERING = 4  # gone for the caller; the outbox is going out


class ConnEvent(IntEnum):
    """What moves it."""

    ACCEPT = 0
    CONNECT = 1
    CONNECTED = 2
    EOF = 3
    LINGER = 4
    FREE = 5


ILLEGAL = 255

_TRANSITIONS = {
    (ConnState.FREE, ConnEvent.ACCEPT): ConnState.OPEN,
    (ConnState.FREE, ConnEvent.CONNECT): ConnState.CONNECTING,
    (ConnState.CONNECTING, ConnEvent.CONNECTED): ConnState.OPEN,
    (ConnState.CONNECTING, ConnEvent.FREE): ConnState.FREE,
    (ConnState.OPEN, ConnEvent.EOF): ConnState.HALF_CLOSED,
    (ConnState.OPEN, ConnEvent.LINGER): ConnState.LINGERING,
    (ConnState.OPEN, ConnEvent.FREE): ConnState.FREE,
    (ConnState.HALF_CLOSED, ConnEvent.LINGER): ConnState.LINGERING,
    (ConnState.HALF_CLOSED, ConnEvent.FREE): ConnState.FREE,
    (ConnState.LINGERING, ConnEvent.FREE): ConnState.FREE,
}


def _table() -> npt.NDArray[np.uint8]:
    table = np.full((len(ConnState), len(ConnEvent)), ILLEGAL, np.uint8)
    for (state, event), following in _TRANSITIONS.items():
        table[state, event] = following
    table.setflags(write=False)
    return table


NEXT = _table()
"""uint8[state, event]: the following state, or ILLEGAL."""
