"""Everything that a uring engine asks a kernel for, refused at each occurrence, on the fake kernel.

What there is to be refused is counted in a first run, so what an engine asks for newly is refused
without a new test. Nobody is lost by a refusal but a connect that has not begun.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable

import pytest

from c1m.engine.uring.rings import Tuning
from c1m.errors import LimitError
from contract.harness import LOOPBACK
from contract.log import Conn
from contract.peers import Peer
from contract.refusing import SMALL_TABLES
from contract.sample import noise, to
from contract.uring_harnesses import PLAIN, FakeHarness
from contract.world import IDLE_NS, World, echo

_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_MEMORY = (errno.ENOMEM, errno.ENOBUFS)
_AGAIN = (errno.EAGAIN, errno.EINTR)
ERRNOS: dict[str, tuple[int, ...]] = {
    "op nop": (), "op async cancel": (),  # they take nothing
    "op poll add": (errno.ENOMEM,),
    "op accept": (*_FILES, errno.ENOBUFS, errno.EINTR, errno.ECONNABORTED),
    "accept": (*_FILES, errno.ENOBUFS),
    "op recv": (*_MEMORY, errno.EINTR),  # EAGAIN says that there is nothing
    "op send": (*_MEMORY, *_AGAIN),
    "op close": (errno.ENOMEM,),  # before Linux 6.13
    "op connect": (errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN),
    "op shutdown": (errno.ENOTCONN,),
}  # fmt: skip
OTHERS = (*_FILES, errno.ENOBUFS)  # of what is not named here
LONG = 1 << 30
OWED = b"x" * 5000
LASTING = ("op recv", "op send", "op accept", "op close")
EVERY = 25  # of the occurrences: the torture `refused` takes all of them
IDLE_TURNS = 400  # of IDLE_NS: two seconds
ASKED_MOST = 60

TUNINGS = {"small": SMALL_TABLES, "plain": PLAIN}


class Run:
    """One run of the script; `missed` are connects, adoptions and descriptors that failed."""

    def __init__(self, tuning: Tuning) -> None:
        self.harness = FakeHarness(tuning)
        self.refusals = self.harness.kernel.refusals
        self.world = World(self.harness)
        self.world.app = echo(self.world)
        self.missed: list[int] = []

    def play(self) -> None:
        """All that an engine is asked for."""
        for part in (self.accept, self.send_much, self.pause, self.end, self.renew, self.adopt,
                     self.connect, self.empty):  # fmt: skip
            part()
        self.world.end()
        self.harness.close()
        assert self.harness.kernel.open_files() == 0, "a file is left"

    def come(self, count: int) -> list[tuple[Peer, Conn]]:
        """So many peers, who are all served."""
        before = len(self.world.log.conns)
        peers = [self.harness.peer(self.world.endpoint) for _ in range(count)]
        self.answered(peers)
        conns = {bytes(conn.data): conn for conn in self.world.log.conns[before:]}
        return [(peer, conns[bytes(peer.received)]) for peer in peers]

    def answered(self, peers: list[Peer]) -> None:
        """Each says something and has its echo."""
        said = {peer: b"peer %d" % id(peer) for peer in peers}
        before = {peer: len(peer.received) for peer in peers}
        for peer, text in said.items():
            peer.send(text)
        self.world.pump(lambda: all(p.received[before[p] :] == said[p] for p in peers))

    def accept(self) -> None:
        self.world.listen()
        self.there = self.come(14) + self.come(14)

    def send_much(self) -> None:
        """More than the peer takes: it waits, and is told in order."""
        (peer, _), data = self.there[0], noise(200_000, 1)
        before = len(peer.received)
        peer.end.limit = 4096  # type: ignore[attr-defined]
        peer.is_reading = False
        peer.send(data)
        self.world.settle()
        peer.is_reading = True
        self.world.pump(lambda: peer.received[before:] == data)

    def pause(self) -> None:
        """Who is not read from keeps what it is sent."""
        peer, conn = self.there[1]
        before = len(peer.received)
        self.world.receive(conn, on=False)
        self.world.settle()
        peer.send(b"for later")
        self.world.settle()
        self.world.receive(conn, on=True)
        self.world.pump(lambda: peer.received[before:] == b"for later")
        for _ in range(20):  # often enough for a multishot receive
            self.answered([self.there[2][0]])

    def end(self) -> None:
        """In all ways."""
        shut, reset, closed, aborted, half, owed, dropped = self.there[3:10]
        shut[0].shutdown_write()
        reset[0].reset()
        self.world.close(closed[1])
        self.world.close(aborted[1], abort=True)
        self.world.engine.end_output(half[1].slot)
        for peer, conn in (owed, dropped):
            peer.is_reading = False
            peer.end.limit = 1000  # type: ignore[attr-defined]
            self.world.send([conn.slot], [OWED])
        self.world.turn()
        self.world.close(owed[1], dropped[1])
        self.world.engine.close(dropped[1].slots, abort=True)
        self.world.settle()
        owed[0].is_reading = dropped[0].is_reading = True
        gone = [peer for peer, _ in (shut, closed, aborted, half, owed, dropped)]
        self.world.pump(lambda: all(peer.has_ended() for peer in gone))
        assert owed[0].received.endswith(OWED)
        half[0].close()
        self.world.settle()

    def renew(self) -> None:
        """Other listeners: one of its own, and one that was given."""
        given = self.harness.listening()
        self.world.listen(self.world.endpoint, LOOPBACK, given.socket)
        self.there += self.come(3)
        self.world.listen(given.socket)
        self.there += self.come(3)

    def adopt(self) -> None:
        """A connection from elsewhere; a descriptor and the name of another one."""
        try:
            peer, _ = self.world.adopt()
        except (OSError, LimitError):
            self.missed.append(0)
        else:
            self.answered([peer])
        conn = self.there[-1][1]
        try:
            self.harness.close_fd(self.world.engine.descriptor(conn.slot))
        except OSError as error:
            self.missed.append(error.errno or 0)
        names = self.world.engine.peers(conn.slots, LOOPBACK.family)
        if names == [b""]:
            self.missed.append(0)

    def connect(self) -> None:
        """Those that begin are answered; those that cannot are told so."""
        listener = self.harness.peer_listener()
        left = 20
        while left:
            try:
                self.world.connect(to(listener.endpoint, min(left, 5)))
                left -= min(left, 5)
            except LimitError:
                pass  # a ring is asked for again
            self.world.turn(IDLE_NS)
        self.world.pump(lambda: not self.world.log.connecting)
        self.world.settle()
        self.missed += [code for _, code in self.world.log.failed]
        peers = [peer for peer in listener.accepted if not peer.has_ended()]
        assert len(peers) + len(self.world.log.failed) == 20
        self.answered(peers)

    def empty(self) -> None:
        """All go, memory is given back, and one more comes."""
        for peer in self.harness.all_peers():
            peer.close()
        self.world.pump(lambda: not self.world.log.at)
        for _ in range(IDLE_TURNS):
            self.world.turn(IDLE_NS)
        assert self.harness.kernel.open_files() <= 4, "a file is left"  # of doorbells, listeners
        self.come(1)


@pytest.fixture(params=TUNINGS)
def make(request: pytest.FixtureRequest) -> Callable[[], Run]:
    """Runs on an engine of these sizes."""
    return lambda: Run(TUNINGS[request.param])


def faults(make: Callable[[], Run], every: int = 1) -> tuple[int, list[str]]:
    """Runs, each with another call or occurrence refused; what was wrong with them."""
    first = make()
    begun = dict(first.refusals.calls)  # what is refused while an engine is made: other tests
    first.play()
    assert first.missed == []
    runs, wrong = 0, []
    for name, count in first.refusals.calls.items():
        there, codes = count - begun.get(name, 0), ERRNOS.get(name, OTHERS)
        if not name or not there or not codes:
            continue
        for at in range(0, max(there, len(codes)), every):
            code = codes[at // every % len(codes)]
            run = make()
            occurrence = begun.get(name, 0) + at % there + 1
            run.refusals.refuse(name, occurrence, 3 if at % 2 else 1, code)
            runs += 1
            try:
                run.play()
                assert len(run.missed) <= run.refusals.refused[name], "too many failed"
            except Exception as fault:
                where = traceback.extract_tb(fault.__traceback__)
                what = f"{name} number {occurrence} refused with {errno.errorcode[code]}"
                wrong.append(f"{what}: {fault!r} in {[each.name for each in where][1:]}")
    return runs, wrong


def test_whatever_is_refused_nobody_is_lost(make: Callable[[], Run]) -> None:
    runs, wrong = faults(make, EVERY)
    assert wrong == []
    assert runs > 10


@pytest.mark.parametrize("name", LASTING)
def test_what_is_refused_for_long_is_asked_for_now_and_then(
    name: str, make: Callable[[], Run]
) -> None:
    """It is counted and said; with room again all are as before."""
    run = make()
    run.accept()
    refusals, world = run.refusals, run.world
    refusals.refuse(name, refusals.calls[name] + 1, LONG, ERRNOS[name][0])
    peers = [peer for peer, _ in run.there[:5]]
    before = [len(peer.received) for peer in peers]
    for peer in peers:
        peer.send(b"meanwhile")
    late = run.harness.peer(world.endpoint)
    late.send(b"late")
    world.close(run.there[5][1])
    world.settle()
    asked, ticks = refusals.calls[name], world.engine.statistics().ticks
    for _ in range(IDLE_TURNS):
        world.turn(IDLE_NS)
    assert refusals.calls[name] - asked <= ASKED_MOST
    assert world.engine.statistics().ticks - ticks == IDLE_TURNS
    if refusals.refused[name]:
        assert sum(world.engine.statistics().refused.values()) > 0
        assert world.engine.statistics().refusal.startswith("The kernel gives no ")
    refusals.lift()
    world.pump(lambda: late.received == b"late" and run.there[5][0].has_ended())
    world.pump(
        lambda: all(p.received[n:] == b"meanwhile" for p, n in zip(peers, before, strict=True))
    )
    world.end()
