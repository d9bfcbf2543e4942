"""The client's side of the handshake (RFC 6455, 4.1), of many connections at once. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Sequence
from hashlib import sha1

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.protocols.http.replies import ReplyHead
from c1m.protocols.websocket.handshake import GUID

_LETTERS = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8
)
_KEY = 22  # letters of 16 bytes in base64; "==" is behind them


class Upgrades:
    """Makes requests to upgrade, alike but for their keys, which are drawn at random."""

    def __init__(
        self, target: str, host: str, fields: Sequence[str], rng: np.random.Generator
    ) -> None:
        before = (
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: "
        )
        behind = "".join(f"{field}\r\n" for field in ["==", "Sec-WebSocket-Version: 13", *fields])
        request = before.encode() + bytes(_KEY) + behind.encode() + b"\r\n"
        self._request = np.frombuffer(request, np.uint8)
        self._key = slice(len(before.encode()), len(before.encode()) + _KEY)
        self._rng = rng

    def make(self, count: int) -> tuple[Ragged, list[bytes]]:
        """So many requests, and the Sec-WebSocket-Accept that answers each."""
        drawn = self._rng.integers(0, 64, (count, _KEY), np.uint8)
        drawn[:, -1] &= 0x30  # the last two of 128 bits
        letters = _LETTERS[drawn]
        rows = np.tile(self._request, (count, 1))
        rows[:, self._key] = letters
        size = len(self._request)
        lengths = np.full(count, size, np.int32)
        requests = Ragged(rows.reshape(-1), np.arange(count, dtype=np.int64) * size, lengths)
        keys, rest = letters.tobytes(), b"==" + GUID
        accepts = [
            b64encode(sha1(keys[at : at + _KEY] + rest).digest())
            for at in range(0, len(keys), _KEY)
        ]
        return requests, accepts


def wrong_in(head: ReplyHead, accept: bytes, offered: Collection[bytes] = ()) -> str:
    """The field that is wrong in a response of status 101 (RFC 6455, 4.1); "": none is.

    `offered`: subprotocols. Extensions were not.
    """
    if b"websocket" not in head.tokens(b"upgrade"):
        return "Upgrade"
    if b"upgrade" not in head.tokens(b"connection"):
        return "Connection"
    if head.get(b"sec-websocket-accept") != accept:
        return "Sec-WebSocket-Accept"
    if head.get(b"sec-websocket-extensions") is not None:
        return "Sec-WebSocket-Extensions"
    protocol = head.get(b"sec-websocket-protocol")
    is_asked = protocol is None or protocol in offered
    return "" if is_asked else "Sec-WebSocket-Protocol"
