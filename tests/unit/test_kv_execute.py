"""What speaks against a command, in whose words; faults; CLIENT REPLY; MONITOR."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from c1m.kv.client import Client
from c1m.kv.commands import TABLE, Args, command
from kv_session import START_MS, Refused, Session


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nope"], "ERR unknown command 'nope', with args beginning with: "),
        (["nope", "a", "b"], "ERR unknown command 'nope', with args beginning with: 'a' 'b' "),
        (["no\0pe", "a\r\nb"], "ERR unknown command 'no', with args beginning with: 'a  b' "),
        (["GET"], "ERR wrong number of arguments for 'get' command"),
        (["CONFIG"], "ERR wrong number of arguments for 'config' command"),
        (["config", "get"], "ERR wrong number of arguments for 'config|get' command"),
        (["config", "foo"], "ERR unknown subcommand 'foo'. Try CONFIG HELP."),
        (["cluster", "info"], "ERR This instance has cluster support disabled"),
        (["eval", "x", 0], "ERR unknown command 'eval', with args beginning with: 'x' '0' "),
        (["xlen", "s"], "ERR unknown command 'xlen', with args beginning with: 's' "),
    ],
)  # fmt: skip
def test_what_is_not_there_says_so_in_the_usual_form(words: list[object], text: str) -> None:
    assert Session()(*words) == Refused(text)


def test_an_unknown_command_is_shown_shortened() -> None:
    said = Session()("x" * 200, "y" * 100, "z" * 100, "not shown")
    assert f"'{'x' * 128}'" in said
    assert said.endswith(f"'{'y' * 100}' '{'z' * 25}' ")


def test_a_container_has_help() -> None:
    lines = Session()("slowlog", "help")
    assert lines[0] == "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert "GET" in lines
    assert "HELP" in lines


@pytest.mark.parametrize(
    "words", [["get", "k"], ["config", "get", "x"], ["multi"], ["publish", "a", "b"], ["select", 1]]
)
def test_a_subscriber_of_resp2_may_say_little(words: list[object]) -> None:
    session = Session()
    session.raw("subscribe", "a")
    name = "config|get" if words[0] == "config" else words[0]
    assert session(*words) == Refused(
        f"ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
        "are allowed in this context"
    )
    assert session("ping") == [b"pong", b""]
    assert session("ping", "x") == [b"pong", b"x"]
    session.raw("unsubscribe")
    assert session("ping") == "PONG"


def test_a_subscriber_of_resp3_may_say_all() -> None:
    session = Session(protocol=3)
    session.raw("subscribe", "a")
    assert session("ping", "x") == b"x"
    assert session("get", "k") is None


def test_a_guest_may_say_who_it_is_only() -> None:
    session = Session()
    session("config", "set", "requirepass", "secret")
    session.clients[1].is_guest = True
    assert session("get", "k", client=1) == Refused("NOAUTH Authentication required.")
    assert session("ping", client=1) == Refused("NOAUTH Authentication required.")
    assert session("nope", client=1).startswith("ERR unknown command")
    assert session("reset", client=1) == "RESET"
    assert session("auth", "secret", client=1) == "OK"
    assert session("get", "k", client=1) is None


@pytest.fixture
def broken() -> Iterator[str]:
    @command("broken", 1, "fast")
    def run(client: Client, args: Args) -> bytes:
        raise ZeroDivisionError("of a test")

    yield "broken"
    del TABLE[b"broken"]


def test_a_fault_is_a_reply_and_is_said_once(broken: str) -> None:
    session = Session()
    said: list[str] = []
    session.store.statistics.log = said.append
    for _ in range(3):
        assert session(broken) == Refused("ERR internal error")
    assert session("multi") == "OK"
    session(broken)
    assert session("exec") == [Refused("ERR internal error")]
    assert session.store.statistics.faults == 4
    assert len(said) == 1
    assert "ZeroDivisionError: of a test" in said[0]
    assert session("ping") == "PONG"


def test_without_room_what_needs_memory_is_refused() -> None:
    session = Session()
    session("set", "k", "v")
    session.store.make_room = lambda: False
    session.store.guard()
    refused = Refused("OOM command not allowed when used memory > 'maxmemory'.")
    assert session("set", "k", "w") == refused
    assert session("get", "k") == b"v"
    assert session("del", "k") == 1
    session("multi")
    assert session("get", "k") == refused  # a queue takes memory, too
    assert session("exec") == Refused("EXECABORT Transaction discarded because of previous errors.")


def test_exec_is_refused_without_room_for_what_it_would_write() -> None:
    session = Session()
    session("multi")
    session("set", "k", "v")
    session.store.make_room = lambda: False
    session.store.guard()
    assert session("exec") == Refused(
        "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
        "'maxmemory'."
    )
    assert session("exec") == Refused("ERR EXEC without MULTI")


def test_while_the_disk_fails_writes_are_refused() -> None:
    session = Session()
    session.store.write_refusal = b"MISCONF no disk"
    session.store.guard()
    assert session("set", "k", "v") == Refused("MISCONF no disk")
    assert session("del", "k") == Refused("MISCONF no disk")
    assert session("get", "k") is None
    session.store.write_refusal = b""
    session.store.guard()
    assert session("set", "k", "v") == "OK"


def test_replies_can_be_left_out() -> None:
    session = Session()
    assert session.raw("client", "reply", "skip") is None
    assert session.raw("set", "k", 1) is None
    assert session("incr", "k") == 2
    assert session.raw("client", "reply", "off") is None
    assert session.raw("incr", "k") is None
    assert session.raw("nope") is None
    assert session.raw("client", "reply", "skip") is None
    assert session("client", "reply", "on") == "OK"
    assert session("get", "k") == b"3"
    assert session("client", "reply", "on") == "OK"
    assert session("client", "reply", "x") == Refused("ERR syntax error")
    assert not session.clients[0].is_kept()


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_subscribers_hear_is_no_reply(protocol: int) -> None:
    session = Session(protocol=protocol)
    session.raw("client", "reply", "off")
    assert session("subscribe", "a") == [b"subscribe", b"a", 1]
    assert session.raw("subscribe") is None  # an error
    assert session("unsubscribe") == [b"unsubscribe", b"a", 0]


def test_calls_and_errors_are_counted() -> None:
    session = Session()
    session("get", "k")
    session("get")
    session("lpush", "l", 1)
    session("get", "l")
    statistics = session.store.statistics
    assert (statistics.calls["get"], statistics.failed["get"]) == (2, 1)
    assert statistics.rejected["get"] == 1
    assert statistics.errors == {b"ERR": 1, b"WRONGTYPE": 1}
    session("config", "resetstat")
    assert not statistics.errors


def test_a_monitor_sees_commands_without_passwords() -> None:
    session = Session()
    session.store.addresses = lambda slots: [("1.2.3.4:5", "")] * len(slots)
    assert session("monitor", client=1) == "OK"
    session("set", "k", b'a"\x00\n')
    session("auth", "default", "secret")
    session("config", "set", "requirepass", "secret")  # an administrator's: not shown
    session("multi")
    session("get", "k")
    session("exec")
    at = f"{START_MS // 1000}.000000 [0 1.2.3.4:5] "
    assert session.heard(1) == [
        at + r'"set" "k" "a\"\x00\n"',
        at + '"auth" "(redacted)" "(redacted)"',
        at + '"multi"',
        at + '"get" "k"',
        at + '"exec"',
    ]
    assert session("reset", client=1) == "RESET"
    session("get", "k")
    assert session.heard(1) == []
    assert not session.store.is_guarded


def test_a_monitor_that_leaves_is_forgotten() -> None:
    session = Session()
    session("monitor", client=1)
    session.clients[1].leave()
    assert session.store.monitors == []


def test_slow_commands_are_noted() -> None:
    session = Session()
    times = iter(range(0, 10**12, 15_000_000))
    session.store.statistics.now_ns = lambda: next(times)
    session.store.addresses = lambda slots: [("1.2.3.4:5", "")] * len(slots)
    session("client", "setname", "me")
    session("get", "k")  # quick by its nature: it is not timed
    session("keys", "x" * 200)
    assert session("slowlog", "len") == 2
    _, entry, _ = session("slowlog", "get")
    shown = [b"keys", b"x" * 128 + b"... (72 more bytes)"]
    assert entry == [1, START_MS // 1000, 15_000, shown, b"1.2.3.4:5", b"me"]
    assert len(session("slowlog", "get", 1)) == 1
    session("config", "set", "slowlog-log-slower-than", -1)
    session("slowlog", "reset")
    session("keys", "x")
    assert session("slowlog", "len") == 0
    session("config", "set", "slowlog-log-slower-than", 0)
    assert session.store.is_guarded
    session("mget", *range(40))
    args = session("slowlog", "get", 1)[0][3]
    assert len(args) == 32
    assert args[-1] == b"... (10 more arguments)"


def test_late_commands_are_events_of_latency() -> None:
    session = Session()
    times = iter(range(0, 10**12, 20_000_000))
    session.store.statistics.now_ns = lambda: next(times)
    session("keys", "*")
    assert session("latency", "latest") == []
    session("config", "set", "latency-monitor-threshold", 20)
    session("latency", "reset")
    session.wait(5000)
    session("keys", "*")
    session("config", "set", "latency-monitor-threshold", 0)
    second = START_MS // 1000 + 5
    assert [b"command", second, 20, 20] in session("latency", "latest")
    assert [second, 20] in session("latency", "history", "command")
    assert session("latency", "history", "none") == []
    assert session("latency", "reset", "command", "none") == 1
    assert session("latency", "history", "command") == []


def test_rates_are_of_the_last_second() -> None:
    session = Session()
    statistics = session.store.statistics
    statistics.sample(0, 0, 0)
    for _ in range(10):
        session("ping")
    statistics.sample(2 * 10**9, 2048, 4096)
    assert statistics.per_s == (5, 1024, 2048)


def test_slots_are_any() -> None:
    session = Session(clients=3)
    assert session.store.rows.slots().tolist() == np.arange(3).tolist()
