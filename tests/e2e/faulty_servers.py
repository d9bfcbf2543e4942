"""Servers that answer messages with the same, and now and then do one thing wrong; each counts.

Every server is a thread with one loop over plain sockets; what is wrong is in `answer`, and what a
message is in faulty_speech.py. A fault is made only after `quiet` right answers (so that every
connection's first request is answered right), and at most `most` times: none is under way when a
run ends, so counts can be equal exactly.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from e2e.faulty_speech import Http, Speech

RECEIVE_BYTES = 1 << 18


class Client:
    """A connection: its number in order of accepting, and what is spoken on it."""

    def __init__(self, sock: socket.socket, number: int, speech: Speech) -> None:
        self.sock = sock
        self.number = number
        self.speech = speech
        self.since = time.perf_counter()
        self.is_answered = False  # anything has been said on it

    def send(self, *messages: bytes) -> None:
        """These answers, in one piece."""
        self.is_answered = True
        self.push(b"".join(map(self.speech.answer, messages)))

    def answer(self, message: bytes, **how: object) -> None:
        """Over HTTP an answer that is odd: see faulty_speech.Http."""
        assert isinstance(self.speech, Http)
        self.push(self.speech.answer(message, **how))  # type: ignore[arg-type]

    def push(self, data: bytes) -> None:
        """Short, so it never blocks; to a connection that has ended it says nothing."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def end(self) -> None:
        """The server's loop reads the end then, and closes."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class EchoServer:
    """An echo; a context manager. `speech`: of what, to be set before a client comes; `url`: where
    it listens; `answered`: messages so far."""

    speech: type[Speech] = Speech
    spins = False  # look for work without sleeping: exact to some microseconds, takes a core

    def __init__(self) -> None:
        self.answered = 0
        self.clients: list[Client] = []
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._waker, self._wakee = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wakee, selectors.EVENT_READ)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="faulty server", daemon=True)

    @property
    def url(self) -> str:
        return f"{self.speech.scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    # what may be wrong

    def answer(self, client: Client, message: bytes) -> None:
        """A whole message has come."""
        client.send(message)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this then, from the loop."""
        heapq.heappush(self._later, (time.perf_counter() + seconds, next(self._ids), work))

    # the loop

    def _run(self) -> None:
        try:
            while True:
                for key, _ in self._selector.select(self._timeout()):
                    if key.fileobj is self._wakee:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._read(key.data)
                while self._later and self._later[0][0] <= time.perf_counter():
                    heapq.heappop(self._later)[2]()
        except BaseException as error:  # told to the test by __exit__
            self._error = error

    def _timeout(self) -> float | None:
        if self.spins and self.clients:
            return 0
        return max(self._later[0][0] - time.perf_counter(), 0) if self._later else None

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(sock, len(self.clients), self.speech())
        self.clients.append(client)
        self._selector.register(sock, selectors.EVENT_READ, client)

    def _read(self, client: Client) -> None:
        try:
            data = client.sock.recv(RECEIVE_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(client.sock)
            client.sock.close()
            return
        said, messages = client.speech.hear(data)
        if said:
            client.push(said)
        for message in messages:
            self.answered += 1
            self.answer(client, message)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._waker.send(b"x")
        self._thread.join(30)
        assert not self._thread.is_alive()
        for client in self.clients:
            client.sock.close()
        for sock in (self._listener, self._waker, self._wakee):
            sock.close()
        self._selector.close()
        if self._error is not None and error is None:
            raise self._error


class Freezes(EchoServer):
    """Does nothing at all for `seconds`, once, with the answer after the `quiet`-th."""

    def __init__(self, quiet: int, seconds: float) -> None:
        super().__init__()
        self._quiet, self._seconds = quiet, seconds
        self.froze_s = 0.0
        self.froze_after_s = 0.0  # since its first client came

    def answer(self, client: Client, message: bytes) -> None:
        if self.answered == self._quiet:
            start = time.perf_counter()
            self.froze_after_s = start - self.clients[0].since
            time.sleep(self._seconds)
            self.froze_s = time.perf_counter() - start
        client.send(message)


class Delays(EchoServer):
    """Answers so long after it has received; `delays_s` is what it really made of it."""

    spins = True

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.delays_s: list[float] = []

    def answer(self, client: Client, message: bytes) -> None:
        came = time.perf_counter()

        def send() -> None:
            client.send(message)  # on loopback the reply is there when this returns
            self.delays_s.append(time.perf_counter() - came)

        self.later(self._seconds, send)


class Faulty(EchoServer):
    """A fault in `every` messages after `quiet` ones, at most `most`; `faults` is their number."""

    def __init__(self, every: int, quiet: int, most: int) -> None:
        super().__init__()
        self._every, self._quiet, self._most = every, quiet, most
        self.faults = 0

    def answer(self, client: Client, message: bytes) -> None:
        since = self.answered - self._quiet
        is_due = since > 0 and since % self._every == 0 and self.faults < self._most
        if not is_due or not self.wrong(client, message):
            client.send(message)

    def wrong(self, client: Client, message: bytes) -> bool:
        """Do it wrong, once, and count it; False: it cannot be done here."""
        raise NotImplementedError


class Drops(Faulty):
    """Leaves an answer out."""

    def wrong(self, client: Client, message: bytes) -> bool:
        self.faults += 1
        return True


class Doubles(Faulty):
    """Gives an answer twice: in one piece and, every other time, the second one by itself."""

    def wrong(self, client: Client, message: bytes) -> bool:
        if self.faults % 2:
            client.send(message)
            client.send(message)
        else:
            client.send(message, message)
        self.faults += 1
        return True


class Garbles(Faulty):
    """Changes one byte of an answer, another one every time, all but the newline."""

    def wrong(self, client: Client, message: bytes) -> bool:
        at = self.faults % (len(message) - 1)
        client.send(message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :])
        self.faults += 1
        return True


