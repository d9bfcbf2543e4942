"""Presence: tells all who look at a page how many they are, at most twice a second.

Shows   a channel for each path, its size, and on_tick as a timer.
Needs   nothing else.
Try it  python examples/presence.py 8000
        python -m websockets ws://127.0.0.1:8000/news/1      (pip install websockets)
"""

import sys

import numpy as np

import c1m


class Presence(c1m.WebSocketApp):
    def on_start(self, server: c1m.WebSocketServer) -> None:
        self.paths = np.empty(server.capacity, object)  # that each slot looks at
        self.changed: set[str] = set()
        self.due_ns = 0

    def on_open(self, batch: c1m.ConnectBatch, server: c1m.WebSocketServer) -> None:
        for path, slots in batch.by(batch.paths()):  # those of the same page at once
            self.paths[slots] = path
            server.subscribe(slots, path)
            self.changed.add(path)

    def on_close(self, batch: c1m.GoneBatch, server: c1m.WebSocketServer) -> None:
        self.changed.update(self.paths[batch.slots])

    def on_tick(self, now_ns: int, server: c1m.WebSocketServer) -> int | None:
        if self.changed and now_ns >= self.due_ns:
            while self.changed:
                path = self.changed.pop()
                server.publish(path, f"{len(server.subscribers(path))}")
            self.due_ns = now_ns + 500_000_000
        return self.due_ns if self.changed else None


c1m.serve(Presence(), f"http://127.0.0.1:{sys.argv[1]}")
