"""INFO, COMMAND, MEMORY, ACL, and what a server has not; keyspace notifications."""

from __future__ import annotations

import pytest

from c1m.kv.command_info import categories, group_of, rows
from c1m.kv.command_keys import USES
from c1m.kv.commands import TABLE
from c1m.kv.errors import CommandError
from c1m.kv.host import Host, Kept, Usage
from c1m.kv.notifications import Notifications
from kv_session import START_MS, Refused, Session


def info(session: Session, *sections: str) -> dict[str, str]:
    lines = session("info", *sections).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if line and line[0] != "#")


# --- INFO ---------------------------------------------------------------------------------------


def test_sections() -> None:
    session = Session()
    session("set", "k", 1)
    session("set", "l", 1, "ex", 100)
    assert session("info", "keyspace") == b"# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\n"
    assert session("info", "nope") == b""
    assert session("info", "CPU", "modules").startswith(b"# CPU\r\n")
    default, everything = session("info").decode(), session("info", "everything").decode()
    assert "# Commandstats" not in default
    assert "# Commandstats" in everything
    assert session("info", "default", "commandstats").decode().count("# ") == 12
    assert session("info", "all").decode().count("# ") == 13


def test_what_tools_read() -> None:
    session = Session(clients=3)
    session("set", "k", 1)
    session("lpush", "k", 1)
    session("nope")
    session.raw("subscribe", "a", client=1)
    session.raw("blpop", "l", 0, client=2)
    found = info(session, "everything")
    assert found["redis_version"] == "7.0.15"
    assert found["connected_clients"] == "3"
    assert found["blocked_clients"] == "1"
    assert found["pubsub_clients"] == found["pubsub_channels"] == "1"
    assert found["role"] == "master"
    assert found["cmdstat_lpush"] == (
        "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1"
    )
    assert found["errorstat_ERR"] == "count=1"
    assert found["errorstat_WRONGTYPE"] == "count=1"
    assert int(found["total_commands_processed"]) == 5
    assert found["rdb_changes_since_last_save"] == "1"
    assert found["aof_enabled"] == "0"


def test_the_host_says_what_it_knows() -> None:
    session = Session()
    kept = Kept(is_failing=True, unsaved=7, saved_ms=START_MS - 5000, durability="always")
    session.store.host = Host(
        version="1.2",
        port=6379,
        started_ms=START_MS - 100_000,
        memory_bytes=3 << 30,
        usage=lambda: Usage(rss_bytes=1536, rss_peak_bytes=2048, user_s=1.5, received_bytes=9),
        now_us=lambda: 1_000_000_000_000_001,
        kept=lambda: kept,
        save=lambda: None,
    )
    found = info(session)
    assert found["c1m_version"] == "1.2"
    assert found["tcp_port"] == "6379"
    assert found["uptime_in_seconds"] == "100"
    assert (found["used_memory"], found["used_memory_human"]) == ("1536", "1.50K")
    assert found["used_memory_peak"] == "2048"
    assert found["total_system_memory_human"] == "3.00G"
    assert found["used_cpu_user"] == "1.500000"
    assert found["total_net_input_bytes"] == "9"
    assert found["aof_last_write_status"] == "err"
    assert found["rdb_changes_since_last_save"] == "7"
    assert session("lastsave") == START_MS // 1000 - 5
    assert session("time") == [b"1000000000", b"1"]
    assert session("save") == "OK"
    assert session("bgsave", "schedule") == "Background saving started"
    session("config", "set", "maxmemory", "1mb")
    session("set", "k", "v")
    assert info(session)["used_memory"] == str(session.store.memory.used)


# --- what there is none of ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (["wait", 0, 0], 0),
        (["wait", 0, -1], Refused("ERR timeout is negative")),
        (["role"], [b"master", 0, []]),
        (["replicaof", "NO", "one"], "OK"),
        (["slaveof", "host", 1], Refused("ERR replication is not supported by this server")),
        (["failover"], Refused("ERR FAILOVER requires connected replicas.")),
        (["readonly"], Refused("ERR This instance has cluster support disabled")),
        (["function", "flush", "async"], "OK"),
        (["script", "exists", "a", "b"], [0, 0]),
        (["module", "list"], []),
        (["shutdown", "save", "nosave"], Refused("ERR syntax error")),
        (["shutdown", "abort"], Refused("ERR No shutdown in progress.")),
        (["bgsave", "now"], Refused("ERR syntax error")),
        (["latency", "histogram"], []),
        (["acl", "whoami"], b"default"),
        (["acl", "users"], [b"default"]),
        (["acl", "list"], [b"user default on nopass ~* &* +@all"]),
        (["acl", "cat", "nope"], Refused("ERR Unknown category 'nope'")),
        (["acl", "getuser", "other"], None),
        (["memory", "purge"], "OK"),
    ],
)  # fmt: skip
def test_short_answers(words: list[object], reply: object) -> None:
    assert Session()(*words) == reply


