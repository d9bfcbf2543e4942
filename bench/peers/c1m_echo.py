"""c1m's echo as a batch App. Usage: c1m_echo.py PORT ENGINE [BUSY_POLL_NS].

ENGINE is auto, uring or epoll.
"""

import sys
from typing import Any

import c1m
from c1m.apps.echo import Echo

if __name__ == "__main__":
    _, port, engine, *busy_poll_ns = sys.argv
    options: dict[str, Any] = {"busy_poll_ns": int(busy_poll_ns[0])} if busy_poll_ns else {}
    c1m.serve(Echo(), f"tcp://127.0.0.1:{port}", engine=engine, **options)
