"""Settings that CONFIG shows and sets: one table, and a server's values. Pure.

A setting that is shown because clients read it, and has no effect here, is in the table, too. Who
has to know of a change puts a function into `Settings.effects`; it may refuse the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from c1m.kv.arguments import INT64_MAX
from c1m.kv.errors import CommandError
from c1m.kv.rows import IDLE_MAX_S
from c1m.protocols.resp.requests import BULK_MAX, REQUEST_MAX

INT32_MAX = (1 << 31) - 1
UINT32_MAX = (1 << 32) - 1
UNITS = {
    b"": 1, b"b": 1, b"k": 1000, b"kb": 1 << 10, b"m": 1000**2, b"mb": 1 << 20,
    b"g": 1000**3, b"gb": 1 << 30,
}  # fmt: skip
EVENT_LETTERS = "g$lshzxetdKEmn"  # of notify-keyspace-events, in the order in which they are shown
EVENTS_OF_A = "g$lshzxetd"
POLICIES = (
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
    "allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction",
)  # fmt: skip

Read = Callable[[bytes], Any]  # raises ValueError with the reason


class Setting(NamedTuple):
    """A row of the table."""

    default: Any
    read: Read | None = None  # None: it cannot be set


def number(least: int = 0, most: int = INT64_MAX) -> Read:
    """An integer in a range."""

    def read(text: bytes) -> int:
        if not re.fullmatch(rb"-?[0-9]{1,19}", text):
            raise ValueError("argument couldn't be parsed into an integer")
        if not least <= int(text) <= most:
            raise ValueError(f"argument must be between {least} and {most} inclusive")
        return int(text)

    return read


def size(least: int = 0) -> Read:
    """Bytes, with one of Redis's units: 1k is 1,000, 1kb is 1,024."""

    def read(text: bytes) -> int:
        match = re.fullmatch(rb"([0-9]{1,19})([a-z]*)", text.lower())
        if match is None or match[2] not in UNITS:
            raise ValueError("argument must be a memory value")
        value = int(match[1]) * UNITS[match[2]]
        if not least <= value <= INT64_MAX:
            raise ValueError(f"argument must be between {least} and {INT64_MAX} inclusive")
        return value

    return read


def flag(text: bytes) -> bool:
    """Yes or no."""
    if text.lower() not in (b"yes", b"no"):
        raise ValueError("argument must be 'yes' or 'no'")
    return text.lower() == b"yes"


def word(*words: str) -> Read:
    """One of these."""

    def read(text: bytes) -> str:
        given = text.decode("latin-1").lower()
        if given not in words:
            raise ValueError(f"argument(s) must be one of the following: {', '.join(words)}")
        return given

    return read


def words(text: bytes) -> str:
    """Anything."""
    return text.decode("latin-1")


def events(text: bytes) -> str:
    """The letters of notify-keyspace-events, in their order; A stands for most of them."""
    given = set(text.decode("latin-1"))
    if not given <= {*EVENT_LETTERS, "A"}:
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    if "A" in given or given >= set(EVENTS_OF_A):
        given = given - set(EVENTS_OF_A) | {"A"}
    return "".join(letter for letter in "A" + EVENT_LETTERS if letter in given)


def size_or_share(text: bytes) -> str:
    """Bytes, or a part of maxmemory as 10%."""
    if text.endswith(b"%") and text[:-1].isdigit():
        if int(text[:-1]) > 100:
            raise ValueError("percentage argument must be less or equal to 100")
        return text.decode()
    return str(size()(text))


def save_points(text: bytes) -> str:
    """Seconds and changes in turn."""
    parts = text.split()
    if len(parts) % 2 or not all(part.isdigit() for part in parts):
        raise ValueError("Invalid save parameters")
    return b" ".join(parts).decode()


def output_limits(text: bytes) -> str:
    """A class, hard bytes, soft bytes, soft seconds; several times. What is not named stays."""
    parts = text.split()
    if not parts or len(parts) % 4:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    limits = []
    for at in range(0, len(parts), 4):
        kind = parts[at].lower().replace(b"replica", b"slave")
        if kind not in (b"normal", b"slave", b"pubsub"):
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        try:
            hard, soft = size()(parts[at + 1]), size()(parts[at + 2])
            seconds = number()(parts[at + 3])
        except ValueError:
            raise ValueError(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            ) from None
        limits.append(f"{kind.decode()} {hard} {soft} {seconds}")
    return " ".join(limits)


