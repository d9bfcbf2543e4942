"""Echo: every byte goes back to where it came from.

Shows   the batch form: one callback for all that a tick brought, and no Python object a connection.
Needs   Linux 6.1 or later for io_uring; elsewhere it takes epoll by itself.
Try it  python examples/echo.py 8001
        nc 127.0.0.1 8001                                   (type a line)
        c1m load tcp://127.0.0.1:8001 --connections 10k     (in another terminal)
        Ctrl-C stops it in good order.
"""

import sys

import c1m


class Echo(c1m.App):
    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        # Piece i of batch.data came from batch.slots[i]; it is sent out of the memory it came in.
        server.send(batch.slots, batch.data)


if __name__ == "__main__":
    port = sys.argv[1] if len(sys.argv) > 1 else "8001"
    total = c1m.serve(Echo(), f"tcp://127.0.0.1:{port}")
    print(
        f"{total.opened:,} connections, {total.received_bytes:,} bytes in, {total.sent_bytes:,} out"
    )
