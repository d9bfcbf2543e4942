"""What random streams of bytes have in common: small changes, and cuts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random


def mutated(random: Random, stream: bytes, tokens: Sequence[bytes], share: float) -> bytes:
    """The stream with a few changes, each with this chance: a token, a byte, a gap, a doubling."""
    while random.random() < share and stream:
        at, to = sorted(random.randrange(len(stream) + 1) for _ in range(2))
        to = min(to, at + 8)
        match random.randrange(4):
            case 0:
                stream = stream[:at] + random.choice(tokens) + stream[to:]
            case 1:
                stream = stream[:at] + random.randbytes(1) + stream[at + 1 :]
            case 2:
                stream = stream[:at] + stream[to:]
            case _:
                stream = stream[:to] + stream[at:]
    return stream


def cut(
    random: Random, stream: bytes, ends: tuple[bytes, ...], *, singly: float, singles: int
) -> list[bytes]:
    """The stream in pieces: its first `singles` bytes one by one with the chance `singly`, before
    each of `ends` up to 0.4, or anywhere."""
    kind = random.random()
    if kind < singly:
        places = list(range(1, min(len(stream), singles)))
    elif kind < 0.4:
        places = [i for i in range(1, len(stream)) if stream.startswith(ends, i)]
    else:
        places = sorted(random.randrange(len(stream) + 1) for _ in range(random.randrange(6)))
    return [stream[i:j] for i, j in pairwise([0, *places, len(stream)]) if i < j]
