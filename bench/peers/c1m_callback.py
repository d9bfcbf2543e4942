"""c1m serving asyncio_echo's Protocol class, unchanged. Usage: c1m_callback.py PORT ENGINE."""

import sys

import asyncio_echo

import c1m

if __name__ == "__main__":
    c1m.serve(asyncio_echo.Echo, f"tcp://127.0.0.1:{sys.argv[1]}", engine=sys.argv[2])
