"""Makes a sequence that shows a difference as short as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .sequences import Unit

TRIALS_MAX = 600


def shrunk(units: Sequence[Unit], differs: Callable[[Sequence[Unit]], bool]) -> list[Unit]:
    """Units of which none can be left out; `differs` plays some and says whether it still shows.

    Parts are left out that are half of it, then a quarter, and so on.
    """
    left = list(units)
    size = max(len(left) // 2, 1)
    trials = 0
    while trials < TRIALS_MAX:
        at = len(left)
        has_shrunk = False
        while at > 0 and trials < TRIALS_MAX:
            at = max(at - size, 0)
            trial = left[:at] + left[at + size :]
            trials += 1
            if trial and differs(trial):
                left = trial
                has_shrunk = True
        if size == 1 and not has_shrunk:
            break
        size = max(size // 2, 1)
    return left
