"""procfs on a made-up tree: every format, and nothing but None or empty where files are missing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from c1m.kernel import procfs

PAGE = os.sysconf("SC_PAGE_SIZE")

FILES = {
    "proc/sys/net/core/somaxconn": "4096\n",
    "proc/sys/net/ipv4/tcp_mem": "1\t2\t3\n",
    "proc/sys/net/ipv4/conf/eth0.1/forwarding": "1\n",
    "proc/sys/kernel/osrelease": "6.18.44-generic\n",
    "proc/meminfo": "MemTotal:  1000 kB\nMemAvailable:    10 kB\nHugePages_Total:    3\n",
    "proc/net/sockstat": "sockets: used 12\nTCP: inuse 1 orphan 0 tw 2 alloc 4 mem 111\n",
    "proc/net/snmp": "Tcp: MaxConn RetransSegs\nTcp: -1 5\nUdp: InErrors\nUdp: 2\n",
    "proc/net/netstat": "TcpExt: ListenOverflows TCPSynRetrans\nTcpExt: 8 9\n",
    "proc/7/status": "Name:\tx\nVmHWM:\t 20 kB\nVmRSS:\t 10 kB\nThreads:\t1\n",
    "proc/7/stat": "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 200 300 0 0 20 0 1 0 0 9 3 9\n",
    "proc/self/limits": "Limit  Soft  Hard  Units\nMax open files   1024   unlimited   files\n",
    "proc/self/status": "CapEff:\t0000000000004000\n",
    "proc/slabinfo": "slabinfo - version: 2.1\n# name\nTCP  26 26 2368 13 8 : tunables 0 0 0\n",
    "proc/cpuinfo": "processor : 0\nmodel : 17\nmodel name : A CPU\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_reads_each_format(tmp_path: Path) -> None:
    root = tree(tmp_path, FILES)
    assert procfs.read_sysctl("net.core.somaxconn", root) == "4096"
    assert procfs.read_sysctl("net.ipv4.tcp_mem", root) == "1\t2\t3"
    assert procfs.read_sysctl("net/ipv4/conf/eth0.1/forwarding", root) == "1"
    assert procfs.meminfo(root) == {
        "MemTotal": 1_024_000, "MemAvailable": 10_240, "HugePages_Total": 3,
    }  # fmt: skip
    sockets = procfs.sockstat(root)
    assert (sockets["TCP.inuse"], sockets["TCP.tw"], sockets["TCP.mem"]) == (1, 2, 111)
    counters = procfs.network_counters(root)
    assert counters == {
        "Tcp.MaxConn": -1, "Tcp.RetransSegs": 5, "Udp.InErrors": 2,
        "TcpExt.ListenOverflows": 8, "TcpExt.TCPSynRetrans": 9,
    }  # fmt: skip
    assert procfs.nofile(root) == (1024, procfs.UNLIMITED)
    assert procfs.has_capability(14, root)
    assert not procfs.has_capability(21, root)
    assert procfs.kernel_version(root) == (6, 18)
    assert procfs.cpu_model(root) == "A CPU"


def test_slab_footprint_includes_the_rest_of_its_pages(tmp_path: Path) -> None:
    slab = procfs.slabs(tree(tmp_path, FILES))["TCP"]
    assert (slab.object_bytes, slab.active_objects) == (2368, 26)
    assert 0 <= slab.footprint_bytes * 13 - 8 * PAGE < 13
    assert procfs.Slab(100, 1).footprint_bytes == 100


def test_process_sample_with_a_command_full_of_parentheses(tmp_path: Path) -> None:
    sample = procfs.process_sample(7, tree(tmp_path, FILES))
    assert sample is not None
    ticks = os.sysconf("SC_CLK_TCK")
    assert (sample.rss_bytes, sample.peak_rss_bytes, sample.threads) == (3 * PAGE, 20_480, 1)
    assert (sample.user_s, sample.system_s) == (200 / ticks, 300 / ticks)


def test_nothing_there_is_no_error(tmp_path: Path) -> None:
    assert procfs.read_sysctl("net.core.somaxconn", tmp_path) is None
    assert procfs.meminfo(tmp_path) == {}
    assert procfs.sockstat(tmp_path) == {}
    assert procfs.network_counters(tmp_path) == {}
    assert procfs.process_sample(7, tmp_path) is None
    assert procfs.nofile(tmp_path) == (0, 0)
    assert procfs.slabs(tmp_path) == {}
    assert procfs.cgroup_memory(tmp_path) == (None, None)
    assert procfs.kernel_version(tmp_path) == (0, 0)
    assert procfs.cpu_model(tmp_path) == "unknown"
    assert procfs.listener_holders(80, tmp_path) == []


V2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def test_cgroup_v2_takes_the_tightest_ancestor(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "proc/self/mountinfo": V2,
            "sys/fs/cgroup/outer/memory.max": "1000\n",
            "sys/fs/cgroup/outer/memory.current": "700\n",
            "sys/fs/cgroup/outer/memory.stat": "anon 1\ninactive_file 100\n",
            "sys/fs/cgroup/outer/inner/memory.max": "max\n",
            "sys/fs/cgroup/outer/inner/memory.current": "600\n",
        },
    )
    assert procfs.cgroup_memory(root) == (1000, 600)
    tree(root, {"sys/fs/cgroup/outer/inner/memory.max": "900\n"})  # 300 left, 400 above it
    assert procfs.cgroup_memory(root) == (900, 600)


def test_cgroup_v1_and_a_container_that_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    mount = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n0::/\n",
            "proc/self/mountinfo": mount,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 500\n",
        },
    )
    assert procfs.cgroup_memory(root) == (5000, 1500)
    tree(root, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert procfs.cgroup_memory(root) == (None, None)


def test_listener_holders_names_this_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        holders = procfs.listener_holders(listener.getsockname()[1])
    assert [pid for pid, _ in holders] == [os.getpid()]
    assert holders[0][1]


def test_listener_holders_on_a_made_up_tree(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st tx rx tr tm->when retrnsmt uid timeout inode\n"
    row = "   0: 00000000:1F41 00000000:0000 0A 0:0 00:0 0 0 0 77 1 0\n"
    other = "   1: 00000000:1F41 0100007F:0050 01 0:0 00:0 0 0 0 78 1 0\n"
    command = "python\0-m\0" + "x" * 200
    root = tree(tmp_path, {"proc/net/tcp6": head + row + other, "proc/5/cmdline": command})
    for pid, inode in (("5", "77"), ("6", "78")):
        (root / "proc" / pid / "fd").mkdir(parents=True, exist_ok=True)
        (root / "proc" / pid / "fd" / "3").symlink_to(f"socket:[{inode}]")
    ((pid_found, text),) = procfs.listener_holders(8001, root)
    assert pid_found == 5
    assert text.startswith("python -m xxx")
    assert len(text) == 80
    assert procfs.listener_holders(8002, root) == []


def test_this_machine() -> None:
    sample = procfs.process_sample()
    assert sample is not None
    assert sample.peak_rss_bytes >= sample.rss_bytes > 1 << 20
    assert sample.threads >= 1
    assert procfs.process_sample(os.getpid()) is not None
    assert procfs.meminfo()["MemTotal"] > 0
    assert "TCP.inuse" in procfs.sockstat()
    assert "Tcp.RetransSegs" in procfs.network_counters()


def test_softnet_is_hexadecimal_and_added_up_over_the_cpus(tmp_path: Path) -> None:
    line = "{:08x} {:08x} {:08x}" + " 00000000" * 12 + "\n"
    text = line.format(0xFFFFFFFF, 255, 3) + line.format(1, 10, 16)
    root = tree(tmp_path, {"proc/net/softnet_stat": text})
    assert procfs.softnet(root) == {
        "Softnet.processed": 0x100000000, "Softnet.dropped": 265, "Softnet.time_squeeze": 19,
    }  # fmt: skip
    tree(root, {"proc/net/softnet_stat": "no such form\n00000001 00000002\n"})
    assert procfs.softnet(root) == {}


def test_conntrack_counts_events_by_cpu_and_entries_once(tmp_path: Path) -> None:
    names = "entries  clashres found insert insert_failed drop early_drop\n"
    rows = "00000010  0 1 2 0000000a 1f 3\n00000010  0 1 2 00000001 01 0\n"
    root = tree(tmp_path, {"proc/net/stat/nf_conntrack": names + rows})
    counts = procfs.conntrack(root)
    assert (counts["Conntrack.entries"], counts["Conntrack.insert_failed"]) == (16, 11)
    assert (counts["Conntrack.drop"], counts["Conntrack.early_drop"]) == (32, 3)
    assert procfs.conntrack(tmp_path / "elsewhere") == procfs.softnet(tmp_path / "elsewhere") == {}
