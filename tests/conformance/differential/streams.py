"""Streams that are not quite the protocol, to both servers: what each says, and whether it ends.

Left out is where redis-server's own answer hangs on the pieces in which a stream comes, or on how C
ends a text: lines beyond 64 KiB, bytes of zero, and what was said before a browser is sent away.
"""

from __future__ import annotations

import contextlib
import time
from random import Random

from .playing import Player
from .servers import ARRIVAL_S

PIECES = [
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\n",
    b"PING\r\n",
    b"ECHO hello\r\n",
    b'ECHO "a b\\x00\\n"\r\n',
    b"ECHO 'it\\'s'\r\n",
    b'ECHO "un\r\n',
    b"\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*x\r\n",
    b"*1\r\n:1\r\n",
    b"*1\r\n$x\r\n",
    b"*1048577\r\n",
    b"*1\r\n$536870913\r\n",
    b"*2\r\n$4\r\nECHO\r\n$3\r\nab\r\n\r\n",
    b"PING\n",
    b"  PING  \r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nh\r\nll\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
    b"*1\n$4\r\nPING\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$+4\r\nPING\r\n",
    b'ECHO "\\xzz\\q"\r\n',
    b'ECHO a"b"\r\n',
    b'ECHO "a"b\r\n',
    b"GET\r\n",
    b"*1\r\n$3\r\nGET\r\n",
    b"$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$4\r\n\xff\xfe\r\n\r\n",
    b"QUIT\r\n",
    b"*1\r\n$4\r\nquit\r\n",
]
MARKS = b"\r\n$*0123456789-+ \"'\\xab"


def stream(draw: Random) -> bytes:
    """A few pieces, in every second of which some bytes are wrong."""
    made = bytearray().join(draw.choices(PIECES, k=draw.randint(1, 5)))
    for _ in range(draw.randint(1, 3) if draw.random() < 0.5 else 0):
        at = draw.randrange(len(made) + 1)
        made[at : at + draw.randint(0, 1)] = bytes(draw.choices(MARKS, k=draw.randint(0, 1)))
    return bytes(made)


def differing(player: Player, said: bytes, cut: int) -> tuple[str, str] | None:
    """What both servers say to a stream that comes in two pieces, where that is not the same."""
    pair = player.pair()
    sides = (pair.theirs, pair.ours)
    for piece in (said[:cut], said[cut:]):
        for side in sides:
            with contextlib.suppress(ConnectionError):  # it has ended
                side.send(piece)
        player.settle()
    got = ["", ""]
    deadline = time.monotonic() + ARRIVAL_S
    while time.monotonic() < deadline:
        for at, side in enumerate(sides):
            got[at] += repr(side.now())[2:-1]
        if got[0] == got[1] and pair.theirs.has_ended == pair.ours.has_ended:
            break
        time.sleep(0.002)
    ends = [" and ends" * side.has_ended for side in sides]
    pair.close()
    if (got[0], ends[0]) == (got[1], ends[1]) or "$5\\r\\nproto" in got[0]:  # HELLO has a number
        return None
    return got[0] + ends[0], got[1] + ends[1]
