"""c1m's echo, and on SIGUSR1 a broadcaster until SIGUSR2. Usage: c1m_million.py PORT ENGINE.

A million connections take a while to open: so the same ones serve both workloads. What is sent to a
broadcaster goes to every open connection.
"""

import signal
import sys
from types import FrameType

import c1m


class EchoOrBroadcast(c1m.App):
    """Echoes as c1m_echo does; broadcasts as c1m_broadcast does."""

    def echo(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        """Everything back to where it is from."""
        server.send(batch.slots, batch.data)

    def broadcast(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        """Each piece to all."""
        for piece in batch.data.pieces():
            server.broadcast(bytes(piece))

    def __init__(self) -> None:
        self.on_data = self.echo  # type: ignore[method-assign]
        signal.signal(signal.SIGUSR1, self.turn_to_broadcast)
        signal.signal(signal.SIGUSR2, self.turn_to_echo)

    def turn_to_broadcast(self, number: int, frame: FrameType | None) -> None:
        """From the next batch on."""
        self.on_data = self.broadcast  # type: ignore[method-assign]

    def turn_to_echo(self, number: int, frame: FrameType | None) -> None:
        """From the next batch on."""
        self.on_data = self.echo  # type: ignore[method-assign]


if __name__ == "__main__":
    c1m.serve(EchoOrBroadcast(), f"tcp://127.0.0.1:{sys.argv[1]}", engine=sys.argv[2])
