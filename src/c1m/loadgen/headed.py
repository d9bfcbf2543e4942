"""Connections that begin with a PROXY header, as if a proxy had passed a client on.

Each has a client of its own, made up: 198.18.0.0/15 is for tests (RFC 2544, C.2.2).
"""

from __future__ import annotations

import numpy as np

from c1m.engine.contract import Engine, Slots
from c1m.engine.decorated import Decorated
from c1m.engine.ragged import Ragged
from c1m.protocols.proxy import SIGNATURE

FIRST, COUNT = 0xC6120000, 1 << 17  # 198.18.0.0, and how many addresses there are from there on
PORT = 1024  # of the first client at each
ALIKE = SIGNATURE + bytes((0x21, 0x11, 0, 12))  # version 2, PROXY, TCP over IPv4
BINARY = np.dtype(
    [("alike", "V16"), ("host", ">u4"), ("to", ">u4"), ("port", ">u2"), ("to_port", ">u2")]
)


def headers(slots: Slots, version: str, first: int = 0) -> Ragged:
    """A header for each: of the client with that number, from `first` on."""
    rows = np.zeros(len(slots), BINARY)
    rows["alike"] = np.void(ALIKE)
    numbers = first + slots.astype(np.int64)
    rows["host"], rows["port"] = FIRST + numbers % COUNT, PORT + numbers // COUNT
    rows["to"], rows["to_port"] = 0xC0000201, 443  # 192.0.2.1
    if version == "v2":
        size = BINARY.itemsize
        places = np.arange(len(slots), dtype=np.int64) * size
        return Ragged(rows.view(np.uint8), places, np.full(len(slots), size, np.int32))
    lines = []
    for host, port in zip(rows["host"].tolist(), rows["port"].tolist(), strict=True):
        lines.append(
            b"PROXY TCP4 %d.%d.%d.%d 192.0.2.1 %d 443\r\n" % (*host.to_bytes(4, "big"), port)
        )
    return Ragged.of(lines)


class HeaderEngine(Decorated):
    """See engine.contract.Engine. Takes over `inner`."""

    def __init__(self, inner: Engine, version: str, first: int = 0) -> None:
        super().__init__(inner)
        self._version, self._first = version, first

    def _begin_connected(self, slots: Slots) -> None:
        super()._begin_connected(slots)
        self._inner.send(slots, headers(slots, self._version, self._first))
