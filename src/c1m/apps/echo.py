"""Sends every byte back, in order."""

from __future__ import annotations

from c1m.server.server import App, DataBatch, Server


class Echo(App):
    """Echo: what came goes back straight out of the memory it came in."""

    def on_data(self, batch: DataBatch, server: Server) -> None:
        server.send(batch.slots, batch.data)
