"""The key-value server, at times with kept data: replies are held to those of a store beside."""

from __future__ import annotations

import os
import shutil
import tempfile
from random import Random
from typing import Any

from c1m.apps.kv.app import KeyValue
from c1m.kv.store import Store
from c1m.protocols.resp.replies import command
from chaos.kinds import Run, mutated
from chaos.peers import Peer
from chaos.stage import Stage
from kv_session import Session

WHERE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
HOSTILE = (
    command(b"SUBSCRIBE", b"a", b"b"), command(b"PUBLISH", b"a", b"x" * 500), b"PING\r\n",
    command(b"BLPOP", b"list", b"0"), command(b"BLPOP", b"list", b"0.01"), b"MULTI\r\n",
    command(b"LPUSH", b"list", b"1"), b"EXEC\r\n", b"HELLO 3\r\n", b"MONITOR\r\n", b"RESET\r\n",
    command(b"SET", b"x", b"y" * 20_000), b"GET x\r\nGET x\r\nGET x\r\n", b"QUIT\r\n",
    command(b"PSUBSCRIBE", b"*"), b"CLIENT REPLY OFF\r\n", b"CLIENT LIST\r\n", b"WATCH x\r\n",
    b"CLIENT TRACKING ON\r\n", b"CLIENT NO-EVICT on\r\n", command(b"SET", b"t", b"1", b"PX", b"5"),
    b"CLIENT PAUSE 30\r\n", b"XADD s * a 1\r\n", b"SORT list\r\n", b"POST / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00", b"*1\r\n$-5\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nq\r\n$900\r\nab",
    b"INFO\r\n", b"SELECT 3\r\n", b"CLIENT KILL TYPE pubsub\r\n", b"WAIT 0 0\r\n",
)  # fmt: skip

FULL = b"-ERR max number of clients reached"


class KvRun(Run):
    """Those that behave have keys of their own."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.folder = ""
        options: dict[str, Any] = {}
        if random.random() < 0.04:
            self.folder = tempfile.mkdtemp(prefix="c1m-chaos-", dir=WHERE)
            options["data"] = os.path.join(self.folder, "data")
            options["durability"] = random.choice(("always", "everysec", "no"))
        if random.random() < 0.1:
            options["max_clients"] = 3
        self.is_short = bool(options.get("max_clients"))
        self.app = KeyValue(**options)
        self.stage = Stage(random, self.app)
        if self.saboteur.chance:
            for name in ("_send", "_look_after", "on_eof", "on_blocked", "on_pieces"):
                self.saboteur.spoil(self.app, name)
            if self.app.persistence is not None:
                self.saboteur.spoil(self.app.persistence, "commit")
        self.oracle = Session(clients=1)

    @property
    def finishes(self) -> bool:
        return super().finishes and not self.is_short

    def good(self, number: int) -> Peer:
        stream, wanted = b"", b""
        alike = self.random.random() < 0.4
        count = self.random.choice((1, 5, 30, 120))
        form = self.random.randrange(7)
        for at in range(count):
            words = self._command(number, at, form if alike else self.random.randrange(7))
            stream += command(*(str(word).encode() for word in words))
            wanted += self.oracle.raw(*words) or b""
        if self.is_short:
            return Peer(self.random, self.stage.connect(), stream)

        def rightly(came: bytes) -> bool | None:
            if came.startswith(FULL):  # --when-full refuse
                return None
            return None if came != wanted and wanted.startswith(came) else came == wanted

        return Peer(self.random, self.stage.connect(), stream, rightly)

    def _command(self, number: int, at: int, form: int) -> tuple[object, ...]:
        key = f"good:{number}:{form}"
        return (
            ("SET", key, f"value {at}" * self.random.choice((1, 1, 300))),
            ("GET", f"good:{number}:0"),
            ("INCR", key),
            ("RPUSH", key, at, "x"),
            ("HSET", key, f"field{at % 7}", at),
            ("LRANGE", f"good:{number}:3", 0, 20),
            ("ZADD", key, at % 11, f"member{at}"),
        )[form]

    def bad(self) -> bytes:
        stream = b"".join(self.random.choices(HOSTILE, k=self.random.choice((1, 4, 20))))
        return mutated(self.random, stream) if self.random.random() < 0.4 else stream

    def check_empty(self) -> None:
        store, app = self.app.store, self.app
        assert not app.intake.unfinished
        assert not app.limits._blocked
        assert not app.limits._leaving
        _check_store(store)

    def check_end(self) -> None:
        """What a peer has been told of is kept."""
        super().check_end()
        if not self.folder:
            return
        again = KeyValue(data=os.path.join(self.folder, "data"))
        kept, here = again._loaded.databases[0].data, self.app.store.databases[0].data
        names = [name for name in here if name.startswith(b"good:")]
        for name in names:
            assert type(kept[name]) is type(here[name])
            if isinstance(here[name], bytes):
                assert kept[name] == here[name]
        assert sum(name.startswith(b"good:") for name in kept) == len(names)
        assert again.persistence is not None
        again.persistence.release()

    def close(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder)


def _check_store(store: Store) -> None:
    assert store.rows.count == 0
    assert not store.rows.kept
    assert not store.rows.state.any()
    assert not store.out.replies
    assert not store.out.closing
    assert not store.out.killed
    assert not store.out.deliveries
    assert not store.out.deliveries.bytes
    assert not store.monitors
