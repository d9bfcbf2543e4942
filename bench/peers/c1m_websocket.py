"""A WebSocket echo as an application of c1m. Usage: c1m_websocket.py PORT [CERT KEY [handoff]]."""

import sys

import c1m


class Echo(c1m.WebSocketApp):
    """Each message goes back as what it was."""

    def on_messages(self, batch: c1m.MessageBatch, server: c1m.WebSocketServer) -> None:
        if batch.is_text.all():
            server.send_text(batch.slots, batch.messages)
            return
        for send, kind in ((server.send_text, True), (server.send_binary, False)):
            which = batch.is_text == kind
            send(batch.slots[which], batch.messages.take(which))


if __name__ == "__main__":
    port, *files = sys.argv[1:]
    tls = None
    if files:  # on a machine that others use, too, a handshake may wait long for a core
        cert, key, *more = files
        tls = c1m.TLS(cert, key, handoff="handoff" in more, handshake_timeout="10m")
    c1m.serve(Echo(), f"{'tls' if tls else 'tcp'}://127.0.0.1:{port}", tls=tls)
