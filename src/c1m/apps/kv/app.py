"""The server's application: commands come as data, a tick's replies go out together at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import c1m.kv.all_commands  # noqa: F401  (fills the table)
from c1m.apps.kv.connections import Addresses, IdleConnections
from c1m.apps.kv.hosting import host_of, is_private
from c1m.apps.kv.options import KeyValueOptions
from c1m.apps.kv.output_limits import output_limits
from c1m.apps.kv.persistence import Persistence
from c1m.apps.kv.relaying import KeyValueRelay
from c1m.bounds import TURN
from c1m.clock import unix_time_ms
from c1m.engine.contract import Pieces, Slots, distinct
from c1m.errors import UsageError
from c1m.kv.clients import TOO_MANY, Clients
from c1m.kv.intake import Intake
from c1m.kv.notifications import Notifications
from c1m.kv.store import Store
from c1m.kv.upkeep import upkeep
from c1m.protocols.resp.slots import slot_of
from c1m.server.figures import Figure, Figures
from c1m.server.server import App, CloseBatch, OpenBatch, Server
from c1m.server.statistics import CloseReason
from c1m.units import NS_PER_MS, NS_PER_S, format_bytes, format_number_of

NEVER_NS = 1 << 62
OWED_NS = 5 * NS_PER_MS  # how often those are looked at who have much to take
MEMORY_TOLERANCE = 1.1  # what is loaded is weighed anew, with another result

FIGURES = {
    "kv.keys": Figure("c1m_kv_keys", "Keys of all databases"),
    "kv.commands": Figure("c1m_kv_commands_total", "Commands that ran", "command"),
    "kv.expired": Figure("c1m_kv_expired_total", "Keys whose time was up"),
    "kv.evicted": Figure("c1m_kv_evicted_total", "Keys that were given up for memory"),
    "kv.moved": Figure("c1m_kv_moved_total", "Commands for keys of other nodes of the cluster"),
}


class KeyValue(App):
    """A key-value server that speaks Redis's protocol.

    `options` are those of `c1m serve kv`, as KeyValueOptions has them: data="DIR",
    max_memory="1G". What is kept is read at once, so that a server made of this listens when all
    is there; `say` is called with a line a second meanwhile, and with what goes wrong later.
    Raises UsageError for options that cannot be meant, and for a directory that cannot be used.
    """

    turn = TURN

    def __init__(self, *, say: Callable[[str], object] = lambda line: None, **options: Any) -> None:
        self.options = KeyValueOptions(**options)
        self.cluster = self.options.cluster()
        self.persistence: Persistence | None = None
        self._say = say
        self._loaded = Store()
        if self.options.data is not None:
            durability = self.options.durability or "everysec"
            self.persistence = Persistence(self.options.data, durability)
            self.persistence.load(self._loaded, say)
            self._check_memory()
            self._check_slots()

    def on_start(self, server: Server) -> None:
        self.store = Store(server.capacity)
        self.store.adopt(self._loaded)
        if self.persistence is not None:
            self.persistence.start(self.store)
        self.clients = Clients(self.store)
        self.limits = output_limits(
            self.store.out,
            server.engine.unsent,
            self.clients.state,
            self.store.settings,
            monitors=self.store.monitors,
        )
        self.intake = Intake(self.clients)
        self.idle = IdleConnections(self.store)
        if self.cluster is not None:
            self.store.join(self.cluster)
        self._apply_options(server)
        self.store.addresses = Addresses(server)
        self.store.host = host_of(server, self.persistence)
        self.store.statistics.now_ns = server.clock.now_ns
        self.notifications = Notifications(self.store)
        self._sampled_ns = 0
        self.relay: KeyValueRelay | None = None
        if self.options.broker is not None:
            self.relay = KeyValueRelay(self.options.broker, self.store, server)

    def _check_memory(self) -> None:
        """Raise UsageError where much more is stored than may be, and nothing may be evicted."""
        limit = self.options.max_memory
        if not limit or self.options.max_memory_policy not in (None, "noeviction"):
            return
        self._loaded.memory.set_limit(limit)
        used = self._loaded.memory.used
        self._loaded.memory.set_limit(0)
        if used > limit * MEMORY_TOLERANCE:
            assert self.persistence is not None
            self.persistence.close()
            raise UsageError(
                f"What {self.options.data} holds takes {format_bytes(used)} of memory, and "
                f"--max-memory allows {format_bytes(limit)}.",
                "Allow more, or let keys go: --max-memory-policy allkeys-lru.",
            )

    def _check_slots(self) -> None:
        """Raise UsageError where keys are kept that this node of a cluster does not serve."""
        cluster, kept = self.cluster, self._loaded.databases
        if cluster is None:
            return
        others = sum(not cluster.has(slot_of(key)) for key in kept[0].data)
        others += sum(len(db.data) for db in kept[1:])
        if others:
            assert self.persistence is not None
            self.persistence.close()
            raise UsageError(
                f"{self.options.data} holds {format_number_of(others, 'key')} that node "
                f"{cluster.own} of {len(cluster.nodes)} does not serve: they are in slots of other "
                "nodes, or in other databases than 0.",
                "Start as many nodes in the order in which they were, or take an empty directory "
                "and copy the keys.",
            )

    def _apply_options(self, server: Server) -> None:
        """The options are settings, which CONFIG shows."""
        options, settings = self.options, self.store.settings
        settings["maxclients"] = min(options.max_clients or server.capacity, server.capacity)
        settings["tcp-keepalive"] = server.endpoints[0].keepalive_s
        for name, value in (
            ("requirepass", options.password),
            ("timeout", -(-(options.idle_timeout or 0) // NS_PER_S)),
            ("maxmemory-policy", options.max_memory_policy),
            ("maxmemory", options.max_memory),
            ("proto-max-bulk-len", options.max_value),
        ):
            if value:
                settings.apply(name, value)
        self.store.statistics.log = self._say
        if self.persistence is not None:
            settings["appendonly"] = "yes"
            settings["appendfsync"] = self.persistence.durability
            settings["dir"] = options.data

    def figures(self, server: Server) -> Figures:
        """What operators see."""
        store = self.store
        values = {
            "kv.keys": sum(len(db.data) for db in store.databases),
            "kv.commands": {name: count for name, count in store.statistics.calls.items() if count},
            "kv.expired": store.expired,
            "kv.evicted": store.memory.evicted,
            "kv.moved": store.statistics.errors.get(b"MOVED", 0),
        }
        found: Figures = {name: (FIGURES[name], value) for name, value in values.items()}
        return found if self.relay is None else found | self.relay.relay.figures()

    def notes(self, server: Server) -> list[str]:
        """What `c1m serve kv` says when it listens."""
        lines = []
        if self.persistence is not None:
            keys = sum(len(db.data) for db in self._loaded.databases)
            lines.append(
                f"data in {self.options.data} (durability {self.persistence.durability}), "
                f"{format_number_of(keys, 'key')}"
            )
        cluster = self.cluster
        if cluster is not None:
            first, end = cluster.slots(cluster.own)
            node = cluster.nodes[cluster.own]
            lines.append(
                f"node {cluster.own} of a cluster of {len(cluster.nodes)}: slots {first} to "
                f"{end - 1}"
            )
            if node.port not in [endpoint.port for endpoint in server.endpoints]:
                lines.append(
                    f"clients are sent to port {node.port} for these slots, and nothing listens on "
                    "it here (--listen)"
                )
        if self.options.password is None and not all(map(is_private, server.endpoints)):
            lines.append(
                "no password: whoever reaches this can read and change everything "
                "(--password-file FILE)"
            )
        return lines

    def refusal(self, listener: int) -> bytes:
        self.store.statistics.connections_refused += 1
        return TOO_MANY

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        self.store.now_ms = unix_time_ms()
        refused = self.clients.open(batch.slots)
        if len(refused):
            server.send(refused, TOO_MANY)
            server.close(refused)

    def on_pieces(self, pieces: Pieces, server: Server) -> None:
        self.store.now_ms = unix_time_ms()
        self.store.rows.look_at(self.store.now_ms)
        self.intake.take(pieces)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        """What does not work of this is left out: replies are kept and sent nevertheless."""
        try:
            due_ns = self._look_after(now_ns, server)
        except Exception as error:
            server.failed("on_tick", error, app=self)
            due_ns = NEVER_NS
        try:
            if self.persistence is not None:  # what changed is kept before anybody is told of it
                due_ns = min(due_ns, self.persistence.commit(now_ns) or NEVER_NS)
            self._send(server)
        except Exception as error:
            # Some have no replies, and would wait for ever; others' may be somebody else's next.
            those = self.store.out.drop() + self.intake.paused + self.intake.resumed
            self.intake.paused.clear()
            self.intake.resumed.clear()
            server.failed("on_tick", error, those, self)
        return now_ns if self.store.out.deliveries else due_ns

    def _look_after(self, now_ns: int, server: Server) -> int:
        """What time brings; when the next of it is due."""
        self.store.now_ms = unix_time_ms()
        if self.limits:
            unsent_bytes = server.engine.statistics().outbox_bytes
            self.store.out.killed += self.limits.enforce(now_ns, unsent_bytes)
        idle = self.idle.over(now_ns)
        if idle:
            self._forget(idle)
            server.close(idle, reason=CloseReason.IDLE)
        if now_ns - self._sampled_ns >= NS_PER_S:
            self._sampled_ns = now_ns
            self.intake.look_at_held()
            server.statistics.spoke_tls = self.store.statistics.spoke_tls
            network = server.engine.statistics()
            self.store.statistics.sample(now_ns, network.received_bytes, network.sent_bytes)
        waiting, due_ns, pause_ms = self.store.waiting, NEVER_NS, self.store.pause.until_ms
        if self.relay is not None and self.relay.take():
            due_ns = now_ns
        if pause_ms:
            pause_ns = now_ns + (pause_ms - self.store.now_ms) * NS_PER_MS
            if pause_ns <= now_ns:
                self.store.end_pause()
            else:
                due_ns = min(due_ns, pause_ns)
        if self.intake.owed:
            unsent = server.engine.unsent
            self.intake.look_at_owed(lambda slot: unsent(slot) < server.outbox_high)
            due_ns = min(due_ns, now_ns + OWED_NS)
        if waiting.unblocked or waiting.has_times:
            due_ms = self.intake.go_on()
            if due_ms is not None:
                due_ns = min(due_ns, now_ns + (due_ms - self.store.now_ms) * NS_PER_MS)
        wait_ms = upkeep(self.store)
        if wait_ms is not None:
            due_ns = min(due_ns, now_ns + wait_ms * NS_PER_MS)
        return due_ns

    def on_stop(self, server: Server) -> None:
        if self.relay is not None:
            self.relay.settle()

    def is_done(self, server: Server) -> bool:
        return not self.store.out.deliveries

    def on_end(self, server: Server) -> None:
        if self.relay is not None:
            self.relay.relay.close()
        if self.persistence is not None:
            self.persistence.close()

    def _send(self, server: Server) -> None:
        out, intake = self.store.out, self.intake
        if out.killed:
            self._end(out.killed, server, abort=True)
        for slots, pieces in out.batches:
            server.engine.send_each(slots, pieces)
        out.batches.clear()
        replies = out.take()
        said = [slot for slot, pieces in replies.items() if pieces]
        if out.deliveries:  # what they wait for comes first
            first = np.array([*said, *out.closing], np.int32)
            for those, data in out.deliveries.due(first):
                server.send(those, data)
                self.limits.sent(
                    those, data.nbytes(), lambda: server.engine.statistics().outbox_bytes
                )
        server.engine.send_each(said, [b"".join(replies[slot]) for slot in said])
        for change, slots in ((server.pause, intake.paused), (server.resume, intake.resumed)):
            if slots:
                change(slots)
                slots.clear()
        if out.closing:
            self._end(out.closing, server)
        out.taken = {}

    def _end(self, slots: list[int], server: Server, *, abort: bool = False) -> None:
        self._forget(slots)
        server.close(slots, abort=abort)
        slots.clear()

    def on_blocked(self, slots: Slots, server: Server) -> None:
        self.limits.blocked(slots.tolist())

    def on_drained(self, slots: Slots, server: Server) -> None:
        self.limits.forget(slots.tolist())

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        self._forget(batch.slots.tolist())

    def on_eof(self, slots: Slots, server: Server) -> None:
        self.intake.end(slots.tolist())

    def _forget(self, slots: list[int]) -> None:
        gone = distinct(np.array(slots, np.int32))
        self.clients.forget(gone)
        self.store.out.deliveries.forget(gone)
        self.limits.forget(slots)
        self.intake.forget(slots)
