"""`c1m serve APP --processes N` for a test, what it says of itself, and plain connections to it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from e2e.cli_helpers import PATIENCE_S, Server, free_ports


class Processes(Server):
    """`c1m serve APP --processes N --admin`, and what it says of itself."""

    def __init__(self, tmp_path: Path, count: int, *arguments: object, **named: Any) -> None:
        self.admin = f"http://127.0.0.1:{free_ports(1)}"
        super().__init__(
            tmp_path, "--processes", count, "--admin", self.admin.partition("//")[2], *arguments,
            **named,
        )  # fmt: skip

    def page(self, path: str) -> str:
        try:
            with urllib.request.urlopen(self.admin + path, timeout=PATIENCE_S) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.page("/stats"))
        return found

    def __enter__(self) -> Self:
        return self

    def children(self) -> list[int]:
        """Their process ids, in the order in which they were started."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(word) for word in text.split()]

    def until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The statistics when they are so."""
        end = time.monotonic() + PATIENCE_S
        while not is_so(found := self.stats()):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found

    def totals(self) -> dict[str, Any]:
        """The final figures, whose sums hold."""
        figures: dict[str, Any] = json.loads(self.figures_path.read_text())
        assert figures["opened"] == figures["live"] + sum(figures["closed"].values())
        assert figures["live"] == 0
        for name in ("opened", "messages"):
            assert figures[name] == sum(each[name] for each in figures["processes"])
        return figures


def place(url: str) -> tuple[str, int]:
    host, _, port = url.partition("//")[2].rpartition(":")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def connected(url: str, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(place(url), PATIENCE_S))
            for _ in range(count)
        ]


def echoed(sock: socket.socket, text: bytes = b"hello") -> bool:
    sock.sendall(text)
    return sock.recv(100) == text
