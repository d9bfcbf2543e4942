"""c1m as up to a million subscribers of one channel, and as its publisher.

Usage and commands: see client. A connection is open when its SUBSCRIBE is confirmed; the first one
does not subscribe, and publishes.
"""

from __future__ import annotations

import time
from typing import Any

from c1m.engine.contract import Engine
from c1m.results.histogram import Histogram
from c1m.scenarios.redis_subscribe import RedisSubscribe, SubscribedExchange
from million.client import SLEEP_NS, STUCK_NS, Client, Measured, client_of, follow
from million.turns import Numbers

DRAIN_S = 2.0  # for those that had not read to read what is there


class Subscriber(Client):
    """Connection 0 publishes, all others subscribe."""

    round: SubscribedExchange

    def __init__(self, engine: Engine, port: int, most: int, payload: int, server_pid: int) -> None:
        super().__init__(engine, port, most, payload, server_pid)
        scenario = RedisSubscribe("{seq} ".ljust(max(payload - 10, 6), "x"))
        scenario.begin(most, 0)
        made = scenario.exchange(most, 1)
        assert isinstance(made, SubscribedExchange)
        self.echoes = self.round = made

    def publish(self, rounds: int, deaf: int = 0) -> dict[str, Any]:
        """Rounds: one message; the next begins when all have it but the `deaf`, who do not read.

        They read again at the end; `lost` are those whom the server has dropped by then.
        """
        numbers = self.open_numbers()
        who = numbers[1:][:: max((len(numbers) - 1) // deaf, 1)][:deaf] if deaf else numbers[:0]
        self._hear(who, False)
        wrong, before = self.wrong, self.round.received
        extras = self.round.ledger.extras.total()
        seconds: list[float] = []
        self.latency = Histogram()
        measured = Measured.begin(self.server_pid)
        while len(seconds) < rounds and not self.round.ledger.in_flight:
            seconds.append(self._publish_once(numbers[:1]))
        deliveries = self.round.received - before
        figures = measured.figures(deliveries, self.latency, round_seconds=seconds)
        missing = self.round.ledger.in_flight
        wrong = self.wrong - wrong + self.round.ledger.extras.total() - extras
        self._hear(who, True)
        self.idle(DRAIN_S)
        lost = len(numbers) - len(self.open_numbers())
        return {
            **figures, "connections": len(numbers) - 1, "deaf": deaf, "payload": self.payload,
            "expected": len(seconds) * (len(numbers) - 1 - deaf), "lost": lost,
            "errors": 0 if deaf else lost, "unanswered": missing, "mismatches": wrong,
        }  # fmt: skip

    def _hear(self, numbers: Numbers, on: bool) -> None:
        numbers = numbers[self.is_open[numbers]]
        if len(numbers):
            self.engine.receive(self.slots[numbers], on)
            self.round.listen(numbers, on)

    def _publish_once(self, publisher: Numbers) -> float:
        """Seconds until the last of those who are waited for has it."""
        begin = moved = time.monotonic_ns()
        self._request(publisher)
        while self.round.ledger.in_flight and time.monotonic_ns() - moved < STUCK_NS:
            before = self.round.received
            self._take(self.engine.wait(SLEEP_NS), time.monotonic_ns())
            if self.round.received > before:
                moved = time.monotonic_ns()
        return (time.monotonic_ns() - begin) / 1e9


def main() -> None:
    """Run by the command line."""
    client = client_of(Subscriber)
    follow({
        "open": client.open, "publish": client.publish, "idle": client.idle, "keep": client.keep,
    })  # fmt: skip


if __name__ == "__main__":
    main()
