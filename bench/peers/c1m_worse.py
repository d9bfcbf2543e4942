"""c1m's echo made worse on purpose, for measuring what `c1m compare` finds.

Usage: c1m_worse.py PORT WORK_US DELAY_US. Before each batch of replies the server works for WORK_US
microseconds of processor time and sleeps for DELAY_US.
"""

import sys
import time

import c1m


class WorseEcho(c1m.App):
    """Sends every byte back, later than it could."""

    def __init__(self, work_us: int, delay_us: int) -> None:
        self._work_ns, self._delay_s = 1_000 * work_us, delay_us / 1e6

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        """See App."""
        if self._delay_s:
            time.sleep(self._delay_s)
        end = time.thread_time_ns() + self._work_ns
        while self._work_ns and time.thread_time_ns() < end:
            pass
        server.send(batch.slots, batch.data)


if __name__ == "__main__":
    _, port, work_us, delay_us = sys.argv
    c1m.serve(WorseEcho(int(work_us), int(delay_us)), f"tcp://127.0.0.1:{port}")
