"""What INFO and its like say of the process, the machine and the disk."""

from __future__ import annotations

import os
import platform
import secrets
import sys
from importlib import metadata as packages

from c1m.addresses import AF_UNIX, Endpoint
from c1m.apps.kv.persistence import Persistence
from c1m.clock import unix_time_ms, unix_time_us
from c1m.kernel.procfs import meminfo, process_sample
from c1m.kv.host import Host, Kept, Usage
from c1m.server.server import Server


def host_of(server: Server, persistence: Persistence | None) -> Host:
    """A server's surroundings, for its store."""
    ports = [end for end in server.endpoints if end.family != AF_UNIX]
    host = Host(
        version=_own_version(),
        engine=server.engine.name,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        run_id=secrets.token_hex(20),
        executable=sys.executable,
        process_id=os.getpid(),
        port=ports[0].port if ports else 0,
        is_tls=bool(ports) and ports[0].is_tls,
        memory_bytes=meminfo().get("MemTotal", 0),
        started_ms=unix_time_ms(),
        usage=lambda: usage_of(server),
        now_us=unix_time_us,
        stop=server.stop,
    )
    if persistence is not None:
        host.kept = lambda: kept_by(persistence)
        host.save = persistence.save
    return host


def _own_version() -> str:
    try:
        return packages.version("c1m")
    except packages.PackageNotFoundError:  # run from a source tree
        return "0"


def usage_of(server: Server) -> Usage:
    """What the process has taken, and what has gone over its connections."""
    statistics, sample = server.engine.statistics(), process_sample()
    usage = Usage(
        received_bytes=statistics.received_bytes,
        sent_bytes=statistics.sent_bytes,
        unsent_bytes=statistics.outbox_bytes,
    )
    if sample is not None:
        usage.rss_bytes, usage.rss_peak_bytes = sample.rss_bytes, sample.peak_rss_bytes
        usage.user_s, usage.system_s = sample.user_s, sample.system_s
    return usage


def kept_by(persistence: Persistence) -> Kept:
    """What the store on disk says."""
    flusher = persistence.flusher
    age_ns = 0 if flusher is None else max(persistence.now_ns() - flusher.flushed_ns, 0)
    return Kept(
        is_failing=bool(persistence.failure or (flusher is not None and flusher.failure)),
        unsaved=persistence.unsaved,
        saved_ms=unix_time_ms() - age_ns // 1_000_000,
        durability=persistence.durability,
    )


def is_private(endpoint: Endpoint) -> bool:
    """Only this machine reaches it."""
    host = endpoint.host
    if endpoint.is_proxied:  # from wherever the proxy is reached
        return False
    return endpoint.family == AF_UNIX or host.startswith("127.") or host in ("::1", "localhost")
