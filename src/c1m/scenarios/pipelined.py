"""Pieces that hold several replies, where requests were sent without waiting. Pure, by batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.scenarios.messages import Numbers

if TYPE_CHECKING:
    from c1m.scenarios.base import Scenario


def split(
    scenario: Scenario, numbers: Numbers, seqs: Numbers, waiting: Numbers, data: Ragged
) -> tuple[Numbers, Numbers, Ragged]:
    """Cut each piece where whole right replies would end, as many as its connection waits for.

    Piece i is of connection numbers[i], whose oldest request is seqs[i] of waiting[i]; each
    connection has one piece. Returns the m parts: which piece int64[m] it is of, its seq int64[m],
    its bytes; those of one piece are in order. The slow form, for each piece:

        at = 0
        for seq in range(seqs[i], seqs[i] + waiting[i]):
            size = scenario.reply_size(numbers[i], seq)
            if not 0 < size <= len(piece) - at:
                break
            yield i, seq, piece[at : at + size]
            at += size
    """
    live = np.arange(len(numbers))
    at = np.zeros(len(numbers), np.int64)
    index: list[Numbers] = []
    later: list[Numbers] = []
    starts: list[Numbers] = []
    lengths: list[Numbers] = []
    for ahead in range(int(waiting.max(initial=0))):
        live = live[waiting[live] > ahead]
        known = scenario.reply_sizes(numbers[live], seqs[live] + ahead)
        if known is None:
            break
        sizes = known.astype(np.int64)
        fits = (sizes > 0) & (at[live] + sizes <= data.lengths[live])
        live, sizes = live[fits], sizes[fits]
        if not len(live):
            break
        index.append(live)
        later.append(seqs[live] + ahead)
        starts.append(data.offsets[live] + at[live])
        lengths.append(sizes)
        at[live] += sizes
    if not index:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), Ragged.empty()
    of = np.concatenate(index)
    order = np.argsort(of, kind="stable")
    parts = Ragged(
        data.memory,
        np.concatenate(starts)[order],
        np.concatenate(lengths)[order].astype(np.int32),
        data.address,
    )
    return of[order], np.concatenate(later)[order], parts
