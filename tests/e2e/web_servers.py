"""Servers of WebSocket and server-sent events made of other people's packages.

`python web_servers.py KIND` prints its port. `websockets` and `aiohttp` echo at /; aiohttp and
uvicorn are hubs, too: /connect (aiohttp only) and /events hear what is posted to /publish.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import Any


class WebServer:
    """One of them as a context manager; `place` is HOST:PORT."""

    def __init__(self, kind: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, kind], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.place = f"127.0.0.1:{self._process.stdout.readline().strip()}"

    def __enter__(self) -> WebServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait(30)


async def with_websockets(listener: socket.socket) -> None:
    """An echo of `websockets`, which pings its clients often, compresses where it may, and closes
    whoever says "end"."""
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            if message == "end":
                await connection.close(4002, "as you like")
            await connection.send(message)

    async with serve(echo, sock=listener, ping_interval=0.2) as server:
        await server.serve_forever()


async def with_aiohttp(listener: socket.socket) -> None:
    """An echo, and a hub: events come in chunks."""
    from aiohttp import web

    queues: set[asyncio.Queue[str]] = set()
    sockets: set[web.WebSocketResponse] = set()

    async def echo(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            await connection.send_str(message.data)
        return connection

    async def connect(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        sockets.add(connection)
        async for message in connection:
            await publish_to_all(message.data)
        sockets.discard(connection)
        return connection

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues.add(queue)
        try:
            while True:
                await response.write(b"data: %b\r\n\r\n" % (await queue.get()).encode())
        finally:
            queues.discard(queue)

    async def publish(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            return web.Response(status=401, text="Who are you?")
        await publish_to_all(await request.text())
        return web.Response(status=202)

    async def publish_to_all(text: str) -> None:
        for queue in queues:
            queue.put_nowait(text)
        for connection in list(sockets):
            await connection.send_str(text)

    app = web.Application()
    app.add_routes([
        web.get("/", echo), web.get("/connect", connect), web.get("/events", events),
        web.post("/publish", publish),
    ])  # fmt: skip
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()


async def with_uvicorn(listener: socket.socket) -> None:
    """A hub of events in plain ASGI, which ends connections that are idle for a second."""
    import uvicorn

    queues: set[asyncio.Queue[bytes]] = set()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        kind = b"text/event-stream" if scope["path"] == "/events" else b"text/plain"
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        if scope["path"] != "/events":
            body = (await receive())["body"]
            for queue in queues:
                queue.put_nowait(body)
            await send(start)
            await send({"type": "http.response.body", "body": b"ok"})
            return
        own: asyncio.Queue[bytes] = asyncio.Queue()
        queues.add(own)
        await send(start)
        await send({"type": "http.response.body", "body": b": welcome\n\n", "more_body": True})
        while True:
            event = b"event: news\nid: 7\ndata: %b\n\n" % await own.get()
            await send({"type": "http.response.body", "body": event, "more_body": True})

    config = uvicorn.Config(app, timeout_keep_alive=1, log_level="error", lifespan="off")
    await uvicorn.Server(config).serve(sockets=[listener])


KINDS = {"websockets": with_websockets, "aiohttp": with_aiohttp, "uvicorn": with_uvicorn}


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listening.getsockname()[1], flush=True)
    asyncio.run(KINDS[sys.argv[1]](listening))
