"""A load scenario over WebSocket: the upgrade first, then text messages that come back.

Shows   requests of two kinds on one connection; frames by the reply that is expected.
Needs   a WebSocket server that sends back what it is sent: `websockets`, uvicorn, aiohttp.
Try it  c1m load tcp://127.0.0.1:8001 --connections 1k --hold 5s --think 1s \
            --scenario examples/load_websocket.py:WebSocket

The server must send nothing by itself. Its pings would not be answered: turn them off
(`ping_interval=None`, uvicorn's `--ws-ping-interval 0`).
"""

from collections.abc import Generator

import c1m

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class WebSocket(c1m.Conversation):
    """The upgrade when the connection is open; each request after it is one message."""

    def talk(self, n: int) -> Generator[c1m.Say, bytes, None]:
        answer = yield c1m.Say(UPGRADE, until=b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), "the server should switch protocols"
        count = 0
        while True:
            text = b"client %d message %d" % (n, count)
            # FIN and text; a client masks its frames, here with zeros, which change nothing.
            frame = b"\x81%c\0\0\0\0%b" % (0x80 | len(text), text)
            yield c1m.Say(frame, expect=b"\x81%c%b" % (len(text), text))
            count += 1
