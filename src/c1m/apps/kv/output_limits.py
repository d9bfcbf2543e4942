"""Limits of unread output: Redis's client-output-buffer-limit, by classes of clients.

What becomes of who is over one is in `guard/unread.py`. Who said MONITOR is bounded as a
subscriber is. Clients of the class "normal" are not read from while they are owed much, which is
enough: they do not count in the total.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from c1m.guard.unread import Limit, Unread
from c1m.kv.outbox import Outbox
from c1m.kv.rows import IS_SUBSCRIBER
from c1m.kv.settings import Settings
from c1m.units import NS_PER_S

SETTING = "client-output-buffer-limit"


def limits_of(text: str) -> dict[str, Limit]:
    """By class: what CONFIG GET client-output-buffer-limit shows."""
    words = text.split()
    return {
        kind: Limit(int(hard), int(soft), int(seconds) * NS_PER_S, kind != "normal")
        for kind, hard, soft, seconds in zip(*(words[i::4] for i in range(4)), strict=True)
    }


def output_limits(
    out: Outbox,
    unsent: Callable[[int], int],
    states: npt.NDArray[np.uint8],
    settings: Settings,
    monitors: Sequence[int] = (),
) -> Unread:
    """What looks after who does not read: `states` are the rows of Clients."""
    limits = limits_of(settings[SETTING])

    def limit_of(slot: int) -> Limit:
        is_subscriber = bool(states[slot] & IS_SUBSCRIBER) or slot in monitors
        return limits["pubsub" if is_subscriber else "normal"]

    settings.effects[SETTING] = lambda text: limits.update(limits_of(text))
    return Unread(unsent, limit_of, dropped=out.dropped)
