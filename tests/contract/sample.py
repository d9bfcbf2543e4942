"""Bytes and addresses for the contract's tests."""

from __future__ import annotations

import functools

import numpy as np

from c1m.addresses import Endpoint, SockAddrs, pack_many


@functools.lru_cache(16)
def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not repeat."""
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def to(endpoint: Endpoint, count: int = 1) -> SockAddrs:
    """The same destination `count` times."""
    one = pack_many(endpoint.family, [endpoint.host], [endpoint.port])
    return one.take(np.zeros(count, np.int32))