def test_nothing_is_saved_where_nothing_is_kept() -> None:
    session = Session()
    for name in ("save", "bgsave", "bgrewriteaof"):
        assert session(name).startswith("ERR this server keeps its data in memory only")
    assert session("debug", "sleep", 1).startswith("ERR DEBUG command not allowed.")


def test_a_failing_disk_is_the_reply_to_save() -> None:
    session = Session()

    def fail() -> None:
        raise CommandError(b"MISCONF no disk")

    session.store.host.save = fail
    assert session("save") == Refused("MISCONF no disk")


def test_a_client_may_end_the_server() -> None:
    session, stopped = Session(), []
    assert session("shutdown", "nosave").startswith("ERR this server cannot be ended")
    session.store.host.stop = lambda: stopped.append(1)
    assert session.raw("shutdown", "nosave", "now") is None
    assert stopped == [1]


# --- COMMAND --------------------------------------------------------------------------------------


def test_every_command_has_a_summary_and_a_group() -> None:
    for row in rows():
        assert row.summary.endswith("."), row.name
        assert group_of(row) in {
            "bitmap", "cluster", "connection", "generic", "hash", "list", "pubsub", "scripting",
            "server", "set", "sorted-set", "string", "transactions",
        }, row.name  # fmt: skip
        assert categories(row), row.name
        assert row.arity != 0


def test_command_and_its_parts() -> None:
    session = Session()
    assert session("command", "count") == len(TABLE) == len(session("command"))
    get, nothing = session("command", "info", "GET", "nope")
    assert nothing is None
    assert get == [
        b"get", 2, ["fast", "readonly"], 1, 1, 1, ["@read", "@string", "@fast"], [], [], [],
    ]  # fmt: skip
    (config,) = session("command", "info", "config")
    assert {row[0] for row in config[9]} >= {b"config|get", b"config|help", b"config|set"}
    assert session("command", "info", "config|get")[0][1] == -3
    docs = session("command", "docs", "config|get", "nope")
    assert docs[0] == b"config|get"
    assert docs[1][:2] == [b"summary", b"The settings whose names match one of these patterns."]


def test_lists_of_commands() -> None:
    session = Session()
    names = session("command", "list")
    assert {b"get", b"config|get", b"command|list"} <= set(names)
    assert session("command", "list", "filterby", "pattern", "SETN*") == [b"setnx"]
    assert b"get" in session("command", "list", "filterby", "aclcat", "string")
    assert session("command", "list", "filterby", "module", "x") == []
    assert session("command", "list", "filterby", "x", "y") == Refused("ERR syntax error")
    assert session("command", "list", "x") == Refused("ERR syntax error")


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["get", "a"], [b"a"]),
        (["mset", "a", 1, "b", 2], [b"a", b"b"]),
        (["del", "a", "b", "c"], [b"a", b"b", b"c"]),
        (["zunionstore", "d", 2, "a", "b"], [b"d", b"a", b"b"]),
        (["memory", "usage", "k"], [b"k"]),
        (["blpop", "a", "b", 0], [b"a", b"b"]),
        (["ping", "x"], Refused("ERR The command has no key arguments")),
        (["nope", "x"], Refused("ERR Invalid command specified")),
        (["get", "a", "b"], Refused("ERR Invalid number of arguments specified for command")),
        (["zunionstore", "d", 9, "a"], Refused("ERR Invalid arguments specified for command")),
    ],
)
def test_keys_of_commands(words: list[object], keys: object) -> None:
    assert Session()("command", "getkeys", *words) == keys


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["get", "a"], [[b"a", ["RO", "access"]]]),
        (["set", "a", 1], [[b"a", ["OW", "update"]]]),
        (["set", "a", 1, "get"], [[b"a", ["RW", "access", "update"]]]),
        (["lmove", "a", "b", "left", "right"],
         [[b"a", ["RW", "access", "delete"]], [b"b", ["RW", "insert"]]]),
        (["sort", "a", "by", "store", "get", "#", "store", "d"],
         [[b"a", ["RO", "access"]], [b"d", ["OW", "update"]]]),
        (["zunionstore", "d", 2, "a", "b"],
         [[b"d", ["OW", "update"]], [b"a", ["RO", "access"]], [b"b", ["RO", "access"]]]),
    ],
)  # fmt: skip
def test_keys_with_flags(words: list[object], flags: object) -> None:
    assert Session()("command", "getkeysandflags", *words) == flags


