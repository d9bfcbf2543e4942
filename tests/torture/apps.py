"""What the servers of these tests run besides c1m's own."""

from __future__ import annotations

import asyncio
from typing import cast

import numpy as np

import c1m

CLOSE, RESET = b"CR"  # the first byte of a message behind whose echo the server ends it


class Ending(c1m.App):
    """An echo that closes or resets a connection where its message says so."""

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)
        first = batch.data.memory.take(batch.data.offsets)
        for letter, is_reset in ((CLOSE, False), (RESET, True)):
            slots = batch.slots[first == np.uint8(letter)]
            if len(slots):
                server.close(slots, abort=is_reset)


class WebSocketEcho(c1m.WebSocketApp):
    """Every message goes back."""

    ping_interval = "60s"

    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        for is_text, send in ((True, server.send_text), (False, server.send_binary)):
            these = batch.is_text == is_text
            if these.any():
                send(batch.slots[these], batch.messages.take(these))


class Echo(asyncio.Protocol):
    """An echo as a protocol of asyncio."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_writing(self) -> None:
        """Nobody is read from who does not read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()