ALIASES = {
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
    "list-max-ziplist-size": "list-max-listpack-size",
    "lua-time-limit": "busy-reply-threshold",
}
UNFINISHED_MAX = 2 * REQUEST_MAX  # bytes of unfinished commands, of all clients
IN_FORCE = {  # what counts here, too
    "maxmemory": Setting(0, size()),
    "maxmemory-policy": Setting("noeviction", word(*POLICIES)),
    "maxmemory-samples": Setting(5, number(1, INT32_MAX)),
    "maxclients": Setting(10_000, number(1, UINT32_MAX)),
    "timeout": Setting(0, number(0, IDLE_MAX_S)),
    "requirepass": Setting("", words),
    "notify-keyspace-events": Setting("", events),
    "proto-max-bulk-len": Setting(BULK_MAX, size(1 << 20)),
    "client-query-buffer-limit": Setting(REQUEST_MAX, size(2 << 20)),
    "maxmemory-clients": Setting(str(UNFINISHED_MAX), size_or_share),
    "slowlog-log-slower-than": Setting(10_000, number(-1)),
    "slowlog-max-len": Setting(128, number()),
    "latency-monitor-threshold": Setting(0, number()),
    "client-output-buffer-limit": Setting(
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", output_limits
    ),
}
ENCODINGS = {  # what OBJECT ENCODING says, and what a scan returns whole
    "hash-max-listpack-entries": Setting(512, number()),
    "hash-max-listpack-value": Setting(64, number()),
    "list-max-listpack-size": Setting(-2, number(-INT32_MAX, INT32_MAX)),
    "set-max-intset-entries": Setting(512, number()),
    "zset-max-listpack-entries": Setting(128, number()),
    "zset-max-listpack-value": Setting(64, number()),
}
FIXED = {  # what is so: it is shown, and cannot be set
    "appendfsync": Setting("everysec"),
    "appendonly": Setting("no"),
    "bind": Setting(""),
    "cluster-enabled": Setting("no"),
    "daemonize": Setting("no"),
    "databases": Setting(16),
    "dir": Setting(""),
    "enable-debug-command": Setting("no"),
    "io-threads": Setting(1),
    "port": Setting(0),
    "replicaof": Setting(""),
    "slaveof": Setting(""),
    "tls-port": Setting(0),
    "unixsocket": Setting(""),
}
WITHOUT_EFFECT = {  # what clients set, and what changes nothing here
    "active-expire-effort": Setting(1, number(1, 10)),
    "activedefrag": Setting("no", word("no")),
    "activerehashing": Setting(True, flag),
    "busy-reply-threshold": Setting(5000, number(0)),
    "dbfilename": Setting("dump.rdb"),
    "hz": Setting(10, number(0, INT32_MAX)),
    "latency-tracking": Setting(False, flag),
    "latency-tracking-info-percentiles": Setting("50 99 99.9", words),
    "lazyfree-lazy-eviction": Setting(False, flag),
    "lazyfree-lazy-expire": Setting(False, flag),
    "lazyfree-lazy-server-del": Setting(False, flag),
    "lazyfree-lazy-user-del": Setting(False, flag),
    "lazyfree-lazy-user-flush": Setting(False, flag),
    "lfu-decay-time": Setting(1, number(0, INT32_MAX)),
    "lfu-log-factor": Setting(10, number(0, INT32_MAX)),
    "list-compress-depth": Setting(0, number(0, INT32_MAX)),
    "loglevel": Setting("notice", word("debug", "verbose", "notice", "warning")),
    "min-replicas-to-write": Setting(0, number(0, INT32_MAX)),
    "rdbcompression": Setting(True, flag),
    "save": Setting("", save_points),
    "stop-writes-on-bgsave-error": Setting(True, flag),
    "stream-node-max-bytes": Setting(4096, size()),
    "stream-node-max-entries": Setting(100, number()),
    "tcp-keepalive": Setting(0, number(0, INT32_MAX)),
}
TABLE = IN_FORCE | ENCODINGS | FIXED | WITHOUT_EFFECT


class Settings:
    """A server's values, by name: `settings["maxmemory"]` is an int, others bool or str."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {name: row.default for name, row in TABLE.items()}
        self.effects: dict[str, Callable[[Any], object]] = {}  # called with a new value

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """What the server itself says: not looked at, and no effects."""
        self._values[name] = value

    def text(self, name: str) -> str:
        """A value as CONFIG GET shows it."""
        value = self._values[ALIASES.get(name, name)]
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

    @staticmethod
    def names() -> Iterable[str]:
        """All that CONFIG GET knows."""
        return [*TABLE, *ALIASES]

    def change(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """CONFIG SET: all of these, or none. Raises CommandError."""
        changes: dict[str, Any] = {}
        for given, text in pairs:
            name = given.decode("latin-1").lower()
            name = ALIASES.get(name, name)
            if name not in TABLE:
                raise CommandError(
                    b"ERR Unknown option or number of arguments for CONFIG SET - '%b'" % given
                )
            read = TABLE[name].read
            if read is None:
                raise _failed(given, "can't set immutable config")
            if name in changes and given.decode("latin-1").lower() == name:
                raise _failed(given, "duplicate parameter")
            try:
                changes[name] = read(text)
            except ValueError as reason:
                raise _failed(given, str(reason)) from None
        before = {name: self._values[name] for name in changes}
        for name, value in changes.items():
            try:
                self.apply(name, value)
            except ValueError as reason:
                for done in changes:
                    if self._values[done] != before[done]:
                        self.apply(done, before[done])
                raise _failed(name.encode(), str(reason)) from None

    def apply(self, name: str, value: Any) -> None:
        """A new value has its effects. Raises ValueError for one that is refused."""
        if name == "client-output-buffer-limit":
            value = _merged(self._values[name], value)
        if name in self.effects:
            self.effects[name](value)
        self._values[name] = value


def _merged(before: str, given: str) -> str:
    """Output limits with some of them replaced."""
    limits = {}
    for text in (before, given):
        parts = text.split()
        limits.update({parts[at]: parts[at + 1 : at + 4] for at in range(0, len(parts), 4)})
    return " ".join(" ".join([kind, *values]) for kind, values in limits.items())


def _failed(name: bytes, reason: str) -> CommandError:
    text = f" failed (possibly related to argument '{name.decode('latin-1')}') - {reason}"
    return CommandError(b"ERR CONFIG SET" + text.encode("latin-1"))
