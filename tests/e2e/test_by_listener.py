"""Several applications on one server, each with listeners of its own: bytes in arrays, in pieces
and as HTTP, each connection's to its own application; and listeners that cannot be had."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

import c1m
from c1m.apps.echo import Echo
from c1m.apps.kv.app import KeyValue
from c1m.engine.contract import Pieces, Slots
from c1m.server.by_listener import ByListener, Further
from c1m.web.app import WebApp
from e2e.library_runs import WAIT_S, eventually, serving

ANY = "tcp://127.0.0.1:0"
EACH = 40  # connections to each listener


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Watched(c1m.App):
    """Says its name before everything that comes, and counts what it is told."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.is_open: set[int] = set()
        self.told: list[str] = []

    def on_start(self, server: c1m.Server) -> None:
        self.told.append("start")

    def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
        self.is_open |= set(batch.slots.tolist())

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        assert set(batch.slots.tolist()) <= self.is_open
        server.send(batch.slots, [self.name + piece for piece in batch.data.pieces()])

    def on_eof(self, slots: Slots, server: c1m.Server) -> None:
        self.is_open -= set(slots.tolist())
        server.close(slots)

    def on_close(self, batch: c1m.CloseBatch, server: c1m.Server) -> None:
        self.is_open -= set(batch.slots.tolist())

    def on_stop(self, server: c1m.Server) -> None:
        self.told.append("stop")

    def on_end(self, server: c1m.Server) -> None:
        self.told.append("end")

    def notes(self, server: c1m.Server) -> list[str]:
        return [self.name.decode()]


class InPieces(Watched):
    """The same for pieces."""

    def on_pieces(self, pieces: Pieces, server: c1m.Server) -> None:
        for slot, piece in pieces:
            assert slot in self.is_open
            server.send(slot, self.name + piece)


@contextlib.contextmanager
def connected(ports: list[int], count: int) -> Iterator[list[list[socket.socket]]]:
    with contextlib.ExitStack() as stack:
        yield [
            [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S))
                for _ in range(count)
            ]
            for port in ports
        ]


def test_each_connection_is_of_the_application_of_its_listener(engine: str) -> None:
    apps = [Watched(b"first"), InPieces(b"second"), Watched(b"third")]
    further = [Further([ANY, ANY], apps[1]), Further([ANY], apps[2])]
    owners = [0, 1, 1, 2]
    rng = np.random.default_rng(3)
    app = ByListener(apps[0], further)
    with serving(app, engine=engine) as run:
        ports = [endpoint.port for endpoint in run.server.endpoints]
        assert run.server.listener_owners == owners
        assert app.notes(run.server) == ["first", "second", "third"]
        with connected(ports, EACH) as found:
            every = [(sock, owner) for socks, owner in zip(found, owners, strict=True)
                     for sock in socks]  # fmt: skip
            for turn in range(5):
                for i in rng.permutation(len(every)).tolist():
                    every[i][0].sendall(b" %d" % turn)
                for sock, owner in every:
                    wanted = apps[owner].name + b" %d" % turn
                    assert sock.recv(100, socket.MSG_WAITALL if len(wanted) > 99 else 0) == wanted
            assert [len(each.is_open) for each in apps] == [EACH, 2 * EACH, EACH]
            for sock in found[1]:
                sock.close()
            eventually(lambda: len(apps[1].is_open) == EACH, "half of them have left")
            assert [len(each.is_open) for each in apps] == [EACH, EACH, EACH]
    assert [each.told for each in apps] == [["start", "stop", "end"]] * 3
    assert not any(each.is_open for each in apps)


def test_redis_http_and_an_echo_on_one_server(engine: str) -> None:
    app = ByListener(WebApp(), [Further([ANY], KeyValue()), Further([ANY], Echo())])
    with serving(app, engine=engine) as run:
        ports = [endpoint.port for endpoint in run.server.endpoints]
        http = HTTPConnection("127.0.0.1", ports[0], timeout=WAIT_S)
        with connected(ports[1:], 1) as ((redis,), (echo,)):
            for number in range(3):
                http.request("GET", "/")
                redis.sendall(b"INCR a\r\n")
                echo.sendall(b"b")
                assert redis.recv(100) == b":%d\r\n" % (number + 1)
                assert echo.recv(100) == b"b"
                response = http.getresponse()
                assert response.status == 404
                response.read()
        http.close()


def test_listeners_that_clash_are_named_by_their_option(engine: str, tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))

    def refusal(listen: str, *further: Further) -> c1m.UsageError:
        with pytest.raises(c1m.UsageError) as refused:
            c1m.Server(ByListener(Echo(), further), listen, engine=engine)
        return refused.value

    with socket.create_server(("127.0.0.1", 0)) as other:
        used = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        error = refusal(ANY, Further([ANY], Echo(), "--resp"), Further([used], Echo(), "--admin"))
        assert error.message.startswith(f"--admin: {used} ")
        assert not refusal(used, Further([ANY], Echo(), "--admin")).message.startswith("--admin")
    here = f"unix://{tmp_path}/socket"
    error = refusal(here, Further([here], Echo(), "--admin"))
    assert error.message == f"--admin and --listen both say {here}."
    same = "tcp://127.0.0.1:20301"
    error = refusal(ANY, Further([same], Echo(), "--resp"), Further([same], Echo(), "--admin"))
    assert error.message == f"--admin and --resp both say {same}."
    error = refusal(ANY, Further(["nonsense"], Echo(), "--admin"))
    assert error.message.startswith("--admin: ") and "nonsense" in error.message
    assert set(os.listdir("/proc/self/fd")) == before
