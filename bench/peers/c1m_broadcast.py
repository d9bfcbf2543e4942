"""c1m sending what comes to all connections. Usage: c1m_broadcast.py PORT ENGINE."""

import sys

import c1m


class Broadcast(c1m.App):
    """Each piece that came goes to every open connection."""

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        for piece in batch.data.pieces():
            server.broadcast(bytes(piece))


if __name__ == "__main__":
    c1m.serve(Broadcast(), f"tcp://127.0.0.1:{sys.argv[1]}", engine=sys.argv[2])
