"""What the Autobahn test suite talks to: a server, and a client, that send back what comes.

`python -m tests.conformance.autobahn_peers server PORT [--compress]`, `... client PORT`.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.loadgen.transports.websocket import WebSocketTransport
from c1m.protocols.websocket.frames import Broken, FrameReader, Message, Op, frame
from c1m.scenarios.messages import Numbers
from c1m.server.server import Server
from c1m.web.app import MessageBatch, UpgradeBatch, WebApp

MESSAGE_MAX = 1 << 25
AGENT = "c1m"
ONE = np.zeros(1, np.int64)  # the connection's number
MASK = b"\x37\xfa\x21\x3d"
PATIENCE_S = 60


class Echo(WebApp):
    """Sends back what comes."""

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        self.accept(batch.slots, batch.keys, server)

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        rows = zip(
            batch.slots.tolist(), batch.messages.pieces(), batch.is_text.tolist(), strict=True
        )
        for slot, message, is_text in rows:
            (self.send_text if is_text else self.send_binary)(slot, message, server)


def serve(port: int, compress: bool) -> None:
    """Until it is ended."""
    app = Echo(message_max=MESSAGE_MAX, compress=compress)
    Server(app, f"tcp://127.0.0.1:{port}").run()


class Client:
    """One connection of the load client's transport, by a blocking socket.

    A transport tells no texts from binary messages, since scenarios do not: what came as which is
    read once more.
    """

    def __init__(self, port: int, target: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.transport = WebSocketTransport(1, target, f"127.0.0.1:{port}", message_max=MESSAGE_MAX)
        self.reader = FrameReader(MESSAGE_MAX, is_server=False)
        self.head, self.is_ready = b"", False  # of the response
        _, requests = self.transport.opened(ONE)
        self.sock.sendall(requests.piece(0))

    def messages(self) -> Iterator[Message]:
        """Until the connection has ended; pings and closes are answered."""
        with self.sock:
            is_over = False
            while not is_over:
                try:
                    piece = self.sock.recv(1 << 20)
                except ConnectionResetError:
                    return
                if not piece:
                    return
                taken = self.transport.take(ONE, Ragged.of([piece]))
                self.send(taken.replies)
                kinds = list(self.kinds(piece))
                came = [each for _, payloads in taken.messages for each in payloads.pieces()]
                assert [message.payload for message in kinds] == came
                yield from kinds
                self.send(taken.last_words)
                is_over = bool(taken.failed)

    def send(self, pieces: list[tuple[Numbers, Ragged]]) -> None:
        """What the transport says by itself."""
        for _, each in pieces:
            self.sock.sendall(b"".join(each.pieces()))

    def kinds(self, piece: bytes) -> Iterator[Message]:
        """The messages of a piece with their kind."""
        if not self.is_ready:
            self.head += piece
            _, end, piece = self.head.partition(b"\r\n\r\n")
            self.is_ready = bool(end)
        with contextlib.suppress(Broken):  # the transport says so
            for message in self.reader.take(piece):
                if message.op in (Op.TEXT, Op.BINARY):
                    yield message

    def say(self, op: Op, payload: bytes) -> None:
        """One frame."""
        self.sock.sendall(frame(op, payload, MASK))


def be_client(port: int) -> None:
    """Run all cases, and have the report written."""
    (count,) = Client(port, "/getCaseCount").messages()
    for number in range(1, int(count.payload) + 1):
        client = Client(port, f"/runCase?case={number}&agent={AGENT}")
        for message in client.messages():
            client.say(message.op, message.payload)
    list(Client(port, f"/updateReports?agent={AGENT}").messages())


def main(words: Sequence[str]) -> None:
    """See above."""
    side, port, *more = words
    if side == "server":
        serve(int(port), "--compress" in more)
    else:
        be_client(int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
