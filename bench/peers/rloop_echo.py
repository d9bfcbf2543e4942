"""The same Protocol as asyncio_echo.py on rloop. Usage: rloop_echo.py PORT [echo|broadcast]."""

import asyncio_echo
import rloop

if __name__ == "__main__":
    asyncio_echo.main(rloop.new_event_loop)
