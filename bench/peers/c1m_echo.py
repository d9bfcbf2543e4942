"""c1m's echo as a batch App. Usage: c1m_echo.py PORT ENGINE, ENGINE being uring or epoll."""

import sys

import c1m
from c1m.apps.echo import Echo

if __name__ == "__main__":
    c1m.serve(Echo(), f"tcp://127.0.0.1:{sys.argv[1]}", engine=sys.argv[2])
