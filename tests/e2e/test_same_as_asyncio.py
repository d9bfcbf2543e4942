"""The same protocol classes on asyncio's own loop, on c1m's and on a c1m.ProtocolServer: what they
are told, what their peers get, what is logged and what ends the loop must be equal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import re
import socket
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import c1m
from e2e.library_runs import WAIT_S, eventually

MB = 1 << 20


@dataclass
class Outcome:
    """What one run came to."""

    calls: list[list[Any]] = field(default_factory=list)  # by connection
    received: list[Any] = field(default_factory=list)  # by each peer
    errors: list[str] = field(default_factory=list)  # first lines of messages of level ERROR
    ended: str = ""  # the exception that the loop ended with
    over: threading.Event = field(default_factory=threading.Event, compare=False)

    def end(self, error: BaseException, told: list[list[Any]]) -> None:
        """The loop has ended with an exception, and this is what was told until then."""
        self.ended, self.calls = type(error).__name__, [[*mine] for mine in told]
        self.over.set()


class Base(asyncio.Protocol):
    """An echo that writes down what it is told; cases derive from it."""

    told: list[list[Any]]
    made: list[Base]
    transport: Any = None

    def __init__(self) -> None:
        self.mine: list[Any] = []
        self.told.append(self.mine)
        self.made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.mine.append("made")

    def data_received(self, data: bytes) -> None:
        self.mine.append(data)
        self.transport.write(data)

    def eof_received(self) -> bool | None:
        self.mine.append("eof")
        return None

    def pause_writing(self) -> None:
        self.mine.append("pause")

    def resume_writing(self) -> None:
        self.mine.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.mine.append(f"lost {exc!r}")


Client = Callable[[socket.socket], Any]


def talk(sock: socket.socket) -> Any:
    """A message, its reply, the end of the stream, all that comes then, and how it ends."""
    came = b""
    try:
        sock.sendall(b"hello")
        came = sock.recv(100)
        if came:
            sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(MB):
            came += piece
    except ConnectionResetError:
        return came, "reset"
    return came, "end"


def hear_out(sock: socket.socket) -> bytes:
    """Says nothing, and hears all that comes."""
    came = b""
    while piece := sock.recv(100):
        came += piece
    return came


def leave(sock: socket.socket) -> None:
    """A message and the end, after which the loop ends, if it has not before."""
    with contextlib.suppress(OSError):
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)


def hear(sock: socket.socket) -> bytes:
    """A message and what comes, after which the loop ends."""
    sock.sendall(b"hello")
    return sock.recv(100)


LAST = (leave, hear)


def on_loop(loop: Any, case: type[Base], clients: list[Client]) -> Outcome:
    """All of it in one thread: a ring belongs to the one that waits."""
    outcome: Outcome = Outcome()
    port: queue.Queue[int] = queue.Queue()

    def run() -> None:
        server = loop.run_until_complete(loop.create_server(case, "127.0.0.1", 0))
        port.put(server.sockets[0].getsockname()[1])
        try:
            loop.run_forever()
        except BaseException as error:
            outcome.end(error, case.told)
        for each in case.made:
            if each.transport is not None:
                each.transport.set_protocol(asyncio.Protocol())
                each.transport.abort()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.run_until_complete(asyncio.sleep(0.01))  # what was under way: no debris
        loop.close()

    def stop() -> None:
        loop.call_soon_threadsafe(loop.stop)

    with_clients(run, stop, lambda: port.get(timeout=WAIT_S), clients, case, outcome)
    return outcome


def on_server(engine: str, case: type[Base], clients: list[Client]) -> Outcome:
    outcome = Outcome()
    server = c1m.ProtocolServer(case, "tcp://127.0.0.1:0", engine=engine)

    def run() -> None:
        try:
            server.run()
        except BaseException as error:
            outcome.end(error, case.told)

    with_clients(run, server.stop, lambda: server.endpoints[0].port, clients, case, outcome)
    return outcome


def with_clients(
    run: Callable[[], None], stop: Callable[[], None], port: Callable[[], int],
    clients: list[Client],
    case: type[Base], outcome: Outcome,
) -> None:  # fmt: skip
    """Run a loop in a thread while clients talk to it, one after the other."""
    thread = threading.Thread(target=run, daemon=True)  # a test that fails ends all the same
    thread.start()
    address = "127.0.0.1", port()
    for client in clients:
        try:
            with socket.socket() as sock:
                sock.settimeout(WAIT_S)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MB)
                sock.connect(address)
                outcome.received.append(client(sock))
                if client in LAST:
                    assert outcome.over.wait(WAIT_S), "the loop goes on"
        except ConnectionRefusedError:
            outcome.received.append("refused")
    if not outcome.over.is_set():
        eventually(lambda: all(_is_over(mine) for mine in case.told), "connection_lost for all")
        stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def _is_over(mine: list[Any]) -> bool:
    return any(isinstance(call, str) and call.startswith("lost") for call in mine)


def hold_equal(
    engine: str, case: type[Base], caplog: pytest.LogCaptureFixture, clients: list[Client]
) -> Outcome:
    """Run a case on both; the outcome, which must be one and the same."""
    outcomes = []
    for run in (
        lambda: on_loop(asyncio.new_event_loop(), case, clients),
        lambda: on_loop(c1m.new_event_loop(engine), case, clients),
        lambda: on_server(engine, case, clients),
    ):
        caplog.clear()
        case.told, case.made = [], []
        outcome = run()  # type: ignore[no-untyped-call]
        outcome.errors = [
            re.sub("(Exception in callback).*", r"\1", r.getMessage().split("\n")[0])
            for r in caplog.records
            if r.levelno >= logging.ERROR and r.name == "asyncio"
        ]
        if not outcome.ended:
            outcome.calls = case.told
        outcomes.append(outcome)
    theirs, ours, serving = outcomes
    assert theirs == ours
    if ours.ended:  # tasks are cancelled then, as by asyncio.run: the loop runs a little longer
        serving.calls = ours.calls
    assert ours == serving
    return theirs


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Odd(BaseException):
    """Somebody's own."""


