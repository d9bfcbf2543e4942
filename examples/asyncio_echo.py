"""Echo as an asyncio.Protocol, served by c1m on its own event loop.

Shows   an unchanged Protocol class on a c1m server. It costs an object or two a connection; tasks,
        timers and streams work as on asyncio's loop. echo.py is the form with the least memory.
Needs   nothing else.
Try it  python examples/asyncio_echo.py 8001
        (cd examples; c1m serve asyncio_echo:Echo --listen tcp://127.0.0.1:8001)
        nc 127.0.0.1 8001                                   (type a line)
"""

import asyncio
import sys

import c1m


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


if __name__ == "__main__":
    port = sys.argv[1] if len(sys.argv) > 1 else "8001"
    total = c1m.serve(Echo, f"tcp://127.0.0.1:{port}")
    print(
        f"{total.opened:,} connections, {total.received_bytes:,} bytes in, {total.sent_bytes:,} out"
    )
