"""Prices: sends to each client the symbols that it asked for, as often as they change.

Shows   a channel for each symbol, clients that ask for the same taken together, columns of prices;
        what a client gets of one tick is one send.
Needs   nothing else.
Try it  python examples/prices.py 8000 10      (port, changes a second)
        python -m websockets "ws://127.0.0.1:8000/?symbols=S001,S007"      (pip install websockets)
"""

import sys

import numpy as np

import c1m

SYMBOLS = np.array([f"S{number:03}" for number in range(1000)])


class Prices(c1m.WebSocketApp):
    def on_start(self, server: c1m.WebSocketServer) -> None:
        self.rng = np.random.default_rng()
        self.prices = np.full(len(SYMBOLS), 100.0)
        self.due_ns = 0

    def on_open(self, batch: c1m.ConnectBatch, server: c1m.WebSocketServer) -> None:
        for asked, slots in batch.by(batch.query("symbols")):
            for symbol in np.intersect1d(asked.split(","), SYMBOLS).tolist():
                server.subscribe(slots, symbol)

    def on_tick(self, now_ns: int, server: c1m.WebSocketServer) -> int:
        if now_ns >= self.due_ns:
            moved = np.flatnonzero(self.rng.random(len(SYMBOLS)) < 0.1)
            self.prices[moved] += self.rng.normal(size=len(moved))
            for symbol, price in zip(SYMBOLS[moved].tolist(), self.prices[moved], strict=True):
                server.publish(symbol, f"{symbol} {price:.2f}")
            self.due_ns = now_ns + 1_000_000_000 // int(sys.argv[2])
        return self.due_ns


c1m.serve(Prices(), f"http://127.0.0.1:{sys.argv[1]}")
