"""The conditions of a run: machine, kernel, versions, limits. Figures travel with these."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

from c1m import clock
from c1m.kernel import procfs
from c1m.limits.catalogue import RECORDED_SYSCTLS
from c1m.results.record import EngineUsed, Metadata

SYSCTLS = (*RECORDED_SYSCTLS, "net.ipv4.tcp_congestion_control")


def collect(
    engine_name: str,
    engine_reason: str,
    extra: Mapping[str, Any] | None = None,
    root: Path = procfs.ROOT,
) -> Metadata:
    """The conditions now. `extra` are the engine's own figures; sysctls that are not there are left
    out. Never fails: what is not known is empty or 0."""
    nofile_soft, nofile_hard = procfs.nofile(root)
    sysctls = {name: procfs.read_sysctl(name, root) for name in SYSCTLS}
    return Metadata(
        kernel=f"{platform.system()} {platform.release()}",
        cpu=procfs.cpu_model(root),
        cores=os.cpu_count() or 0,
        memory_bytes=procfs.meminfo(root).get("MemTotal", 0),
        python=platform.python_version(),
        numpy=np.__version__,
        c1m=_own_version(),
        nofile_soft=nofile_soft,
        nofile_hard=nofile_hard,
        sysctls={name: " ".join(text.split()) for name, text in sysctls.items() if text},
        engine=EngineUsed(engine_name, engine_reason, dict(extra or {})),
    )


def whereabouts(root: Path = procfs.ROOT) -> tuple[str, str, str]:
    """This machine's name, and what tells the machine and the network namespace from others."""
    boot = procfs.read_text("proc/sys/kernel/random/boot_id", root) or ""
    network = ""
    with contextlib.suppress(OSError):
        network = f"{boot.strip()} {os.readlink(root / 'proc/self/ns/net')}"
    return platform.node(), boot.strip(), network


def started_text(wall_s: float | None = None) -> str:
    """Seconds since 1970 (None: now) as a record's `started`: "2026-11-23T12:05:07Z"."""
    moment = datetime.fromtimestamp(clock.wall_time_s() if wall_s is None else wall_s, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _own_version() -> str:
    try:
        return packages.version("c1m")
    except packages.PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
