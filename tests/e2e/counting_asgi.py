"""`python counting_asgi.py PORT`: uvicorn with an application that counts what it is asked.

It says hello, or what was posted; echoes WebSockets; what is posted to /publish is an event for all
of /events. /counts tells the connections, requests and events so far, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

counts: Counter[str] = Counter(connections=0, requests=0, events=0)
streams: set[asyncio.Queue[bytes]] = set()


class Counting(H11Protocol):
    """Connections are below an application's sight. Those of WebSockets begin here, too."""

    def connection_made(self, transport: Any) -> None:
        counts["connections"] += 1
        super().connection_made(transport)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["path"] == "/events":
        await events(receive, send)
    else:
        body = await whole_body(receive)
        if scope["path"] == "/counts":
            counts["connections"] -= 1  # that on which it is asked
            body = json.dumps(counts).encode()
        else:
            counts["requests"] += 1
        if scope["path"] == "/publish":
            for stream in streams:
                stream.put_nowait(body)
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"x-from", b"asgi")]}
        )
        await send({"type": "http.response.body", "body": body or b"hello"})


async def whole_body(receive: Any) -> bytes:
    body, is_whole = b"", False
    while not is_whole:
        part = await receive()
        body += part.get("body", b"")
        is_whole = not part.get("more_body", False)
    return body


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        counts["requests"] += 1
        await send({"type": "websocket.send", "text": message["text"]})


async def events(receive: Any, send: Any) -> None:
    own: asyncio.Queue[bytes] = asyncio.Queue()
    kind = (b"content-type", b"text/event-stream")
    await send({"type": "http.response.start", "status": 200, "headers": [kind]})
    await send({"type": "http.response.body", "body": b": welcome\n\n", "more_body": True})

    async def pass_on() -> None:
        while True:
            event = b"data: %b\n\n" % await own.get()
            counts["events"] += 1
            await send({"type": "http.response.body", "body": event, "more_body": True})

    passing = asyncio.create_task(pass_on())
    streams.add(own)
    while (await receive())["type"] != "http.disconnect":
        pass
    streams.discard(own)
    passing.cancel()


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), http=Counting, log_level="error", lifespan="off", backlog=512,
        timeout_keep_alive=60,
    )  # fmt: skip
