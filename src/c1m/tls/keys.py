"""Traffic keys of all connections, in one direction, and their cipher suites.

A connection at rest is its traffic secret and the count of its records, in columns; rows that no
connection has had stay untouched, and so take no memory. The key is made of the secret when there
is a record (RFC 8446, 7.3) and kept as an object, `Key`, while that goes on: keys are in two
generations, and those that were not used while one went by are dropped by `sweep`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.kernel import secret_memory
from c1m.tls.suites import SECRET_MAX, SUITES, Suite, cipher_of, next_secret

SEQUENCE_MAX = 1 << 62  # records under one key (RFC 8446, 5.3: they are never counted over)


_IS_CLIENT, _SUITE = 0x80, 0x7F


class Suites:
    """Which cipher suite a connection has, and which side we are: a byte each."""

    def __init__(self, capacity: int) -> None:
        self._column = secret_memory.zeros(capacity, 1).reshape(-1)

    def set(self, slot: int, suite: int, *, is_client: bool) -> None:
        """An index into SUITES."""
        self._column[slot] = suite | (_IS_CLIENT if is_client else 0)

    def of(self, slot: int) -> Suite:
        """The suite."""
        return SUITES[self._column[slot] & _SUITE]

    def is_client(self, slot: int) -> bool:
        """Whether we are."""
        return bool(self._column[slot] & _IS_CLIENT)


class Key:
    """A key in use: what it does, its IV, the records so far, and how many it may be used for."""

    __slots__ = ("count", "iv", "most", "run")

    def __init__(self, run: Callable[[bytes, Any, bytes], bytes], iv: int, count: int, most: int):
        self.run, self.iv, self.count, self.most = run, iv, count, most


class Keys:
    """The keys by slot. `young` has those that were used lately: look there, then call `of`."""

    def __init__(self, capacity: int, operation: str, records_max: int = SEQUENCE_MAX) -> None:
        """`operation`: of the AEAD, encrypt or decrypt. `records_max`: no key is used for more."""
        self.young: dict[int, Key] = {}
        self._old: dict[int, Key] = {}
        self._operation = operation
        self._records_max = records_max
        self._top = 0  # no row from here on was ever used
        self._secrets = secret_memory.zeros(capacity, SECRET_MAX)
        self._counts = secret_memory.zeros(capacity, 8).view(np.int64).reshape(-1)

    def set(self, slot: int, secret: bytes, count: int = 0) -> None:
        """Another secret, under which there were `count` records."""
        self._top = max(self._top, slot + 1)
        self._secrets[slot, : len(secret)] = np.frombuffer(secret, np.uint8)
        if count or self._counts[slot]:  # else a page of zeros stays untouched
            self._counts[slot] = count
        self._drop(slot)

    def of(self, slot: int, suite: Suite) -> Key:
        """The key of this connection."""
        key = self.young.get(slot)
        if key is not None:
            return key
        key = self._old.pop(slot, None)
        if key is None:
            aead, iv = cipher_of(suite, self._secret(slot, suite))
            most = min(self._records_max, suite.records_max)
            key = Key(getattr(aead, self._operation), iv, int(self._counts[slot]), most)
        self.young[slot] = key
        return key

    def renew(self, slot: int, suite: Suite) -> None:
        """The next secret, behind a KeyUpdate (RFC 8446, 7.2); the one before is gone."""
        self.set(slot, next_secret(suite, self._secret(slot, suite)))

    def export(self, slot: int, suite: Suite) -> tuple[bytes, int]:
        """The secret and the count of records, for somebody who goes on with them."""
        return self._secret(slot, suite), self.of(slot, suite).count

    def forget(self, slots: int | npt.NDArray[np.integer]) -> None:
        """These connections have ended: their secrets are wiped."""
        self._secrets[slots] = 0
        self._counts[slots] = 0
        for slot in (slots,) if isinstance(slots, int) else slots.tolist():
            self._drop(slot)

    def forget_all(self) -> None:
        """No connection is left."""
        self._secrets[: self._top] = 0
        self.young.clear()
        self._old.clear()

    def sweep(self) -> None:
        """Drop the keys that were not used since the last time."""
        for slot, key in self._old.items():
            self._counts[slot] = key.count
        self._old, self.young = self.young, {}

    def __len__(self) -> int:
        """Keys that are kept as objects."""
        return len(self.young) + len(self._old)

    def _drop(self, slot: int) -> None:
        self.young.pop(slot, None)
        self._old.pop(slot, None)

    def _secret(self, slot: int, suite: Suite) -> bytes:
        return self._secrets[slot, : suite.secret_size].tobytes()
