"""Who is let in, on a fake kernel whose time passes when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.addresses import AF_INET, AF_UNIX, Endpoint, pack
from c1m.apps.kv.app import KeyValue
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.errors import UsageError
from c1m.guard.admission import PLACES
from c1m.guard.engine import GRACE_NS, GuardEngine
from c1m.guard.reasons import Why
from c1m.guard.sources import Sources
from c1m.server import options
from c1m.server.server import Server
from c1m.server.statistics import CloseReason
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket
from c1m.testing.manual_clock import ManualClock
from c1m.units import NS_PER_MS, NS_PER_S
from proxy_headers import binary_of, line
from unit.scripted_engine import ScriptedEngine

SMALL = Tuning(capacity=512, files_per_ring=128)
PLAIN, PROXIED, UNIX = "tcp://127.0.0.1:8001", "tcp+proxy://127.0.0.1:8002", "unix:///run/c1m"
FULL = b"The server is full.\n"


class Echo(c1m.App):
    """Says what it tells those who are too many."""

    def refusal(self, listener: int) -> bytes:
        return FULL

    def on_data(self, batch: c1m.DataBatch, server: Server) -> None:
        server.send(batch.slots, batch.data)


class Stage:
    """A server with limits, and its peers."""

    def __init__(self, *listen: str, app: c1m.App | None = None, **limits: Any) -> None:
        self.kernel = FakeKernel()
        self.server = Server(
            app or Echo(),
            listen or PLAIN,
            engine=UringEngine(
                kernel=self.kernel,
                clock=self.kernel.clock,
                tuning=SMALL,
                live_max=limits.pop("connections_max", None),
            ),
            clock=self.kernel.clock,
            limits=c1m.Limits(**limits),
        )
        assert isinstance(self.server.engine, GuardEngine)
        self.guard = self.server.engine
        self.server.app.on_start(self.server)

    def peer(self, host: str = "127.0.0.1", port: int = 8001) -> Socket:
        peer = self.kernel.network.peer(
            Endpoint(AF_INET, "127.0.0.1", port), Endpoint(AF_INET, host, 0)
        )
        self.ticks()
        return peer

    def peers(self, count: int) -> list[Socket]:
        return [self.peer() for _ in range(count)]

    def ticks(self, count: int = 8) -> None:
        for _ in range(count):
            self.server.tick(0)

    def passes(self, duration_ns: int) -> None:
        self.kernel.clock.advance(duration_ns)
        self.ticks()

    def is_served(self, peer: Socket) -> bool:
        """Whether it gets its bytes back."""
        peer.send(b"?")
        self.ticks()
        return peer.recv() == b"?"

    def served(self, peers: Sequence[Socket]) -> list[bool]:
        return [self.is_served(peer) for peer in peers]

    def why(self) -> dict[str, int]:
        """Who was never opened, by reason; and all who were accepted are somewhere."""
        found = self.guard.statistics()
        inner = self.guard._inner.statistics()
        assert inner.accepted == found.accepted + found.opening + sum(found.never_opened.values())
        assert found.accepted == found.live + found.lingering + found.closed
        assert found.accepted == self.server.statistics.opened
        return {why.name: n for why in Why if (n := found.never_opened.get(why.code, 0))}

    def limited(self) -> dict[str, int]:
        return self.guard.statistics().limited

    def end(self) -> None:
        self.server.shutdown()
        statistics = self.server.statistics
        assert statistics.opened == sum(statistics.closed.values())


# --- whose -------------------------------------------------------------------------------------


def test_each_source_may_have_so_many() -> None:
    stage = Stage(per_source=2)
    mine = [stage.peer("127.0.0.1") for _ in range(3)]
    other = stage.peer("127.0.0.2")
    assert stage.served([*mine, other]) == [True, True, False, True]
    assert mine[2].at_eof
    mine[0].close()
    stage.ticks()
    assert stage.served([stage.peer("127.0.0.1"), stage.peer("127.0.0.1")]) == [True, False]
    assert stage.why() == {"PER_SOURCE": 2} and stage.limited() == {"per_source": 2}
    stage.end()


def test_a_source_may_be_a_network() -> None:
    stage = Stage(per_source=1, source_bits="24,48")
    peers = [stage.peer(f"127.0.{net}.{n}") for net in (0, 1) for n in (1, 2)]
    assert stage.served(peers) == [True, False, True, False]
    stage.end()


def test_one_that_is_closed_counts_while_its_output_is_going_out() -> None:
    stage = Stage(per_source=1)
    peer = stage.peer()
    stage.server.send(0, b"x" * (1 << 24))
    stage.server.close(0)
    stage.ticks()
    assert not stage.is_served(stage.peer())
    while not peer.at_eof:
        peer.recv()
        stage.ticks()
    stage.ticks()
    assert stage.is_served(stage.peer())
    stage.end()


@pytest.mark.parametrize("abort", [False, True])
def test_who_is_closed_by_the_application_counts_no_more(abort: bool) -> None:
    stage = Stage(per_source=1)
    for _ in range(3):
        assert stage.is_served(stage.peer())
        stage.server.close(stage.server.live_slots(), abort=abort)
        stage.ticks()
    assert stage.why() == {}
    stage.end()


def test_what_they_send_who_are_not_let_in_is_not_read() -> None:
    stage = Stage(per_source=1)
    came: list[int] = []
    stage.server.app.on_data = lambda batch, server: came.extend(  # type: ignore[method-assign]
        batch.slots.tolist()
    )
    peers = [stage.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001)) for _ in range(5)]
    for peer in peers:
        peer.send(b"hello")
    stage.ticks()
    assert came == [0] and stage.why() == {"PER_SOURCE": 4}
    stage.end()


# --- which networks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "may"),
    [
        ({"allow": "127.0.0.1"}, [True, False, False]),
        ({"allow": ["127.0.0.0/24", "127.1.2.3"]}, [True, True, True]),
        ({"deny": "127.0.0.2/31"}, [True, False, True]),
        ({"allow": "127.0.0.0/8", "deny": "127.0.0.0/24"}, [False, False, True]),
        ({"deny": "127.0.0.0/8", "allow": "127.0.0.1"}, [False, False, False]),
        ({"allow": "::/0"}, [False, False, False]),
        ({"allow": "::ffff:127.0.0.0/120"}, [True, True, False]),
    ],
)
def test_networks(limits: dict[str, Any], may: list[bool]) -> None:
    stage = Stage(**limits)
    assert stage.served([stage.peer(f"127.{host}") for host in ("0.0.1", "0.0.2", "1.2.3")]) == may
    denied = may.count(False)
    assert stage.why() == ({"DENIED": denied} if denied else {})
    stage.end()


def test_by_a_unix_socket_all_may_come() -> None:
    stage = Stage(UNIX, allow="192.0.2.1", per_source=1)
    peers = [stage.kernel.network.peer(Endpoint(AF_UNIX, path="/run/c1m")) for _ in range(3)]
    stage.ticks()
    assert stage.served(peers) == [True, True, True]
    stage.end()


def test_behind_a_proxy_the_clients_address_counts() -> None:
    stage = Stage(PROXIED, allow="198.51.100.0/24", per_source=1)
    hosts = ("198.51.100.1", "198.51.100.1", "198.51.100.2", "203.0.113.1")
    peers = []
    for host in hosts:
        peers.append(stage.peer(port=8002))
        peers[-1].send(line((host, 4000), ("192.0.2.1", 443)))
        stage.ticks()
    assert stage.served(peers) == [True, False, True, False]
    there = stage.server.peers(stage.server.live_slots())
    assert there == [("198.51.100.1", 4000), ("198.51.100.2", 4000)]
    nobody = stage.peer(port=8002)
    nobody.send(binary_of(0x21, 0x31, bytes(216)))  # a client of a unix socket
    assert not stage.is_served(nobody)
    assert stage.why() == {"PER_SOURCE": 1, "DENIED": 1, "NO_ADDRESS": 1}
    stage.end()


# --- how many ----------------------------------------------------------------------------------


def test_beyond_the_most_they_wait() -> None:
    stage = Stage(connections_max=2, per_source=10)
    peers = stage.peers(4)
    assert stage.served(peers) == [True, True, False, False]
    assert not peers[2].at_eof and stage.limited() == {"connections_max": 1}
    peers[0].close()
    stage.ticks()
    assert peers[2].recv() == b"?" and not peers[3].recv()
    stage.end()


def test_beyond_the_most_they_are_told_so() -> None:
    stage = Stage(connections_max=2, when_full="refuse")
    peers = stage.peers(4)
    for peer in peers[2:]:
        peer.send(b"hello")  # nobody reads it, and it resets nothing
        stage.ticks()
        assert (peer.recv(), peer.recv()) == (FULL, b"") and peer.at_eof
        peer.close()
    stage.ticks()
    assert stage.why() == {"FULL": 2} and stage.limited() == {"connections_max": 2}
    assert stage.served(peers[:2]) == [True, True]
    peers[0].close()
    stage.ticks()
    assert stage.is_served(stage.peer())
    stage.end()


def test_who_is_refused_and_stays_is_closed() -> None:
    stage = Stage(connections_max=1, when_full="refuse")
    peers = stage.peers(2)
    assert stage.guard.statistics().opening == 1
    stage.passes(GRACE_NS - 1)
    assert stage.guard.statistics().opening == 1
    stage.passes(1)
    assert stage.guard.statistics().opening == 0 and stage.why() == {"FULL": 1}
    assert stage.is_served(peers[0])
    stage.end()


def test_who_is_refused_and_resets_was_refused() -> None:
    stage = Stage(connections_max=1, when_full="refuse")
    peers = stage.peers(2)
    peers[1].reset()
    stage.ticks()
    assert stage.why() == {"FULL": 1} and stage.guard.statistics().opening == 0
    stage.end()


def test_a_flood_of_those_who_are_refused_waits() -> None:
    stage = Stage(connections_max=1, when_full="refuse")
    peers = stage.peers(2 * PLACES)
    assert stage.guard.statistics().opening == PLACES
    assert sum(peer.recv() == FULL for peer in peers) == PLACES
    stage.passes(GRACE_NS)
    stage.ticks()
    assert sum(peer.recv() == FULL for peer in peers) == PLACES - 1
    assert stage.is_served(peers[0])
    stage.end()


def test_the_key_value_server_says_it_as_redis_does() -> None:
    stage = Stage(app=KeyValue(), connections_max=1, when_full="refuse")
    assert [peer.recv() for peer in stage.peers(2)] == [
        b"",
        b"-ERR max number of clients reached\r\n",
    ]
    stage.end()


def test_a_web_server_says_when_to_come_again() -> None:
    class Web(c1m.WebSocketApp):
        pass

    stage = Stage(app=Web().as_app(), connections_max=1, when_full="refuse")
    said = stage.peers(2)[1].recv()
    assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1\r\n" in said and b"\r\nConnection: close\r\n" in said
    assert said.endswith(b"\r\n\r\nThe server is full.\n")
    stage.end()


# --- how fast ----------------------------------------------------------------------------------


def test_so_many_are_accepted_in_a_second() -> None:
    stage = Stage(accept_rate=100, accept_burst=10)
    for _ in range(300):
        stage.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001))
    stage.ticks(10)
    assert stage.server.statistics.opened == 10
    for second in (1, 2):
        for _ in range(1_000):
            stage.passes(NS_PER_MS)
        assert 10 + 100 * second - 1 <= stage.server.statistics.opened <= 10 + 100 * second
    stage.passes(60 * NS_PER_S)
    stage.ticks(300)
    assert stage.server.statistics.opened in (219, 220)  # not more than a burst at once
    assert stage.why() == {} and stage.limited()["accept_rate"] > 0
    stage.end()


def test_who_goes_makes_no_room_for_more_than_the_rate() -> None:
    stage = Stage(accept_rate=100, accept_burst=1)
    for _ in range(300):
        stage.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001))
    for _ in range(1_000):
        stage.passes(NS_PER_MS)
        stage.server.close(stage.server.live_slots())
    assert 85 <= stage.server.statistics.opened <= 101  # a burst of 1 keeps nothing for later
    assert stage.server.statistics.closed[CloseReason.LOCAL] >= 85
    stage.end()


def test_who_sends_no_proxy_header_takes_of_the_rate_and_keeps_nobody_out() -> None:
    stage = Stage(PROXIED, accept_rate=100, accept_burst=1)
    for _ in range(20):  # they are held, and nobody is told of them
        stage.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8002))
    for _ in range(300):
        stage.passes(NS_PER_MS)
    assert stage.guard.statistics().opening == 20
    speaks = stage.peer(port=8002)
    speaks.send(line(("127.0.0.1", 4000), ("127.0.0.1", 8002)))
    for _ in range(30):
        stage.passes(NS_PER_MS)
    assert stage.is_served(speaks)
    for _ in range(200):
        stage.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8002))
    for _ in range(500):
        stage.passes(NS_PER_MS)
    assert 21 + 40 <= stage.guard.statistics().opening + 1 <= 21 + 51
    stage.end()


def test_waiting_for_the_rate_is_no_spinning() -> None:
    stage = Stage(accept_rate=10, accept_burst=1)
    for _ in range(3):
        stage.kernel.network.peer(Endpoint(AF_INET, "127.0.0.1", 8001))
    before_ns, ticks = stage.kernel.clock.now_ns(), 0
    while stage.server.statistics.opened < 3:
        stage.server.tick(NS_PER_S)
        ticks += 1
    assert ticks <= 10
    assert 0.19 < (stage.kernel.clock.now_ns() - before_ns) / NS_PER_S < 0.22
    stage.end()


def test_above_so_much_memory_further_ones_wait() -> None:
    stage = Stage(memory_max="1G")
    used = 1 << 29
    stage.guard._admission._memory = lambda: used
    first = stage.peer()
    used = 1 << 31
    stage.passes(NS_PER_S)
    second = stage.peer()
    assert stage.served([first, second]) == [True, False] and stage.limited() == {"memory_max": 1}
    used = 1 << 29
    stage.passes(NS_PER_S)
    assert second.recv() == b"?"
    assert stage.limited() == {"memory_max": 2}  # a pause, and a second that it has lasted
    stage.end()


def test_while_accepting_pauses_its_seconds_are_counted() -> None:
    stage = Stage(connections_max=1, per_source=10)
    stage.peer()
    stage.passes(NS_PER_S // 2)
    assert stage.limited() == {"connections_max": 1}
    for _ in range(5):
        stage.passes(NS_PER_S)
    assert stage.limited() == {"connections_max": 6}
    stage.passes(3 * NS_PER_S)
    assert stage.limited() == {"connections_max": 9}
    stage.server.close(0)
    stage.ticks()
    stage.passes(10 * NS_PER_S)
    assert stage.limited() == {"connections_max": 9}
    stage.end()


@pytest.mark.parametrize("said", ["a text", None])
def test_a_refusal_that_cannot_be_said(said: Any) -> None:
    stage = Stage(connections_max=1, when_full="refuse")
    stage.server.app.refusal = lambda listener: said  # type: ignore[method-assign]
    peers = stage.peers(2)
    assert peers[1].recv() == b"" and peers[1].at_eof and stage.why() == {"FULL": 1}
    assert stage.is_served(peers[0]) and stage.server.statistics.failed == {"refusal": 1}
    stage.end()


def test_the_caller_may_stop_all_accepting() -> None:
    """As TLS does while there are too many handshakes: that refuses nobody."""
    stage = Stage(connections_max=10, when_full="refuse", accept_rate=1_000)
    assert stage.guard.live_max == 10
    stage.guard.live_max = 0
    stage.ticks()
    peer = stage.peer()
    assert not stage.is_served(peer) and not peer.at_eof
    stage.guard.live_max = 10
    stage.ticks()
    assert peer.recv() == b"?"
    stage.end()


# --- what cannot be meant ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"allow": "10.0.0.0/33"}, "'10.0.0.0/33' in allow (--allow) is no address"),
        ({"deny": ["10.0.0.1", "localhost"]}, "'localhost' in deny (--deny) is no address"),
        ({"per_source": 0}, "too small for limits.per_source"),
        ({"per_source": 1, "source_bits": "32"}, "source_bits is '32'"),
        ({"per_source": 1, "source_bits": "0,64"}, "0 is no width for IPv4"),
        ({"per_source": 1, "source_bits": "32,65"}, "65 is no width for IPv6"),
        ({"source_bits": "32,64"}, "means nothing without --per-source"),
        ({"accept_burst": 5}, "means nothing without --accept-rate"),
        ({"accept_rate": 0}, "accept_rate is 0"),
        ({"when_full": "never"}, "limits.when_full is 'never'"),
    ],
)
def test_what_cannot_be_meant(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        c1m.Limits(**limits)
    assert said in raised.value.message


@pytest.mark.parametrize(
    ("limits", "asks"),
    [({"per_source": 1}, True), ({"deny": "10.0.0.1"}, True), ({"accept_rate": 1}, False)],
)
def test_limits_by_address_need_an_engine_that_knows_them(
    limits: dict[str, Any], asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(options, "choose", lambda name, **given: asked.update(given))
    options.ServerOptions(listen=PLAIN, limits=c1m.Limits(**limits)).make_engine()
    assert asked["needs_descriptors"] == asks


def test_many_sources_are_counted_in_little_memory() -> None:
    sources = Sources(1, 1 << 20)
    names = [n << 64 for n in range(1, 100_001)]
    assert all(sources.take(slot, name) for slot, name in enumerate(names))
    assert not any(sources.take(500_000 + slot, name) for slot, name in enumerate(names[:10]))
    assert len(sources) == 100_000
    sources.give_back(np.arange(100_000, dtype=np.int32))
    assert len(sources) == 0


@pytest.mark.parametrize("first", [1, 3])
def test_an_end_and_a_beginning_of_one_slot_in_a_batch_are_of_two_connections(first: int) -> None:
    """The one before ends, by the caller or turned away; the next is turned away."""
    inner = ScriptedEngine()
    guard = GuardEngine(inner, c1m.Limits(deny=["127.0.0.3"]), ManualClock())  # type: ignore[arg-type]
    guard.listen([Endpoint(AF_INET, "127.0.0.1", 8001)], 1)
    names = [pack(Endpoint(AF_INET, f"127.0.0.{last}", 1)) for last in (first, 3)]
    inner.peers = lambda slots, family: [names.pop(0)]  # type: ignore[attr-defined]
    inner.brings(opened=[5], opened_listeners=[0])
    guard.wait(0)
    if first == 1:
        guard.close(np.array([5], np.int32))
    inner.counts.lingering = 1
    inner.brings(ended=[5], ended_errnos=[0], opened=[5], opened_listeners=[0])
    assert not len(guard.wait(0).opened)
    inner.brings(ended=[5], ended_errnos=[0])
    guard.wait(0)
    found = guard.statistics()
    assert (found.live, found.lingering, found.accepted) == (0, 0, int(first == 1))
    assert found.closed == found.accepted


def test_who_takes_the_slot_of_one_that_ends_in_the_same_batch_has_its_own_source() -> None:
    """Else the one before would count for ever, and the next one not at all."""
    inner = ScriptedEngine()
    guard = GuardEngine(inner, c1m.Limits(per_source=1), ManualClock())  # type: ignore[arg-type]
    guard.listen([Endpoint(AF_INET, "127.0.0.1", 8001)], 1)
    hosts = iter(("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1"))
    inner.peers = lambda slots, family: [  # type: ignore[attr-defined]
        pack(Endpoint(AF_INET, next(hosts), 1)) for _ in slots
    ]
    inner.brings(opened=[5], opened_listeners=[0])
    guard.wait(0)
    guard.close(np.array([5], np.int32))
    inner.brings(ended=[5], ended_errnos=[0], opened=[5], opened_listeners=[0])
    assert guard.wait(0).opened.tolist() == [5]
    inner.brings(opened=[6, 7], opened_listeners=[0, 0])
    assert guard.wait(0).opened.tolist() == [7]  # .2 is there once, .1 no more
    inner.counts.live = 3
    assert guard.statistics().limited == {"per_source": 1}
