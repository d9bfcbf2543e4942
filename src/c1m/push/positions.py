"""Which publication of another server is which here: ids by who gave them and number. Pure.

Servers with one broker get the same publications in the same order, and each numbers them for
itself. An id names the server that published and its own number, so who comes from another server
with an id finds its place here. Of one publisher numbers rise by one here, too, as long as nobody
else publishes: only the first of such a run is kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict

RUNS_MAX = 1 << 18  # of one publisher: some 4 MB
PUBLISHERS_MAX = 1000


class _Runs:
    """Of one publisher: its number `starts[i]` was `places[i]` here, and so on until the next."""

    __slots__ = ("last", "places", "starts")

    def __init__(self) -> None:
        self.starts, self.places = array("q"), array("q")
        self.last = 0


class Positions:
    """Places of publications by publisher and number."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, _Runs] = OrderedDict()

    def add(self, publisher: str, number: int, place: int) -> None:
        """Its publication `number` is the one at `place` here; both rise."""
        runs = self._runs.get(publisher)
        if runs is None:
            runs = self._runs[publisher] = _Runs()
            if len(self._runs) > PUBLISHERS_MAX:
                self._runs.popitem(last=False)
        self._runs.move_to_end(publisher)
        runs.last = number
        if runs.starts and number - runs.starts[-1] == place - runs.places[-1]:
            return
        runs.starts.append(number)
        runs.places.append(place)
        if len(runs.starts) > RUNS_MAX:
            del runs.starts[: RUNS_MAX // 2], runs.places[: RUNS_MAX // 2]

    def find(self, publisher: str, number: int) -> int | None:
        """Where it is, or was to be; None: it is not known here."""
        runs = self._runs.get(publisher)
        if runs is None or number > runs.last:
            return None
        row = bisect_right(runs.starts, number) - 1
        if row < 0:
            return None
        place = runs.places[row] + number - runs.starts[row]
        if row + 1 < len(runs.starts):  # what did not come here has the place of the one before it
            place = min(place, runs.places[row + 1] - 1)
        return place

    def __contains__(self, publisher: str) -> bool:
        return publisher in self._runs
