"""Broadcaster: pushes one payload to every open connection at an interval.

Shows   server.broadcast (one payload, held once, whatever the number of connections), on_tick as a
        timer, and backpressure: who does not read misses payloads and costs no memory.
Needs   nothing else.
Try it  python examples/broadcaster.py 8001 0.5             (port, seconds)
        nc 127.0.0.1 8001
"""

import sys

import c1m


class Broadcaster(c1m.App):
    def __init__(self, interval_s: float) -> None:
        self.interval_ns = int(interval_s * 1e9)
        self.due_ns = 0
        self.rounds = 0
        self.payloads = 0

    def on_tick(self, now_ns: int, server: c1m.Server) -> int | None:
        if server.is_stopping:  # on_stop has said the last word
            return None
        if now_ns >= self.due_ns:
            self.due_ns = now_ns + self.interval_ns
            self.rounds += 1
            reached = server.broadcast(b"round %d\n" % self.rounds)
            self.payloads += reached
            print(f"round {self.rounds}: {reached:,} connections")
        return self.due_ns  # call me again then, or earlier when something comes

    def on_stop(self, server: c1m.Server) -> None:
        self.payloads += server.broadcast(b"good-bye\n")


if __name__ == "__main__":
    port = sys.argv[1] if len(sys.argv) > 1 else "8001"
    interval_s = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    app = Broadcaster(interval_s)
    c1m.serve(app, f"tcp://127.0.0.1:{port}")
    print(f"{app.rounds:,} rounds, {app.payloads:,} payloads")
