"""What the Autobahn test suite talks to: a server, and a client, that send back what comes.

`python -m tests.conformance.autobahn_peers server PORT [--compress]`, `... client PORT`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from c1m.protocols.http.replies import ResponseReader
from c1m.protocols.websocket.client import Upgrades, wrong_in
from c1m.protocols.websocket.frames import Broken, FrameReader, Message, Op, frame
from c1m.server.server import Server
from c1m.web.app import MessageBatch, UpgradeBatch, WebApp

MESSAGE_MAX = 1 << 25
AGENT = "c1m"
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
    """A blocking client of one connection."""

    def __init__(self, port: int, target: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        rng = np.random.default_rng()
        requests, (accept,) = Upgrades(target, f"127.0.0.1:{port}", [], rng).make(1)
        self.sock.sendall(requests.piece(0))
        response = ResponseReader()
        while not response.is_whole:
            response.feed(self.sock.recv(1 << 16))
        assert response.head is not None and response.head.status == 101
        assert wrong_in(response.head, accept) == ""
        self.reader = FrameReader(MESSAGE_MAX, is_server=False)
        self.rest = response.rest()

    def messages(self) -> Iterator[Message]:
        """Until the server has ended the connection; pings and closes are answered."""
        piece = self.rest
        try:
            while True:
                for message in self.reader.take(piece):
                    if message.op == Op.PING:
                        self.say(Op.PONG, message.payload)
                    elif message.op == Op.CLOSE:
                        self.say(Op.CLOSE, message.payload[:2])
                    elif message.op != Op.PONG:
                        yield message
                piece = self.sock.recv(1 << 20)
                if not piece:
                    break
        except Broken as broken:
            self.say(Op.CLOSE, broken.code.to_bytes(2, "big"))
        except ConnectionResetError:
            pass
        self.sock.close()

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
