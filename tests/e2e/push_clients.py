"""A push server for a test, and the clients that the tests of it use."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

from e2e.cli_helpers import Server, free_ports

PATIENCE_S = 60


class PushServer:
    """`c1m serve push` on a port that it comes back to when it is started again."""

    def __init__(self, directory: Path, *arguments: str, engine: str = "auto") -> None:
        self._directory = directory
        self._arguments = ["--engine", engine, "--quiet", *arguments]
        self.port = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._sockets = ExitStack()
        self.start()

    def start(self) -> None:
        """Listen, in a new process."""
        listen = [f"http://127.0.0.1:{self.port}"]
        self.server = Server(self._directory, *self._arguments, app="push", listen=listen)

    def stop(self) -> None:
        """End it as an operator does."""
        assert self.server.stop() == 0, self.server.output

    def __enter__(self) -> PushServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sockets.close()
        if self.server.process.poll() is None:
            self.stop()

    def connect(self, query: str, **options: Any) -> AbstractContextManager[ClientConnection]:
        """A WebSocket, as a context manager."""
        url = f"ws://127.0.0.1:{self.port}/connect?{query}"
        made: AbstractContextManager[ClientConnection] = connect(
            url, open_timeout=PATIENCE_S, **options
        )
        return made

    def socket(self, query: str, **options: Any) -> ClientConnection:
        """A WebSocket that is closed before the server is."""
        return self._sockets.enter_context(self.connect(query, **options))

    def events(self, query: str, **fields: str) -> Events:
        """A stream of server-sent events."""
        return Events(f"{self.url}/events?{query}", fields)

    def ask(
        self, path: str, body: bytes | None = None, method: str | None = None, **fields: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, what the JSON says, and the fields of a response."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            said = answer.read()
            told = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, json.loads(said) if said else None, told

    def publish(self, query: str, body: bytes, kind: str = "text/plain", **fields: str) -> Any:
        """What a publisher is told."""
        status, said, _ = self.ask(f"/publish?{query}", body, Content_Type=kind, **fields)
        assert status == 200, said
        return said


class Events:
    """Reads a stream as EventSource does; `last_id` is what it would come back with."""

    def __init__(self, url: str, fields: dict[str, str]) -> None:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        request = urllib.request.Request(url, headers=headers)
        self.answer = urllib.request.urlopen(request, timeout=PATIENCE_S)
        self.last_id = ""
        self.retry = 0

    def next(self) -> tuple[str, str] | None:
        """The name and the data of the next event; None: the stream has ended."""
        name = "message"
        data: list[str] = []
        for line in self.answer:
            text = line.decode().rstrip("\n")
            if not text:
                if data:
                    return name, "\n".join(data)
                name = "message"
                continue
            field, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "retry":
                self.retry = int(value)
        return None

    def close(self) -> None:
        """Go away."""
        self.answer.close()


def heard(socket: ClientConnection) -> Any:
    """The next message of form=json."""
    return json.loads(socket.recv(timeout=PATIENCE_S))


def say(socket: ClientConnection, **said: Any) -> Any:
    """Say something in JSON; what is heard next."""
    socket.send(json.dumps(said))
    return heard(socket)
