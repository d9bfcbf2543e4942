"""c1m as up to a million clients of a Redis server, each of which says PING once and then nothing.

Usage and commands: see client.
"""

from __future__ import annotations

from c1m.engine.contract import Engine
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.templates import Ping
from million.client import Client, client_of, follow


class Silent(Client):
    """A connection is open when its PONG is there."""

    def __init__(self, engine: Engine, port: int, most: int, payload: int, server_pid: int) -> None:
        super().__init__(engine, port, most, payload, server_pid)
        scenario = Ping()
        scenario.begin(most, 0)
        self.echoes = self.round = exchange_of(scenario, most, 1)


def main() -> None:
    """Run by the command line."""
    client = client_of(Silent)
    follow({"open": client.open, "idle": client.idle, "keep": client.keep})


if __name__ == "__main__":
    main()
