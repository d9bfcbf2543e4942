"""INFO: what tools read about a server, in sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.connection import VERSION
from c1m.kv.rows import IS_SUBSCRIBER
from c1m.kv.store import Store
from c1m.protocols.resp.replies import verbatim

Lines = Iterable[tuple[str, Any]]


@command("info", -1, "loading stale")
def info(client: Client, args: Args) -> bytes:
    """What the server is, holds and has done, in sections."""
    wanted = {word.decode("latin-1").lower() for word in args[1:]} or {"default"}
    if wanted & {"all", "everything"}:
        wanted |= SECTIONS.keys()
    if "default" in wanted:
        wanted |= SECTIONS.keys() - _ONLY_WHEN_ASKED
    texts = []
    for name, section in SECTIONS.items():
        if name in wanted:
            lines = "".join(f"{key}:{value}\r\n" for key, value in section(client.store))
            texts.append(f"# {_TITLES.get(name) or name.capitalize()}\r\n{lines}")
    return verbatim("\r\n".join(texts).encode("latin-1"), client.protocol)


def human(size: int) -> str:
    """Bytes as INFO has them: 0B, 1.88M."""
    if size < 1024:
        return f"{size}B"
    value = float(size)
    for unit in "KMG":
        value /= 1024
        if value < 1024 or unit == "G":
            break
    return f"{value:.2f}{unit}"


def used_memory(store: Store) -> int:
    """What is counted against maxmemory, where it is counted; else what the process has."""
    return store.memory.used if store.memory.limit else store.host.usage().rss_bytes


def _server(store: Store) -> Lines:
    host = store.host
    uptime_s = (store.now_ms - host.started_ms) // 1000
    return {
        "redis_version": VERSION.decode(),
        "c1m_version": host.version,
        "redis_mode": "standalone" if store.cluster is None else "cluster",
        "os": host.system,
        "arch_bits": 64,
        "multiplexing_api": host.engine,
        "process_id": host.process_id,
        "run_id": host.run_id,
        "tcp_port": host.port,
        "server_time_usec": host.now_us() if host.now_us is not None else store.now_ms * 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s // 86400,
        "hz": store.settings["hz"],
        "configured_hz": store.settings["hz"],
        "executable": host.executable,
        "config_file": "",
        "io_threads_active": 0,
    }.items()


def _clients(store: Store) -> Lines:
    rows = store.rows
    subscribers = int(((rows.state[: rows.top] & IS_SUBSCRIBER) != 0).sum())
    return {
        "connected_clients": rows.count,
        "cluster_connections": 0,
        "maxclients": store.settings["maxclients"],
        "blocked_clients": store.waiting.count + len(store.pause.held),
        "tracking_clients": 0,
        "pubsub_clients": subscribers,
    }.items()


def _memory(store: Store) -> Lines:
    usage, used, most = store.host.usage(), used_memory(store), store.settings["maxmemory"]
    peak = max(used, 0 if most else usage.rss_peak_bytes)
    total = store.host.memory_bytes
    return {
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": usage.rss_bytes,
        "used_memory_rss_human": human(usage.rss_bytes),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_dataset": used,
        "total_system_memory": total,
        "total_system_memory_human": human(total),
        "used_memory_lua": 0,
        "maxmemory": most,
        "maxmemory_human": human(most),
        "maxmemory_policy": store.settings["maxmemory-policy"],
        "mem_fragmentation_ratio": f"{usage.rss_bytes / max(used, 1):.2f}",
        "mem_clients_normal": usage.unsent_bytes,
        "mem_allocator": "python",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
    }.items()


def _persistence(store: Store) -> Lines:
    kept = store.host.kept() if store.host.kept is not None else None
    status = "err" if kept is not None and kept.is_failing else "ok"
    return {
        "loading": 0,
        "rdb_changes_since_last_save": store.changes if kept is None else kept.unsaved,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": last_save_ms(store) // 1000,
        "rdb_last_bgsave_status": status,
        "rdb_last_bgsave_time_sec": -1,
        "rdb_current_bgsave_time_sec": -1,
        "aof_enabled": int(kept is not None),
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_last_write_status": status,
        "c1m_durability": "none" if kept is None else kept.durability,
    }.items()


def last_save_ms(store: Store) -> int:
    """When all was on disk last; the start where nothing is kept."""
    return store.host.started_ms if store.host.kept is None else store.host.kept().saved_ms


def _stats(store: Store) -> Lines:
    statistics, usage, heard = store.statistics, store.host.usage(), store.subscriptions
    commands, received, sent = statistics.per_s
    relay = store.host.relay() if store.host.relay is not None else {}
    return {
        "total_connections_received": statistics.connections,
        "total_commands_processed": sum(statistics.calls.values()),
        "instantaneous_ops_per_sec": commands,
        "total_net_input_bytes": usage.received_bytes,
        "total_net_output_bytes": usage.sent_bytes,
        "instantaneous_input_kbps": f"{received / 1024:.2f}",
        "instantaneous_output_kbps": f"{sent / 1024:.2f}",
        "rejected_connections": statistics.connections_refused,
        "sync_full": 0,
        "expired_keys": store.expired,
        "evicted_keys": store.memory.evicted,
        "evicted_clients": statistics.clients_evicted,
        "pubsub_channels": len(heard.channels),
        "pubsub_patterns": len(heard.patterns),
        "pubsubshard_channels": len(heard.shards),
        "latest_fork_usec": 0,
        "migrate_cached_sockets": 0,
        "client_output_buffer_limit_disconnections": sum(store.out.dropped.values()),
        "total_error_replies": sum(statistics.errors.values()),
        "unexpected_error_replies": statistics.faults,
        **{f"relay_{name}": value for name, value in relay.items()},
    }.items()


def _replication(store: Store) -> Lines:
    return {
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": store.host.run_id,
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
    }.items()


def _cpu(store: Store) -> Lines:
    usage = store.host.usage()
    return {
        "used_cpu_sys": f"{usage.system_s:.6f}",
        "used_cpu_user": f"{usage.user_s:.6f}",
        "used_cpu_sys_children": "0.000000",
        "used_cpu_user_children": "0.000000",
    }.items()


def _commandstats(store: Store) -> Lines:
    statistics = store.statistics
    for name, calls in {**dict.fromkeys(statistics.rejected, 0), **statistics.calls}.items():
        took_us = statistics.took_ns.get(name, 0) // 1000
        yield (
            f"cmdstat_{name}",
            f"calls={calls},usec={took_us},usec_per_call={took_us / max(calls, 1):.2f},"
            f"rejected_calls={statistics.rejected.get(name, 0)},"
            f"failed_calls={statistics.failed.get(name, 0)}",
        )


def _errorstats(store: Store) -> Lines:
    for word, count in sorted(store.statistics.errors.items()):
        yield f"errorstat_{word.decode('latin-1')}", f"count={count}"


def _keyspace(store: Store) -> Lines:
    for database in store.databases:
        if database.data:
            keys, expires = len(database.data), len(database.expires)
            yield f"db{database.index}", f"keys={keys},expires={expires},avg_ttl=0"


SECTIONS: dict[str, Callable[[Store], Lines]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": lambda store: (),
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "latencystats": lambda store: (),
    "cluster": lambda store: [("cluster_enabled", int(store.cluster is not None))],
    "keyspace": _keyspace,
}
_TITLES = {"cpu": "CPU"}
_ONLY_WHEN_ASKED = {"commandstats", "latencystats"}
