"""c1m serving asyncio_server's Protocol class, unchanged. Usage: c1m_callback.py PORT ENGINE."""

import sys

import asyncio_server

import c1m

if __name__ == "__main__":
    c1m.serve(asyncio_server.Echo, f"tcp://127.0.0.1:{sys.argv[1]}", engine=sys.argv[2])
