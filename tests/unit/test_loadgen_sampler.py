"""The sampler against a made-up /proc and against this process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from c1m.limits.catalogue import GAUGES
from c1m.loadgen.sampler import COUNTERS, Sampler

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class SteppingClock:
    """One quarter of a second further at every look."""

    def __init__(self) -> None:
        self.now = 5_000_000_000

    def now_ns(self) -> int:
        self.now += 250_000_000
        return self.now


def stat(pages: int, user: int, system: int, state: str = "S") -> str:
    middle = " ".join(["1"] * 10)
    return f"7 (a ) b) {state} {middle} {user} {system} " + " ".join(["9"] * 8) + f" {pages} 1 1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for directory in ("self", "7", "net"):
        (tmp_path / "proc" / directory).mkdir(parents=True)
    write(tmp_path, "self/stat", stat(10, 200, 300))
    write(tmp_path, "7/stat", stat(20, 400, 500))
    write(
        tmp_path,
        "meminfo",
        "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\nSlab: 70 kB\n",
    )
    write(
        tmp_path,
        "net/sockstat",
        "sockets: used 9\nTCP: inuse 5 orphan 0 tw 1 alloc 8 mem 3\nUDP: inuse 2 mem 77\n",
    )
    write(tmp_path, "stat", f"cpu  1 2 3 {40 * TICKS} {2 * TICKS} 6 7\ncpu0 9 9 9 9 9\n")
    write(tmp_path, "net/snmp", "Tcp: ActiveOpens RetransSegs\nTcp: 5 7\n")
    write(tmp_path, "net/netstat", "TcpExt: ListenOverflows Other\nTcpExt: 2 9\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / "proc" / name).write_text(text)


def test_a_row_of_a_made_up_proc(proc: Path) -> None:
    sampler = Sampler(7, SteppingClock(), root=proc)
    sampler.sample(0)
    write(proc, "7/stat", stat(21, 400 + TICKS, 500))
    sampler.sample(12)
    samples = sampler.samples()
    assert samples.t_s == [0.25, 0.5]
    assert samples.open == [0, 12]
    assert samples.server is not None
    assert samples.server.rss_bytes == [20 * PAGE, 21 * PAGE]
    assert samples.server.user_s == [400 / TICKS, 400 / TICKS + 1]
    assert samples.client.system_s == [300 / TICKS] * 2
    assert samples.kernel.slab_bytes == [70 * 1024] * 2
    assert samples.kernel.tcp_mem_bytes == [3 * PAGE] * 2
    assert samples.kernel.used_bytes == [600 * 1024] * 2
    assert samples.kernel.idle_s == [42.0] * 2
    sampler.close()
    sampler.close()


def test_times_count_from_when_it_was_made(proc: Path) -> None:
    sampler = Sampler(None, SteppingClock(), root=proc)
    sampler.sample(0)
    assert sampler.samples().t_s == [0.25]
    assert sampler.samples().server is None
    sampler.close()


def test_a_server_that_is_gone_gives_none(proc: Path) -> None:
    absent = Sampler(8, SteppingClock(), root=proc)
    absent.sample(0)
    zombie = Sampler(7, SteppingClock(), root=proc)
    write(proc, "7/stat", stat(0, 1, 1, state="Z"))
    zombie.sample(0)
    for sampler in (absent, zombie):
        server = sampler.samples().server
        assert server is not None
        assert server.rss_bytes == [None]
        sampler.close()


def test_a_real_child_that_ends() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    sampler = Sampler(child.pid, SteppingClock())
    sampler.sample(0)
    child.communicate(b"\n")
    sampler.sample(0)
    server = sampler.samples().server
    assert server is not None
    assert server.rss_bytes[0] is not None
    assert server.rss_bytes[1] is None
    assert (sampler.samples().client.rss_bytes[0] or 0) > 1 << 20
    sampler.close()


def test_nothing_to_read_gives_zeros(tmp_path: Path) -> None:
    sampler = Sampler(1, SteppingClock(), root=tmp_path)
    sampler.sample(3)
    assert sampler.samples().kernel.used_bytes == [0]
    assert sampler.samples().kernel.idle_s == [None]
    assert sampler.samples().client.rss_bytes == [None]
    assert sampler.kernel_counters() == {}


def test_long_runs_halve_their_resolution(proc: Path) -> None:
    sampler = Sampler(None, SteppingClock(), rows_max=16, root=proc)
    for i in range(1_000):
        sampler.sample(i if i <= 501 else 0)
    sampler.sample(1, keep=True)
    samples = sampler.samples()
    assert 8 <= len(samples.t_s) <= 17
    assert samples.open[0] == 0
    assert samples.open[-1] == 1
    assert samples.t_s == sorted(set(samples.t_s))
    assert len(samples.t_s) == len(samples.open) == len(samples.kernel.slab_bytes)
    assert max(samples.open) >= 448  # the highest of the answered requests is kept
    sampler.close()


def test_kernel_counters_are_differences(proc: Path) -> None:
    sampler = Sampler(None, SteppingClock(), root=proc)
    write(proc, "net/snmp", "Tcp: ActiveOpens RetransSegs\nTcp: 25 7\n")
    assert sampler.kernel_counters() == {
        "Tcp.ActiveOpens": 20,
        "Tcp.RetransSegs": 0,
        "TcpExt.ListenOverflows": 0,
    }
    sampler.close()


def test_the_counters_are_this_kernels() -> None:
    sampler = Sampler(None, SteppingClock())
    assert set(sampler.kernel_counters()) <= set(COUNTERS)
    assert "TcpExt.ListenOverflows" in sampler.kernel_counters()
    sampler.close()


def test_counters_of_queues_and_of_connection_tracking_are_differences_too(proc: Path) -> None:
    (proc / "proc/net/stat").mkdir()
    write(proc, "net/softnet_stat", "000000ff 0000000a 00000001\n")
    write(proc, "net/stat/nf_conntrack", "entries insert_failed drop\n10 1 2\n10 0 0\n")
    sampler = Sampler(None, SteppingClock(), root=proc)
    write(proc, "net/softnet_stat", "000001ff 00000010 00000001\n00000000 00000001 00000000\n")
    write(proc, "net/stat/nf_conntrack", "entries insert_failed drop\n99 1 2\n99 0 ff\n")
    moved = sampler.kernel_counters()
    assert (moved["Softnet.dropped"], moved["Softnet.time_squeeze"]) == (7, 0)
    assert (moved["Conntrack.drop"], moved["Conntrack.insert_failed"]) == (255, 0)
    assert "Softnet.processed" not in moved
    sampler.close()


def test_gauges_keep_their_highest_also_of_rows_that_are_dropped(proc: Path) -> None:
    (proc / "proc/sys/net/netfilter").mkdir(parents=True)
    sampler = Sampler(None, SteppingClock(), rows_max=4, root=proc)
    assert sampler.gauges() == {}
    text = "sockets: used 9\nTCP: inuse 5 orphan {} tw {} alloc 8 mem 3\n"
    for i in range(64):
        write(proc, "net/sockstat", text.format(64 - i, i))
        sampler.sample(i, keep=True)
    assert sampler.gauges() == {
        "TCP.inuse": 5, "TCP.orphan": 64, "TCP.tw": 63, "TCP.alloc": 8, "TCP.mem": 3,
    }  # fmt: skip
    sampler.close()
    write(proc, "sys/net/netfilter/nf_conntrack_count", "262144\n")
    tracking = Sampler(None, SteppingClock(), root=proc)
    tracking.sample(0)
    assert tracking.gauges()["Conntrack.count"] == 262_144
    assert set(tracking.gauges()) == {gauge.name for gauge in GAUGES}
    tracking.close()


def test_a_full_accept_queue_is_counted_by_the_real_kernel() -> None:
    """On loopback a SYN is dropped within connect(): there is nothing to wait for."""
    sampler = Sampler(None, SteppingClock())
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)  # takes two; nobody accepts
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        moved = sampler.kernel_counters()
    sampler.close()
    assert moved["TcpExt.ListenOverflows"] >= 4
    assert moved["TcpExt.ListenDrops"] >= moved["TcpExt.ListenOverflows"]
    assert moved["Tcp.ActiveOpens"] >= 8