class Truncates(Faulty):
    """Sends the first half of an answer, and never the rest; a whole message, where such have an
    end of their own."""

    def wrong(self, client: Client, message: bytes) -> bool:
        client.send(message[: len(message) // 2])
        self.faults += 1
        return True


class AnswersElsewhere(Faulty):
    """Sends an answer on another connection than the one that asked."""

    def wrong(self, client: Client, message: bytes) -> bool:
        other = self.clients[(client.number + 1 + self.faults) % len(self.clients)]
        if other is client or other.sock.fileno() < 0:
            return False
        other.push(client.speech.answer(message))
        self.faults += 1
        return True


class Delaying(Faulty):
    """Gives an answer `seconds` too late, the others go on meanwhile."""

    def __init__(self, every: int, quiet: int, most: int, seconds: float) -> None:
        super().__init__(every, quiet, most)
        self._seconds = seconds

    def wrong(self, client: Client, message: bytes) -> bool:
        self.later(self._seconds, lambda: client.send(message))
        self.faults += 1
        return True


class Swaps(Faulty):
    """Swaps two answers: of two connections, or, `within` one, of two requests in a row."""

    def __init__(self, every: int, quiet: int, most: int, *, within: bool) -> None:
        super().__init__(every, quiet, most)
        self._within = within
        self.held: tuple[Client, bytes] | None = None  # the first of two; at the end, left out

    def answer(self, client: Client, message: bytes) -> None:
        if self.held is None or (self.held[0] is client) != self._within:
            super().answer(client, message)
            return
        (other, earlier), self.held = self.held, None
        client.send(message if self._within else earlier)
        other.send(earlier if self._within else message)
        self.faults += 1

    def wrong(self, client: Client, message: bytes) -> bool:
        if self.held is not None:
            return False
        self.held = (client, message)
        return True


class Closes(Faulty):
    """Ends the connection instead of answering, but not one on which it has said nothing yet."""

    def wrong(self, client: Client, message: bytes) -> bool:
        if not client.is_answered:
            return False
        client.end()
        self.faults += 1
        return True


class BreaksOff(Faulty):
    """Ends the connection in the middle of an answer."""

    def wrong(self, client: Client, message: bytes) -> bool:
        answer = client.speech.answer(message)
        client.push(answer[: len(answer) // 2])
        client.end()
        self.faults += 1
        return True


# --- over HTTP ------------------------------------------------------------------------------------


class Fails(Faulty):
    """Gives the right body with the status 500."""

    def wrong(self, client: Client, message: bytes) -> bool:
        client.answer(message, status=b"500 Internal Server Error")
        self.faults += 1
        return True


class SaysClose(Faulty):
    """Ends the connection behind an answer, and says so in it."""

    def wrong(self, client: Client, message: bytes) -> bool:
        client.answer(message, field=b"Connection: close")
        client.end()
        self.faults += 1
        return True


class PromisesLess(Faulty):
    """Says that an answer is a byte shorter than it is."""

    def wrong(self, client: Client, message: bytes) -> bool:
        client.answer(message, more=-1)
        self.faults += 1
        return True


class PromisesMore(Faulty):
    """Says that an answer is a mebibyte longer: all further ones of its connection are in it."""

    def __init__(self, every: int, quiet: int, most: int) -> None:
        super().__init__(every, quiet, most)
        self.within: set[int] = set()
        self.swallowed = 0

    def answer(self, client: Client, message: bytes) -> None:
        if client.number in self.within:
            self.swallowed += 1
            client.send(message)
        else:
            super().answer(client, message)

    def wrong(self, client: Client, message: bytes) -> bool:
        self.within.add(client.number)
        client.answer(message, more=1 << 20)
        self.faults += 1
        return True


# --- anything -------------------------------------------------------------------------------------


class Random(EchoServer):
    """Does anything that comes to its mind, by a seed, in a share of its answers."""

    def __init__(self, seed: int, share: float) -> None:
        super().__init__()
        self._rng, self._share = random.Random(seed), share

    def answer(self, client: Client, message: bytes) -> None:
        if self._rng.random() >= self._share:
            client.send(message)
            return
        whole = client.speech.answer(message)
        other = self._rng.choice(self.clients)
        match self._rng.randrange(10):
            case 0:
                pass
            case 1:
                client.send(message, message)
            case 2:
                at = self._rng.randrange(len(whole))
                client.push(whole[:at] + self._rng.randbytes(1) + whole[at + 1 :])
            case 3:
                client.push(whole[: self._rng.randrange(len(whole))])
            case 4:
                other.push(whole)
            case 5:
                self.later(self._rng.random(), lambda: client.send(message))
            case 6:
                client.end()
            case 7:
                client.push(whole[: self._rng.randrange(len(whole))])
                client.end()
            case 8:
                client.push(self._rng.randbytes(20))
            case 9:
                time.sleep(0.1)
