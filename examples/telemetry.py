"""Telemetry: counts records of 16 bytes (device, sequence, value) from every connection.

Shows   array operations over all that a tick brought, no loop over connections; half a record
        waits in a c1m.RecordInbox.
Needs   nothing else.
Try it  python examples/telemetry.py 8001
        head -c 1600 /dev/zero | nc -N 127.0.0.1 8001       (100 records of device 0)
"""

import sys

import numpy as np

import c1m

RECORD = np.dtype([("device", "<u4"), ("sequence", "<u4"), ("value", "<f8")])
DEVICES = 1 << 16  # records of devices beyond that are counted as unknown


class Collector(c1m.App):
    def __init__(self) -> None:
        self.counts = np.zeros(DEVICES, np.int64)
        self.sums = np.zeros(DEVICES)
        self.unknown = self.cut_off = self.due_ns = 0

    def on_start(self, server: c1m.Server) -> None:
        self.inbox = c1m.RecordInbox(RECORD, server.capacity)

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        _, records = self.inbox.take(batch.slots, batch.data)
        known = records[records["device"] < DEVICES]
        self.unknown += len(records) - len(known)
        np.add.at(self.counts, known["device"], 1)
        np.add.at(self.sums, known["device"], known["value"])

    def on_eof(self, slots: np.ndarray, server: c1m.Server) -> None:
        self.cut_off += self.inbox.forget(slots)
        server.close(slots)

    def on_close(self, batch: c1m.CloseBatch, server: c1m.Server) -> None:
        self.cut_off += self.inbox.forget(batch.slots)

    def on_tick(self, now_ns: int, server: c1m.Server) -> None:
        if now_ns >= self.due_ns:
            self.due_ns = now_ns + 1_000_000_000
            print(f"{server.statistics.live:,} connections, {self.totals()}")

    def totals(self) -> str:
        devices = np.count_nonzero(self.counts)
        return (
            f"{self.counts.sum():,} records of {devices:,} devices, sum {self.sums.sum():.2f}, "
            f"{self.unknown:,} unknown, {self.cut_off:,} bytes cut off"
        )


if __name__ == "__main__":
    port = sys.argv[1] if len(sys.argv) > 1 else "8001"
    collector = Collector()
    c1m.serve(collector, f"tcp://127.0.0.1:{port}")
    print(f"in all: {collector.totals()}")