def test_what_is_done_to_keys_is_said_of_commands_that_are_there() -> None:
    names = {row.name for row in rows()}
    assert USES.keys() <= names
    for row in rows():  # what writes does not only read
        if row.is_write and (row.keys != (0, 0, 0) or row.counted_keys):
            assert row.name in USES, row.name


# --- MEMORY and ACL -------------------------------------------------------------------------------


def test_what_keys_take() -> None:
    session = Session()
    session("set", "k", "x" * 1000)
    for i in range(1000):
        session("zadd", "z", i, f"member{i}")
    assert session("memory", "usage", "none") is None
    assert 1000 < session("memory", "usage", "k") < 1500
    few, all_ = session("memory", "usage", "z"), session("memory", "usage", "z", "samples", 0)
    assert abs(few - all_) < all_ / 10
    assert session("memory", "usage", "k", "samples", "x").startswith("ERR value is not an")
    assert session("memory", "usage", "k", "nope", 1) == Refused("ERR syntax error")
    assert b"keys.count" in session("memory", "stats")
    assert session("memory", "doctor").endswith(b"no bound.\n")


def test_the_password_is_shown_as_its_digest() -> None:
    session = Session()
    session("config", "set", "requirepass", "secret")
    assert (
        b" on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b "
        in (session("acl", "list")[0])
    )
    user = session("acl", "getuser", "default")
    assert user[:2] == [b"flags", [b"on"]]
    assert b"keyspace" in session("acl", "cat")
    assert b"set" in session("acl", "cat", "string")


# --- notifications --------------------------------------------------------------------------------


@pytest.fixture
def told() -> Session:
    session = Session()
    Notifications(session.store)
    session.raw("psubscribe", "__key*__:*", client=1)
    return session


def heard(session: Session) -> list[tuple[bytes, bytes]]:
    return [(channel, message) for _, _, channel, message in session.heard(1)]


def test_nothing_is_published_unasked(told: Session) -> None:
    told("set", "k", 1)
    assert heard(told) == []
    assert not told.store.listeners


def test_both_kinds(told: Session) -> None:
    told("config", "set", "notify-keyspace-events", "KEA")
    told("select", 2)
    told("set", "k", 1, "px", 100)
    told("lpush", "l", 1)
    told("rpop", "l")
    told.wait(101)
    told("get", "k")
    assert heard(told) == [
        (b"__keyspace@2__:k", b"set"), (b"__keyevent@2__:set", b"k"),
        (b"__keyspace@2__:k", b"expire"), (b"__keyevent@2__:expire", b"k"),
        (b"__keyspace@2__:l", b"lpush"), (b"__keyevent@2__:lpush", b"l"),
        (b"__keyspace@2__:l", b"rpop"), (b"__keyevent@2__:rpop", b"l"),
        (b"__keyspace@2__:l", b"del"), (b"__keyevent@2__:del", b"l"),
        (b"__keyspace@2__:k", b"expired"), (b"__keyevent@2__:expired", b"k"),
    ]  # fmt: skip


def test_some_kinds(told: Session) -> None:
    told("config", "set", "notify-keyspace-events", "Elg")
    told("set", "k", 1)
    told("lpush", "l", 1)
    told("del", "k")
    assert heard(told) == [(b"__keyevent@0__:lpush", b"l"), (b"__keyevent@0__:del", b"k")]
    told("config", "set", "notify-keyspace-events", "")
    told("del", "l")
    assert heard(told) == []
    assert not told.store.listeners
    told("config", "set", "notify-keyspace-events", "A")  # neither K nor E
    assert not told.store.listeners


def test_keys_that_are_new(told: Session) -> None:
    told("config", "set", "notify-keyspace-events", "En")
    told("set", "k", 1)
    told("set", "k", 2)
    told("hset", "h", "f", 1)
    told("hset", "h", "g", 1)
    told.store.databases[0].set_strings([b"k", b"q", b"q"], [b"1", b"2", b"3"])
    assert heard(told) == [(b"__keyevent@0__:new", key) for key in (b"k", b"h", b"q")]
    told("config", "set", "notify-keyspace-events", "EA")
    told("set", "another", 1)
    assert heard(told) == [(b"__keyevent@0__:set", b"another")]
