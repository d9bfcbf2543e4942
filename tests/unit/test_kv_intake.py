"""From pieces to replies: clients that have not said who they are."""

from __future__ import annotations

import numpy as np
import pytest

import c1m.kv.all_commands  # noqa: F401  (fills the table)
from c1m.kv.clients import Clients
from c1m.kv.intake import REPLIES_MAX, Intake
from c1m.kv.store import Store
from c1m.protocols.resp.replies import command

AUTH = command(b"AUTH", b"secret")
MANY = command(b"DEL", *[b"k"] * 20)
TOO_MANY = b"-ERR Protocol error: unauthenticated multibulk length\r\n"


@pytest.fixture
def intake() -> Intake:
    """Of a store with a password, and four clients."""
    store = Store(4)
    store.settings["requirepass"] = "secret"
    store.rows.first_state = 0
    store.settings.effects["requirepass"]("secret")
    clients = Clients(store)
    clients.open(np.arange(4, dtype=np.int32))
    return Intake(clients)


def heard(intake: Intake, slot: int) -> bytes:
    return b"".join(intake.store.out.take().get(slot, []))


@pytest.mark.parametrize("cuts", [[], [3], [len(AUTH)], list(range(1, len(AUTH + MANY)))])
def test_who_says_who_it_is_may_say_more_in_the_same_piece(intake: Intake, cuts: list[int]) -> None:
    stream, said = AUTH + MANY + b"PING\r\n", b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        intake.take([(1, stream[start:end])])
        said += heard(intake, 1)
    assert said == b"+OK\r\n:0\r\n+PONG\r\n"
    assert intake.unfinished == {}


def test_who_does_not_may_not(intake: Intake) -> None:
    ping = command(b"PING")
    intake.take([(1, ping + MANY + ping), (2, ping), (3, ping), (0, AUTH), (1, ping)])
    assert heard(intake, 1) == b"-NOAUTH Authentication required.\r\n" + TOO_MANY
    assert intake.store.out.closing == [1]


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: a.com\r\n", b"POST / HTTP/1.1\r\n"])
def test_nothing_is_done_for_a_browser(intake: Intake, first: bytes) -> None:
    intake.take([(1, AUTH + first + b"\r\nSET k v\r\n")])
    assert heard(intake, 1).count(b"\r\n") == 1 + first.startswith(b"GET")
    assert intake.store.databases[0].data == {} and intake.store.out.closing == [1]


@pytest.mark.parametrize("last", [b"QUIT\r\n", b"*x\r\n"])
def test_nothing_is_done_behind_the_end(intake: Intake, last: bytes) -> None:
    stream = AUTH + last + b"SET k v\r\n"
    intake.take([(1, stream), (1, b"SET k v\r\n")])
    assert heard(intake, 1).count(b"\r\n") == 2
    assert intake.store.databases[0].data == {} and intake.store.out.closing == [1]


@pytest.fixture
def open_intake(intake: Intake) -> Intake:
    """The same, of four clients who have said AUTH."""
    intake.take([(slot, AUTH) for slot in range(4)])
    intake.store.out.take()
    return intake


@pytest.mark.parametrize("rest", [b"*x\r\n", b'ECHO "\r\n', b"*1\r\n$x\r\n"])
def test_what_follows_quit_is_not_refused(intake: Intake, rest: bytes) -> None:
    intake.take([(1, AUTH), (1, b"PING\r\nQUIT\r\n" + rest)])
    assert heard(intake, 1) == b"+OK\r\n+PONG\r\n+OK\r\n"


def test_who_is_killed_gets_nothing_any_more(open_intake: Intake) -> None:
    intake = open_intake
    store, ids = intake.store, intake.store.rows.id_of
    intake.take([(1, b"BLPOP q 0\r\n")])
    intake.take([(2, b"SUBSCRIBE news\r\n")])
    intake.take([(3, b"PING\r\n")])
    killing = b"".join(b"CLIENT KILL ID %d\r\n" % ids(slot) for slot in (1, 2, 3, 3))
    intake.store.out.take()
    for piece in (0, killing + b"LPUSH q x\r\nPUBLISH news x\r\nLLEN q\r\n"), (3, b"SET k v\r\n"):
        intake.take([piece])
    assert heard(intake, 0) == b":1\r\n:1\r\n:1\r\n:0\r\n" + b":1\r\n:0\r\n:1\r\n"
    assert store.out.killed == [1, 2, 3]
    assert b"k" not in store.databases[0].data
    intake.clients.forget(np.array([1, 2, 3], np.int32))
    assert not intake.clients.kept
    assert not store.waiting.count
    assert store.rows.count == 1
    assert intake.go_on() is None


def test_who_is_killed_while_it_goes_on_does_nothing_more(open_intake: Intake) -> None:
    intake = open_intake
    intake.take([(1, b"BLPOP q 0\r\nSET k v\r\n")])
    killing = b"CLIENT KILL ID %d\r\n" % intake.store.rows.id_of(1)
    intake.take([(0, b"LPUSH q item\r\n" + killing)])
    intake.go_on()
    assert b"k" not in intake.store.databases[0].data


