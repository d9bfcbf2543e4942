"""How many connects may be under way at once. Pure.

A connect counts as under way until the server has been heard of on it: the kernel completes the
handshake by itself, before the server has accepted, so 'connected' says nothing about the accept
queue. If more were under way than the accept queue takes, the kernel would drop SYNs and each such
client would wait 1 s, then 2, then 4, for its retransmission.
"""

from __future__ import annotations

UNKNOWN_QUEUE = 128  # net.core.somaxconn before Linux 5.4, and the backlog many servers ask for
WINDOW_MAX = 4096  # more brings nothing: it is several times what a tick handles


class Window:
    """Connects that may be under way, and a pace where one was asked for.

    `queue` is the length of one target's accept queue (None: not known), `targets` how many share
    the connects evenly.
    """

    def __init__(self, queue: int | None, targets: int) -> None:
        each = UNKNOWN_QUEUE if queue is None else max(queue, 1)
        self.size = min(each * targets, WINDOW_MAX)
        self.pace(None, 0, 0)

    def pace(self, rate_per_s: float | None, started: int, now_ns: int) -> None:
        """From now on, with `started` connects so far, so many a second (None: no pace)."""
        self._rate = rate_per_s
        self._started, self._since_ns = started, now_ns

    @property
    def step(self) -> int:
        """Fewer connects are not worth a tick of their own while others are under way: a quarter
        of the window, and with a pace what comes due in 10 ms.
        """
        step = self.size // 4
        if self._rate is not None:
            step = min(step, int(self._rate / 100))
        return max(step, 1)

    def may_start(self, started: int, under_way: int, now_ns: int) -> int:
        """How many more connects may start now."""
        room = self.size - under_way
        if self._rate is not None:
            due = int(self._rate * (now_ns - self._since_ns) / 1e9) + 1
            room = min(room, due - (started - self._started))
        return max(room, 0)