HARMLESS = [RuntimeError, OSError, ConnectionResetError, asyncio.CancelledError, GeneratorExit, Odd]
WHERE = ["connection_made", "data_received", "eof_received", "connection_lost"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_a_callback_raises(
    engine: str, kind: type[BaseException], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is never another connection's business, whatever it is, and what was written goes out."""

    class Raising(Base):
        def __getattribute__(self, name: str) -> Any:
            method = super().__getattribute__(name)
            if name != where:
                return method

            def raising(*args: Any) -> Any:
                method(*args)
                if name != "connection_lost":
                    self.transport.write(b" and more")
                raise kind("on purpose")

            return raising

    outcome = hold_equal(engine, Raising, caplog, [talk, talk])
    assert outcome.ended == ""
    assert len(outcome.calls) == 2
    assert outcome.received[0] == outcome.received[1]
    assert b" and more" in outcome.received[0][0] or where == "connection_lost"


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_loop(
    engine: str, kind: type[BaseException], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Ending(Base):
        def __getattribute__(self, name: str) -> Any:
            method = super().__getattribute__(name)
            if name != where:
                return method

            def ending(*args: Any) -> Any:
                method(*args)
                raise kind

            return ending

    outcome = hold_equal(engine, Ending, caplog, [leave])
    assert outcome.ended == kind.__name__


def test_a_last_word_before_the_loop_ends(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    class Leaving(Base):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"good-bye")
            raise SystemExit

    assert hold_equal(engine, Leaving, caplog, [hear]).received == [b"good-bye"]


@pytest.mark.parametrize("where", ["pause_writing", "resume_writing", ""])
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_flow_control_raises(
    engine: str, kind: type[BaseException], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Flooding(Base):
        def data_received(self, data: bytes) -> None:
            self.transport.write(bytes(16 * MB))

        def pause_writing(self) -> None:
            super().pause_writing()
            if where == "pause_writing":
                raise kind("on purpose")

        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.write(b"resumed")
            if where == "resume_writing":
                raise kind("on purpose")

    def read(sock: socket.socket) -> bytes:
        def paused() -> int:
            return sum("pause" in mine for mine in Flooding.told)

        # Read no sooner: with a quick reader the kernel may take all of it at once.
        before = paused()
        sock.sendall(b"go")
        eventually(lambda: paused() > before, "pause_writing")
        came = 0
        while came < 16 * MB:
            came += len(sock.recv(min(MB, 16 * MB - came)))
        return sock.recv(100)

    outcome = hold_equal(engine, Flooding, caplog, [read, read])
    assert outcome.received == [b"resumed"] * 2
    assert len(outcome.errors) == (2 if where else 0)


def test_what_is_asked_of_a_transport(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    class Curious(Base):
        def attempt(self, call: Callable[[], Any]) -> None:
            try:
                self.mine.append(call())
            except Exception as error:
                self.mine.append(type(error))

        def data_received(self, data: bytes) -> None:
            it: Any = self.transport
            for limits in ({"high": -1}, {"low": -1}, {"high": 1, "low": 2}, {"high": "much"}, {},
                           {"high": 100}, {"low": 7}, {"high": 0}):  # fmt: skip
                self.attempt(lambda limits=limits: it.set_write_buffer_limits(**limits))
            for odd in ("text", None, 5, [b"x"], b"", bytearray(), memoryview(b"")):
                self.attempt(lambda odd=odd: it.write(odd))
            self.attempt(lambda: it.writelines([b"a", bytearray(b"b"), memoryview(b"c")]))
            self.attempt(lambda: it.writelines(["text"]))
            self.attempt(lambda: weakref.ref(it)() is it)
            self.attempt(lambda: {it: "a key"}[it])
            self.attempt(lambda: weakref.WeakKeyDictionary({it: 1})[it])
            self.attempt(lambda: setattr(it, "mine", 5))
            self.attempt(lambda: it.mine)
            self.attempt(lambda: it.get_extra_info("nothing", "default"))
            self.attempt(lambda: it.get_extra_info("sockname")[0])
            for ask in (
                "is_reading", "pause_reading", "is_reading", "pause_reading", "resume_reading",
                "resume_reading", "is_reading", "is_closing",
            ):  # fmt: skip
                self.attempt(getattr(it, ask))
            self.attempt(lambda: it.get_protocol() is self)
            it.close()
            for ask in (it.is_closing, it.is_reading, it.close, it.pause_reading):
                self.attempt(ask)
            self.attempt(lambda: it.write("text"))
            self.attempt(lambda: it.write(b"never sent"))

    outcome = hold_equal(engine, Curious, caplog, [talk])
    assert outcome.received == [(b"abc", "end")]
    assert ValueError in outcome.calls[0]


def test_ends(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """Close where it is allowed; what is raised after it changes nothing."""
    for where in ("connection_made", "data_received", "eof_received"):
        for then in (None, RuntimeError("after the close"), asyncio.CancelledError()):

            class Closing(Base):
                def __getattribute__(
                    self, name: str, where: str = where, then: BaseException | None = then
                ) -> Any:
                    method = super().__getattribute__(name)
                    if name != where:
                        return method

                    def closing(*args: Any) -> Any:
                        method(*args)
                        self.transport.write(b"bye")
                        self.transport.close()
                        if then is not None:
                            raise then

                    return closing

            client = hear_out if where == "connection_made" else talk
            hold_equal(engine, Closing, caplog, [client, client])


def test_another_protocol_takes_over(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    class Second(Base):
        told: list[list[Any]] = []  # noqa: RUF012
        made: list[Base] = []  # noqa: RUF012

        def data_received(self, data: bytes) -> None:
            self.mine.append(b"second " + data)
            raise RuntimeError("on purpose")

    class First(Base):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            second = Second()
            second.mine = self.mine
            self.transport.set_protocol(second)

    def two(sock: socket.socket) -> list[bytes]:
        came = []
        for word in (b"one", b"two"):
            sock.sendall(word)
            came.append(sock.recv(100))
        return came

    assert hold_equal(engine, First, caplog, [two]).received == [[b"one", b""]]


def test_paused_reading(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """What comes meanwhile, and the end, come after the resume and in order."""

    class Pausing(Base):
        waiting: list[Any] = []  # noqa: RUF012

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"pause":
                self.transport.pause_reading()
                self.waiting.append(self.transport)
            if data == b"resume":
                self.waiting.pop().resume_reading()

    def pair(sock: socket.socket) -> list[bytes]:
        host = sock.getpeername()
        with socket.create_connection(host, WAIT_S) as other:
            sock.sendall(b"pause")
            came = [sock.recv(100)]
            sock.sendall(b"kept")
            sock.shutdown(socket.SHUT_WR)
            for word in (b"still", b"resume"):
                other.sendall(word)
                came.append(other.recv(100))
            while piece := sock.recv(100):
                came.append(piece)
        return came

    outcome = hold_equal(engine, Pausing, caplog, [pair])
    assert outcome.received == [[b"pause", b"still", b"resume", b"kept"]]


@pytest.mark.parametrize("first", ["", "write", "close", "write_eof", "flood"])
def test_aborts_sizes_and_half_closes(
    engine: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What an earlier adapter did in its own way: sizes, limits, half-close, and an abort after
    each of them.
    """

    class Ending(Base):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            it = self.transport
            self.mine += [it.get_write_buffer_size(), it.get_write_buffer_limits()]
            self.mine.append(it.can_write_eof())
            if first == "write":
                it.write(b"more")
            elif first == "flood":
                it.write(bytes(32 * MB))
                self.mine.append(it.get_write_buffer_size() > 0)
            elif first:
                getattr(it, first)()
            it.abort()
            self.mine += [it.is_closing(), it.get_write_buffer_size()]
            it.write(b"never sent")
            it.abort()
            it.close()

    def shorter(sock: socket.socket) -> Any:
        came, how = talk(sock)
        return (came[:9], len(came) < 32 * MB) if first == "flood" else (came, how)

    hold_equal(engine, Ending, caplog, [shorter])