@pytest.mark.parametrize("mixed", [b"", b"PING\r\n"])
@pytest.mark.parametrize("name", [b"GET", b"get", b"Get", b"LRANGE"])
def test_who_asks_for_much_goes_on_when_it_has_taken_it(
    open_intake: Intake, mixed: bytes, name: bytes
) -> None:
    intake, store = open_intake, open_intake.store
    intake.take([(0, command(b"SET", b"k", b"x" * 1_000_000))])
    intake.take([(0, command(b"RPUSH", b"list", *[b"x" * 999] * 1000))])
    store.out.take()
    asks = command(name, b"list", b"0", b"-1") if name == b"LRANGE" else command(name, b"k")
    intake.take([(1, mixed + asks * 100), (1, b"PING\r\n")])
    sizes, is_ready = [len(heard(intake, 1))], False
    assert sizes[0] > REPLIES_MAX
    for _ in range(40):
        intake.look_at_owed(lambda slot: is_ready)  # noqa: B023
        intake.go_on()
        is_ready = not is_ready
        sizes.append(len(heard(intake, 1)))
        if sum(sizes) > 50_000_000 and not store.out.closing:
            intake.end([1, 2])
    assert max(sizes) < REPLIES_MAX + 1_100_000
    one = 1_000_012 if name != b"LRANGE" else 7 + 1000 * 1007
    assert sum(sizes) == 100 * one + 7 + (7 if mixed else 0)
    assert store.out.closing == [2, 1]
    assert not intake.owed and not store.waiting.unblocked


def test_who_is_owed_much_and_leaves_is_forgotten(open_intake: Intake) -> None:
    intake = open_intake
    intake.take([(0, command(b"SET", b"k", b"x" * 1_000_000))])
    intake.take([(1, command(b"GET", b"k") * 100)])
    intake.clients.forget(np.array([1], np.int32))
    intake.forget([1])
    intake.look_at_owed(lambda slot: True)
    assert not intake.owed and not intake.store.waiting.unblocked and not intake.clients.kept


# --- what is unfinished ---------------------------------------------------------------------------


def test_what_is_unfinished_is_bounded_in_all_and_who_has_most_goes() -> None:
    store = Store(4)
    clients = Clients(store)
    clients.open(np.arange(4, dtype=np.int32))
    intake = Intake(clients)
    store.settings.apply("maxmemory-clients", "100000")
    begun = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$90000\r\n"
    intake.take([(0, begun + b"x" * 10_000), (1, begun + b"x" * 50_000), (2, b"*1\r\n$4\r\nPI")])
    assert 60_000 < intake.unfinished_bytes < 70_000 and not store.out.killed
    flush = b"\r\n" + command(b"SET", b"bad", b"1")
    intake.take([(0, b"x" * 40_000), (1, b"x" * 20_000 + flush), (1, flush), (2, b"NG\r\n")])
    assert store.out.killed == [1]  # and what follows is no command
    assert store.databases[0].data == {}
    assert store.statistics.clients_evicted == 1
    assert heard(intake, 2) == b"+PONG\r\n"
    intake.forget([1])
    intake.take([(0, b"x" * 40_000 + b"\r\n")])
    assert heard(intake, 0) == b"+OK\r\n"
    assert (intake.unfinished, intake.unfinished_bytes) == ({}, 0)


def test_a_bound_of_what_is_unfinished_may_be_a_share_or_none() -> None:
    store = Store(2)
    clients = Clients(store)
    clients.open(np.arange(2, dtype=np.int32))
    intake = Intake(clients)
    store.settings.apply("maxmemory", 1_000_000)
    begun = b"*2\r\n$4\r\nECHO\r\n$900000\r\n" + b"x" * 200_000
    for share, killed in (("0", []), ("30%", []), ("10%", [0])):
        store.settings.apply("maxmemory-clients", share)
        intake.take([(0, begun)])
        assert store.out.killed == killed
        intake.forget([0])


def test_who_waits_and_has_sent_much_is_looked_at_now_and_then() -> None:
    store = Store(2)
    clients = Clients(store)
    clients.open(np.arange(2, dtype=np.int32))
    intake = Intake(clients)
    intake.take([(0, command(b"BLPOP", b"list", b"0"))])
    intake.look_at_held()
    assert not intake.resumed
    intake.take([(0, command(b"SET", b"k", b"x" * 20_000))])
    assert intake.paused == [0]
    intake.look_at_held()  # it may have gone, which nobody sees who does not read
    assert intake.resumed == [0]
    piece = command(b"SET", b"k", b"x" * (1 << 20))
    for _ in range(9):
        intake.take([(0, piece)])
    assert store.out.killed == [0] * len(store.out.killed)
    assert store.out.killed
    intake.forget([0])
    intake.resumed.clear()
    intake.look_at_held()
    assert not intake.resumed
