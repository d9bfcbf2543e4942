"""AUTH, HELLO, RESET, CLIENT; and the rows of connections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from c1m.kv.clients import Clients
from c1m.kv.rows import IS_GUEST, Label, Rows
from c1m.kv.store import Store
from kv_session import START_MS, Refused, Session

WRONGPASS = Refused("WRONGPASS invalid username-password pair or user is disabled.")


def slots(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(numbers, np.int32)


# --- commands -----------------------------------------------------------------------------------


def test_the_password_is_asked_for() -> None:
    session = Session()
    without = session("auth", "x")
    assert without.startswith("ERR AUTH <password> called without any password configured")
    assert session("auth", "default", "any") == "OK"
    assert session("auth", "other", "any") == WRONGPASS
    assert session("auth", "a", "b", "c") == Refused("ERR syntax error")
    session("config", "set", "requirepass", "secret")
    session.clients[0].is_guest = True
    assert session("auth", "wrong") == WRONGPASS
    assert session("auth", "other", "secret") == WRONGPASS
    assert session.clients[0].is_guest
    assert session("auth", "default", "secret") == "OK"
    assert not session.clients[0].is_guest


def test_hello_chooses_the_protocol() -> None:
    session = Session()
    said = session("hello")
    assert dict(zip(said[::2], said[1::2], strict=True)) == {
        b"server": b"redis", b"version": b"7.0.15", b"proto": 2, b"id": 1, b"mode": b"standalone",
        b"role": b"master", b"modules": [],
    }  # fmt: skip
    assert session("hello", 3, "setname", "me")[b"proto"] == 3
    assert session.clients[0].protocol == 3
    assert session("client", "getname") == b"me"
    assert session("hello", 4) == Refused("NOPROTO unsupported protocol version")
    assert session("hello", "x").startswith("ERR Protocol version is not an integer")
    assert session("hello", 2, "nope") == Refused("ERR Syntax error in HELLO option 'nope'")
    assert session("hello", 2, "auth", "default") == Refused(
        "ERR Syntax error in HELLO option 'auth'"
    )
    assert session.clients[0].protocol == 3
    assert b"proto" in session("hello", 2)
    assert session.clients[0].protocol == 2


def test_hello_of_a_guest_says_the_password() -> None:
    session = Session()
    session("config", "set", "requirepass", "secret")
    session.clients[0].is_guest = True
    assert session("hello", 3).startswith("NOAUTH HELLO must be called with the client already")
    assert session("hello", 3, "auth", "default", "wrong") == WRONGPASS
    assert session.clients[0].protocol == 2
    assert session("hello", 3, "auth", "default", "secret", "setname", "me")[b"proto"] == 3
    assert session("client", "getname") == b"me"


def test_reset_makes_a_new_connection() -> None:
    session = Session(protocol=3)
    session("config", "set", "requirepass", "secret")
    session.raw("subscribe", "a")
    session("client", "setname", "me")
    session("client", "setinfo", "lib-name", "lib")
    session("select", 3)
    session("watch", "k")
    session("multi")
    assert session("reset") == "RESET"
    client = session.clients[0]
    assert (client.protocol, client.db.index, client.queue, client.watched) == (2, 0, None, None)
    assert client.is_guest
    assert not client.is_subscriber
    assert not client.is_kept()
    session("auth", "secret")
    assert session("client", "getname") is None
    assert b"lib-name=lib" in session("client", "info")
    assert session("publish", "a", "x", client=1) == 0


def test_quit_ends_the_connection() -> None:
    session = Session()
    assert session("quit", "now") == "OK"
    assert session.clients[0].is_closing


@pytest.mark.parametrize("name", ["a b", "a\n", "\x7f", "\xe9"])
def test_names_have_no_spaces(name: str) -> None:
    session = Session()
    wrong = "ERR Client names cannot contain spaces, newlines or special characters."
    assert session("client", "setname", name) == Refused(wrong)
    assert session("hello", 2, "setname", name) == Refused(wrong)
    wrong = wrong.replace("Client names", "lib-name")
    assert session("client", "setinfo", "lib-name", name) == Refused(wrong)
    assert session("client", "setinfo", "nope", "x").startswith("ERR Unrecognized option 'nope'")
    assert session("client", "getname") is None
    assert session("client", "setname", "") == "OK"


def listed(session: Session, *words: object) -> list[dict[bytes, bytes]]:
    """CLIENT LIST as dicts."""
    lines = session("client", "list", *words).splitlines()
    return [dict(pair.split(b"=", 1) for pair in line.split(b" ")) for line in lines]


def test_the_list_of_connections() -> None:
    session = Session(clients=4)
    session.store.addresses = lambda slots: [(f"peer:{s}", "own:1") for s in slots.tolist()]
    clients = Clients(session.store)
    session("client", "setname", "first")
    session.raw("subscribe", "a", client=1)
    session.raw("psubscribe", "a*", "b*", client=1)
    session("hello", 3, client=2)
    session("select", 2, client=2)
    session("multi", client=3)
    session("ping", client=3)
    for client in session.clients:
        clients.settle(client)
    session.wait(7000)
    rows = listed(session)
    assert [row[b"id"] for row in rows] == [b"1", b"2", b"3", b"4"]
    assert [row[b"addr"] for row in rows] == [b"peer:0", b"peer:1", b"peer:2", b"peer:3"]
    assert {row[b"age"] for row in rows} == {b"7"}
    assert [row[b"idle"] for row in rows] == [b"0", b"7", b"7", b"7"]
    assert [row[b"flags"] for row in rows] == [b"N", b"P", b"N", b"x"]
    assert [(row[b"sub"], row[b"psub"]) for row in rows] == [
        (b"0", b"0"), (b"1", b"2"), (b"0", b"0"), (b"0", b"0"),
    ]  # fmt: skip
    assert [row[b"multi"] for row in rows] == [b"-1", b"-1", b"-1", b"1"]
    assert [row[b"resp"] for row in rows] == [b"2", b"2", b"3", b"2"]
    assert [row[b"db"] for row in rows] == [b"0", b"0", b"2", b"0"]
    assert [row[b"name"] for row in rows] == [b"first", b"", b"", b""]
    assert rows[0][b"cmd"] == b"client|list"
    assert [row[b"id"] for row in listed(session, "type", "pubsub")] == [b"2"]
    assert len(listed(session, "type", "NORMAL")) == 3
    assert listed(session, "type", "replica") == []
    assert [row[b"id"] for row in listed(session, "id", 3, 99, 1)] == [b"3", b"1"]
    assert session("client", "list", "type", "x") == Refused("ERR Unknown client type 'x'")
    assert session("client", "list", "id", "x") == Refused("ERR Invalid client ID")
    assert session("client", "list", "id") == Refused("ERR syntax error")


def test_connections_are_ended() -> None:
    session = Session(clients=4)
    session.store.addresses = lambda slots: [(f"peer:{s}", "own:1") for s in slots.tolist()]
    out = session.store.out
    assert session("client", "kill", "peer:9") == Refused("ERR No such client")
    assert session("client", "kill", "peer:2") == "OK"
    assert session("client", "kill", "id", 4) == 1
    assert session("client", "kill", "id", 99) == 0
    assert session("client", "kill", "id", 1) == 0
    assert out.killed == [2, 3]
    assert not session.clients[0].is_closing
    assert session("client", "kill", "id", 1, "skipme", "no") == 1
    assert session.clients[0].is_closing
    out.killed.clear()
    assert session("client", "kill", "type", "normal", "addr", "peer:1", "user", "default") == 1
    assert session("client", "kill", "laddr", "own:1", client=1) == 1  # the others end already
    assert session("client", "kill", "id", 0).startswith("ERR client-id should be greater")
    assert session("client", "kill", "user", "x", "id", 1) == Refused("ERR No such user 'x'")
    assert session("client", "kill", "nope", "x") == Refused("ERR syntax error")


def test_another_may_be_unblocked() -> None:
    session = Session()
    assert session("client", "unblock", 2) == 0
    session.raw("blpop", "l", 0, client=1)
    session.store.rows.kept[1] = session.clients[1]
    assert session("client", "unblock", 2, "error") == 1
    assert session.heard(1) == [Refused("UNBLOCKED client unblocked via CLIENT UNBLOCK")]
    assert session("client", "unblock", 99) == 0
    assert session("client", "unblock", 2, "x").startswith("ERR CLIENT UNBLOCK reason")


def test_what_is_refused_or_without_effect() -> None:
    session = Session()
    assert session("client", "no-evict", "on") == "OK"
    assert session("client", "no-touch", "x") == Refused("ERR syntax error")
    assert session("client", "getredir") == -1
    assert session("client", "tracking", "off") == "OK"
    assert session("client", "tracking", "on").startswith("ERR Client tracking is not supported")
    assert session("client", "caching", "yes").startswith("ERR CLIENT CACHING can be called only")
    assert session("client", "trackinginfo")[:2] == [b"flags", [b"off"]]


def test_a_pause_holds_what_changes_data() -> None:
    session = Session(clients=3)
    pause = session.store.pause
    session("multi", client=2)
    session("set", "k", 1, client=2)
    assert session("client", "pause", 1000, "write") == "OK"
    assert pause.until_ms == START_MS + 1000
    assert session("get", "k", client=1) is None
    assert session("set", "k") == Refused("ERR wrong number of arguments for 'set' command")
    for client, words in enumerate([("set", "k", 2), ("publish", "a", "x"), ("exec",)]):
        assert session.raw(*words, client=client) is None
        assert session.clients[client].later is not None
        assert session.clients[client].is_kept()
    assert pause.held == session.clients
    session.store.end_pause()
    assert session.store.waiting.unblocked == session.clients
    assert (pause.held, pause.until_ms, session.store.is_guarded) == ([], 0, False)


def test_the_longer_and_stricter_pause_holds() -> None:
    session = Session()
    session("client", "pause", 1000, "write")
    session("client", "pause", 10)
    assert (session.store.pause.until_ms, session.store.pause.is_all) == (START_MS + 1000, True)
    assert session.raw("ping") is None
    assert session("client", "pause", -1, client=1) is None  # it waits, too
    assert session.clients[1].later is not None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["x"], "ERR timeout is not an integer or out of range"),
        ([-1], "ERR timeout is negative"),
        ([1, "x"], "ERR CLIENT PAUSE mode must be WRITE or ALL"),
    ],
)
def test_no_pause(words: list[object], text: str) -> None:
    assert Session()("client", "pause", *words) == Refused(text)


# --- rows ---------------------------------------------------------------------------------------


def test_a_row_is_8_bytes() -> None:
    rows = Rows(10)
    columns: list[Any] = [rows.state, rows.active, rows._ids, rows._labels]
    assert sum(column.itemsize for column in columns) == 8


def test_ids_grow_and_are_never_given_again() -> None:
    rows = Rows(10)
    rows.open(slots(3, 5), 1000)
    assert (rows.id_of(3), rows.id_of(5), rows.id_of(4)) == (1, 2, 0)
    rows.forget(slots(3))
    rows.open(slots(3, 1), 2000)
    assert (rows.id_of(3), rows.id_of(1), rows.count) == (3, 4, 3)
    assert rows.slots().tolist() == [5, 3, 1]
    assert (rows.find(2), rows.find(1), rows.find(0), rows.find(-1)) == (5, None, None, None)
    rows.forget(slots(0, 2, 5))  # without a row: nothing happens
    assert rows.count == 2


def test_ids_beyond_32_bits() -> None:
    rows = Rows(10)
    rows._next_id = (1 << 32) - 2
    rows.open(slots(0, 1, 2, 3), 1000)
    assert [rows.id_of(slot) for slot in range(4)] == [(1 << 32) - 2 + i for i in range(4)]
    assert rows.find(1 << 32) == 2
    assert rows.find(1) is None
    assert rows.slots().tolist() == [0, 1, 2, 3]
    rows.forget(slots(0, 1, 2, 3))
    assert not rows._large_ids


def test_ages_are_of_a_sparse_table() -> None:
    rows = Rows(20_000)
    for second in range(10_000):
        rows.open(slots(second), second * 1000)
    assert len(rows._times) < 5000
    now_ms = 10_000_000
    assert rows.age_s(9_999, now_ms) == 1
    for slot in range(0, 10_000, 97):
        assert 0 <= rows.age_s(slot, now_ms) - (10_000 - slot) <= 8


def test_idle_ones_are_found_in_slices() -> None:
    rows = Rows(100)
    rows.open(slots(*range(10)), 0)
    rows.look_at(50_000)
    rows.active[[2, 4]] = rows.second
    rows.state[6] = 8  # a subscriber
    assert rows.idle(0, 10, 59, 60_000).tolist() == [0, 1, 3, 5, 7, 8, 9]
    assert rows.idle(3, 6, 59, 60_000).tolist() == [3, 5]
    assert rows.idle(0, 100, 60, 60_000).tolist() == []
    assert rows.idle(0, 100, 0, 60_000).tolist() == []
    assert rows.idle_s(2, 60_000) == 10


def test_a_clock_that_goes_back_ends_nobody() -> None:
    rows = Rows(10)
    rows.open(np.arange(10, dtype=np.int32), 1_000_000_000)
    for back_s in (1, 10, 3600, 4 * 3600):
        now_ms = 1_000_000_000 - back_s * 1000
        assert rows.idle_s(0, now_ms) == 0
        assert rows.idle(0, 5, 60, now_ms).tolist() == []
        assert rows.idle(0, 5, 60, now_ms + 61_000).tolist() == [0, 1, 2, 3, 4]
        rows.active[:] = 1_000_000_000 // 1000 & 0xFFFF


def test_idle_for_days_stays_idle() -> None:
    rows = Rows(10)
    rows.open(slots(0), 0)
    for hour in range(1, 100):
        rows.idle(0, 10, 0, hour * 3_600_000)
        assert rows.idle_s(0, hour * 3_600_000) >= min(hour, 13) * 3600
    assert rows.idle(0, 10, 12 * 3600, 100 * 3_600_000).tolist() == [0]


def test_what_many_say_of_themselves_is_kept_once() -> None:
    rows = Rows(2000)
    rows.open(slots(*range(2000)), 0)
    label = Label(b"", b"redis-py", b"5.0")
    for slot in range(1000):
        rows.set_label(slot, label)
    assert len(rows._interned) == 2
    assert not rows._own_labels
    assert rows.label(999) == label
    assert rows.label(1000) == Label()


def test_names_beyond_the_numbers_are_their_own() -> None:
    rows = Rows(2000)
    rows.open(slots(*range(2000)), 0)
    for slot in range(1000):
        rows.set_label(slot, Label(b"%d" % slot))
    assert [rows.label(slot).name for slot in range(1000)] == [b"%d" % s for s in range(1000)]
    assert len(rows._own_labels) == 745
    rows.forget(slots(*range(1000)))
    assert not rows._own_labels
    for slot in range(1000, 2000):  # numbers that nobody has are given again
        rows.set_label(slot, Label(b"again"))
    assert rows.label(1999).name == b"again"
    assert len(rows._own_labels) < 1000


def test_too_many_connections_have_no_row() -> None:
    store = Store(10)
    clients = Clients(store)
    store.settings["maxclients"] = 3
    assert clients.open(slots(0, 1)).tolist() == []
    assert clients.open(slots(2, 3, 4)).tolist() == [3, 4]
    assert (store.rows.count, store.statistics.connections_refused) == (3, 2)
    clients.forget(slots(0, 3))
    assert clients.open(slots(3)).tolist() == []
    store.settings["maxclients"] = 1
    assert clients.open(slots(5)).tolist() == [5]


def test_new_connections_are_guests_where_a_password_is_set() -> None:
    store = Store(10)
    clients = Clients(store)
    store.now_ms = START_MS
    store.settings.change([(b"requirepass", b"x")])
    clients.open(slots(1))
    assert store.rows.state[1] == IS_GUEST
    assert clients.of(1).is_guest
    store.settings.change([(b"requirepass", b"")])
    clients.open(slots(2))
    assert not clients.of(2).is_guest
