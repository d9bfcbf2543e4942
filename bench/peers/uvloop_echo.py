"""The same Protocol as asyncio_echo.py on uvloop. Usage: uvloop_echo.py PORT [echo|broadcast]."""

import asyncio_echo
import uvloop

if __name__ == "__main__":
    asyncio_echo.main(uvloop.new_event_loop)
