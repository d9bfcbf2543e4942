"""PROXY headers of a load client: each connection has a client of its own."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.engine.names import address_of
from c1m.loadgen.headed import COUNT, headers
from c1m.protocols.proxy import read


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_each_has_a_client_of_its_own(version: str) -> None:
    slots = np.array([0, 1, 255, 256, COUNT - 1, COUNT, 3_999_999], np.int32)
    pieces = headers(slots, version)
    pieces.check()
    found = [read(piece) for piece in pieces.pieces()]
    clients = []
    for piece, header in zip(pieces.pieces(), found, strict=True):
        assert header is not None and (header.size, f"v{header.version}") == (len(piece), version)
        assert header.destination is not None and address_of(header.destination)[1] == 443
        clients.append(address_of(header.source or b""))
    assert clients == [
        ("198.18.0.0", 1024), ("198.18.0.1", 1024), ("198.18.0.255", 1024), ("198.18.1.0", 1024),
        ("198.19.255.255", 1024), ("198.18.0.0", 1025), ("198.19.8.255", 1054),
    ]  # fmt: skip


def test_none() -> None:
    assert (
        len(headers(np.zeros(0, np.int32), "v1")) == len(headers(np.zeros(0, np.int32), "v2")) == 0
    )
