"""The tables of docs/explanation/past-one-machine.md: a plan for 100 million connections, from what
`c1m doctor` computes for one machine, and what the simulation found for the controller."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c1m.limits import needs
from c1m.limits.forecast import Forecast, forecast
from c1m.limits.limit import Situation
from c1m.units import format_bytes, format_count

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "past-one-machine.md"
SIMULATED = ROOT / "bench" / "results" / "2026-11-30-cluster-simulated.json"

CONNECTIONS = 100_000_000
MACHINES = 10  # of servers, and as many of load
PROCESSES = 8  # on each
PORTS, SOURCES = 8, 4  # that a server machine listens on; that a load machine connects from
RATE = 1_000_000  # requests a second, of all
OPENS_PER_S, ANSWERS_PER_S = 20_000, 50_000  # of one process on a core of its own
HOURS = 1  # with setting up

# 64 GiB, of which the system has 2; Linux 6.18 with the settings that the page names.
MACHINE = Situation(
    kernel=(6, 18),
    sysctls={
        "fs.nr_open": "1048576",
        "fs.file-max": "9223372036854775807",
        "fs.epoll.max_user_watches": "50000000",
        "net.core.somaxconn": "65535",
        "net.core.netdev_max_backlog": "10000",
        "net.ipv4.ip_local_port_range": "1024 65535",
        "net.ipv4.tcp_max_syn_backlog": "65536",
        "net.ipv4.tcp_max_orphans": "1000000",
        "net.ipv4.tcp_max_tw_buckets": "1000000",
        "net.ipv4.tcp_mem": "12582912 14680064 16777216",
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
        "net.ipv4.tcp_wmem": "4096 16384 4194304",
    },
    nofile=(1 << 20, 1 << 20),
    memory_available_bytes=62 << 30,
    uring_errno=0,
    has_ipc_lock=True,
)


@dataclass(frozen=True)
class Machine:
    """One of them: all its processes together, and one of these."""

    name: str
    whole: Forecast
    process: Forecast

    @property
    def memory(self) -> needs.Memory:
        """What all its processes need."""
        one = needs.memory(self.whole.request, {}, 1 << 20)
        spare = (PROCESSES - 1) * needs.USER_BYTES_PER_PROCESS  # the formula has one process
        return needs.Memory(one.sockets, one.waiting, one.messages, one.processes + spare)

    def fits(self, name: str) -> int:
        """How many connections one of its limits allows."""
        bound = {each.name: each.fits for each in self.whole.findings}[name]
        assert bound is not None
        return bound


def machine(name: str, role: str) -> Machine:
    """A load machine connects to all ports of all server machines."""
    each = CONNECTIONS // MACHINES
    ports = range(8001, 8001 + (PORTS if role == "server" else PORTS * MACHINES))
    sources = 1 if role == "server" else SOURCES
    forecasts = [
        forecast(count, role, "uring", ports, MACHINE, sources=sources)
        for count in (each, each // PROCESSES)
    ]
    return Machine(name, *forecasts)


SERVER, LOAD = machine("server machine", "server"), machine("load machine", "client")


def check() -> None:
    """The plan holds: nothing is short but the rings of a process that would be alone."""
    for one in (SERVER, LOAD):
        assert not one.process.is_short
        short = [each.name for each in one.whole.findings if each.verdict == "short"]
        assert short == ["rings"], short
        assert one.memory.total <= (MACHINE.memory_available_bytes or 0)


def machines() -> list[tuple[str, ...]]:
    """What there is of machines, and what each needs."""
    both = SERVER, LOAD
    each = CONNECTIONS // MACHINES
    memories = [one.memory for one in both]

    def row(what: str, *values: str) -> tuple[str, ...]:
        return (what, *(values if len(values) == 2 else values * 2))

    def of_memory(name: str) -> list[str]:
        return [format_bytes(getattr(one, name)) for one in memories]

    return [
        row("machines", str(MACHINES)),
        row("connections on each", format_count(each)),
        row("processes on each, each on a core", str(PROCESSES)),
        row("connections of a process", format_count(each // PROCESSES)),
        row("rings of a process", *(str(needs.rings(m.process.request, 1 << 20)) for m in both)),
        row("kernel's sockets", *of_memory("sockets")),
        row("waiting for input", *of_memory("waiting")),
        row("a short message under way on each", *of_memory("messages")),
        row("processes", *of_memory("processes")),
        row("memory in all, of 64 GiB", *of_memory("total")),
        row("connections that would fit", *(format_count(m.fits("memory")) for m in both)),
        ("addresses and ports", f"{PORTS} ports", f"{SOURCES} sources"),
        (
            "pairs of a source and a target port", "-",
            f"{SOURCES * PORTS * MACHINES}, with room for "
            f"{format_count(LOAD.fits('net.ipv4.ip_local_port_range'))}",
        ),
    ]  # fmt: skip


def rates() -> list[tuple[str, ...]]:
    """What is asked of whom in a second."""
    of_all = MACHINES * PROCESSES
    opens = OPENS_PER_S * of_all
    busy = RATE / of_all / ANSWERS_PER_S
    return [
        (
            "connects", f"{format_count(opens)}/s: {CONNECTIONS / opens:.1f} s in all",
            f"{format_count(opens // MACHINES)}/s", f"{format_count(OPENS_PER_S)}/s",
        ),
        (
            "requests", f"{format_count(RATE)}/s", f"{format_count(RATE // MACHINES)}/s",
            f"{format_count(RATE // of_all)}/s: {busy:.0%} of a core",
        ),
        ("frames to the controller", f"{of_all}/s", f"{PROCESSES}/s", "1/s"),
        (
            "machine hours", f"{2 * MACHINES * HOURS + HOURS}, with one for the scheduler and the "
            "controller", f"{HOURS}", "-",
        ),
    ]  # fmt: skip


def walls() -> list[tuple[str, ...]]:
    """What stops more connections on these machines, the nearest first."""
    rows: list[tuple[str, ...]] = []
    for one in (SERVER, LOAD):
        bounds = {
            each.name: each.fits
            for each in one.whole.findings
            if each.fits and each.name != "rings"
        }
        rings = one.process.fits if one.process.first_limit == "rings" else None
        bounds["rings of its processes"] = PROCESSES * (rings or needs.RING_SLOTS_TOTAL_MAX)
        for name, fits in sorted(bounds.items(), key=lambda item: item[1])[:3]:
            rows.append((one.name, name, format_count(fits), f"{fits * MACHINES / 1e6:,.0f}M"))
    return rows


def controller() -> list[tuple[str, ...]]:
    """What the simulation found."""
    found: dict[str, Any] = json.loads(SIMULATED.read_text())
    alone, run, asked = found["controller"], found["run"], found["settings"]
    spent = alone["core_per_1000_frames"]
    count, rate = format_count(asked["connections"]), format_count(round(asked["rate"]))
    frames, size = format_count(alone["frames"]), format_count(alone["frame_bytes"])
    return [
        ("workers", format_count(asked["workers"])),
        ("connections, requests/s", f"{count}, {rate}"),
        ("killed, cut off", f"{asked['kill']}, {asked['cut']}"),
        ("parts that were finished", format_count(run["states"]["finished"])),
        ("stages began apart by at most", f"{run['begun_apart_ms_max']} ms"),
        ("samples in the merged distributions", format_count(run["samples"])),
        ("frames, of bytes each", f"{frames}, {size}"),
        ("of a core for 1,000 frames/s: frames, kept and merged", f"{spent['frames']:.1%}"),
        ("who is ready, silent, next", f"{spent['due'] + spent['news']:.1%}"),
        ("what is shown", f"{spent['show']:.1%}"),
        ("in all", f"{alone['core_per_1000_frames_in_all']:.1%}"),
        ("memory", f"{alone['memory_mib']} MiB"),
    ]  # fmt: skip
