"""Every check on made-up machines: ok, short and unknown, with the remedy that goes with it."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace

import pytest

from c1m.cli.doctor import render, summary
from c1m.engine.uring.rings import RingSet, Tuning
from c1m.errors import EngineUnavailable, UsageError
from c1m.kernel.real import RealKernel
from c1m.kernel.uring_probe import probe
from c1m.limits import needs
from c1m.limits.catalogue import LIMITS
from c1m.limits.forecast import Forecast, forecast
from c1m.limits.limit import OK, SHORT, UNKNOWN, Finding, Situation, with_room
from c1m.limits.ports import format_ports, parse_ports

GIB = 1 << 30
RESERVED = "net.ipv4.ip_local_reserved_ports"
CONNTRACK_MAX = "net.netfilter.nf_conntrack_max"
CONNTRACK_COUNT = "net.netfilter.nf_conntrack_count"
CONNTRACK_TIMEOUT = "net.netfilter.nf_conntrack_tcp_timeout_established"

# The development machine as it comes.
MACHINE = Situation(
    kernel=(6, 18),
    sysctls={
        "fs.nr_open": "1048576",
        "fs.file-max": "2466170",
        "fs.file-nr": "500 0 2466170",
        "fs.epoll.max_user_watches": "5491511",
        "kernel.io_uring_disabled": "0",
        "net.core.somaxconn": "4096",
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.tcp_max_syn_backlog": "2048",
        "net.ipv4.tcp_mem": "287898 383867 575796",
        "net.ipv4.tcp_rmem": "4096 131072 33554432",
        "net.ipv4.tcp_wmem": "4096 16384 4194304",
        CONNTRACK_MAX: "262144",
        CONNTRACK_COUNT: "0",
        CONNTRACK_TIMEOUT: "432000",
    },
    nofile=(20_000, 20_000),
    memory_available_bytes=23 * GIB,
    slab_bytes={"TCP": 2521, "sock_inode_cache": 863, "filp": 196, "dentry": 196},
    uring_errno=0,
    memlock_bytes=8 << 20,
    has_ipc_lock=True,
    has_sys_admin=True,
)
M = 1_000_000


def machine(values: Mapping[str, object] | None = None, **more: object) -> Situation:
    """The development machine with other values: sysctls by their names (None: not there)."""
    values = {**(values or {}), **more}
    sysctls = {**MACHINE.sysctls, **{name: value for name, value in values.items() if "." in name}}
    there = {name: str(value) for name, value in sysctls.items() if value is not None}
    fields = {name: value for name, value in values.items() if "." not in name}
    return replace(MACHINE, sysctls=there, **fields)  # type: ignore[arg-type]


def found(result: Forecast, name: str) -> Finding:
    (finding,) = [f for f in result.findings if f.name == name]
    return finding


def test_a_million_with_both_ends_fits_the_development_machine_with_uring() -> None:
    result = forecast(M, "both", "auto", [8001], MACHINE)
    assert result.request.engine == "uring"
    assert not result.is_short
    assert result.unknown == ()
    assert result.fits is not None and result.fits >= M
    assert result.first_limit == "memory"
    assert "4,096" in found(result, "net.core.somaxconn").text


def test_with_epoll_nofile_stops_it() -> None:
    result = forecast(M, "both", "epoll", [8001], MACHINE)
    assert result.is_short
    assert result.first_limit == "nofile (hard)"
    assert result.fits is not None and 19_900 < result.fits < 20_000
    assert "--engine uring" in found(result, "nofile (hard)").remedy


# name, role, engine, what makes it short, what makes it unknown
BOUNDS = [
    ("nofile (hard)", "both", "epoll", {"nofile": (1024, 4096)}, {"nofile": None}),
    ("nofile (hard)", "both", "uring", {"nofile": (256, 256)}, {"nofile": None}),
    ("rings", "both", "uring", {"nofile": (2048, 2048)}, {"nofile": None}),
    ("fs.nr_open", "server", "epoll", {"fs.nr_open": 900_000}, {"fs.nr_open": None}),
    ("fs.file-max", "both", "uring",
        {"fs.file-max": 2_000_000, "has_sys_admin": False}, {"fs.file-max": None},
    ),
    ("fs.file-max", "both", "uring",
        {"fs.file-nr": 500_000, "has_sys_admin": False}, {"fs.file-max": None},
    ),
    (
        "fs.epoll.max_user_watches", "server", "epoll",
        {"fs.epoll.max_user_watches": 999_999}, {"fs.epoll.max_user_watches": None},
    ),
    (
        "net.ipv4.tcp_mem", "server", "uring",
        {"net.ipv4.tcp_mem": "1000 2000 3000"}, {"net.ipv4.tcp_mem": None},
    ),
    (
        "net.netfilter.nf_conntrack_max", "both", "uring",
        {"net.netfilter.nf_conntrack_count": 10}, {"net.netfilter.nf_conntrack_count": None},
    ),
    (
        "memory", "both", "uring",
        {"memory_available_bytes": 8 * GIB}, {"memory_available_bytes": None},
    ),
    (
        "cgroup memory", "server", "uring",
        {"cgroup_limit_bytes": 2 * GIB, "cgroup_used_bytes": GIB},
        {"cgroup_limit_bytes": 2 * GIB, "cgroup_used_bytes": None},
    ),
    (
        "memlock", "both", "uring",
        {"has_ipc_lock": False, "memlock_bytes": 512 << 10},
        {"has_ipc_lock": False, "memlock_bytes": None},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "role", "engine", "short", "unknown"), BOUNDS)
def test_short_says_how_many_fit_and_what_to_do(
    name: str, role: str, engine: str, short: dict[str, object], unknown: dict[str, object]
) -> None:
    finding = found(forecast(M, role, engine, [8001], machine(short)), name)
    assert finding.verdict == SHORT
    assert finding.fits is not None and finding.fits < M
    assert isinstance(finding.needed, int) and isinstance(finding.have, int)
    assert finding.needed > finding.have
    assert finding.remedy


@pytest.mark.parametrize(("name", "role", "engine", "short", "unknown"), BOUNDS)
def test_ok_with_fewer_and_unknown_where_nothing_is_told(
    name: str, role: str, engine: str, short: dict[str, object], unknown: dict[str, object]
) -> None:
    finding = found(forecast(10, role, engine, [8001], machine(short)), name)
    assert (finding.verdict, finding.remedy, finding.fixes) == (OK, "", ())
    finding = found(forecast(M, role, engine, [8001], machine(unknown)), name)
    assert (finding.verdict, finding.fits) == (UNKNOWN, None)
    assert "cannot be read" in finding.text


def test_a_machine_that_tells_nothing_gives_unknowns_and_no_error() -> None:
    for role in ("server", "client", "both"):
        for engine in ("auto", "uring", "epoll"):
            result = forecast(M, role, engine, [8001], Situation())
            assert len(result.unknown) >= 6
            assert render(result, 100)
    result = forecast(M, "server", "epoll", [8001], Situation())
    assert result.fits is None and result.first_limit is None
    assert "cannot be said" in summary(result)[0]


def test_soft_nofile_is_never_short() -> None:
    finding = found(forecast(M, "both", "epoll", situation=machine(nofile=(5, 2 * M))),
                    "nofile (soft)")  # fmt: skip
    assert finding.verdict == OK
    assert "raises it" in finding.text
    finding = found(forecast(M, situation=machine(nofile=None)), "nofile (soft)")
    assert finding.verdict == UNKNOWN


def test_file_max_does_not_bind_the_administrator_but_is_named() -> None:
    finding = found(forecast(M, situation=machine({"fs.file-max": 1000}, has_sys_admin=True)),
                    "fs.file-max")  # fmt: skip
    assert (finding.verdict, finding.fits) == (OK, None)
    assert "CAP_SYS_ADMIN" in finding.text
    assert finding.fixes


def test_local_ports_off_loopback() -> None:
    name = "net.ipv4.ip_local_port_range"
    finding = found(forecast(M, "client", "uring", [80], MACHINE, sources=1), name)
    assert (finding.verdict, finding.fits) == (SHORT, 14_116)
    assert "32 pairs" in finding.remedy
    assert "--sources 32" in finding.remedy
    assert [fix.value for fix in finding.fixes] == ["1024 65535"]
    finding = found(forecast(M, "client", "uring", [80], MACHINE, sources=71), name)
    assert finding.verdict == OK
    finding = found(forecast(M, "client", "uring", range(80, 151), MACHINE, sources=1), name)
    assert finding.verdict == OK
    assert found(forecast(M, "client", situation=machine({name: None})), name).verdict == UNKNOWN
    reserved = machine({RESERVED: "1-65535"})
    finding = found(forecast(1, "client", situation=reserved), name)
    assert (finding.verdict, finding.fits) == (SHORT, 0)
    assert all(f.name != name for f in forecast(M, "server", situation=MACHINE).findings)


def test_widening_the_range_reserves_the_listening_ports() -> None:
    result = forecast(M, "both", "uring", [8001], machine({RESERVED: "9"}), sources=1)
    fixes = found(result, "net.ipv4.ip_local_port_range").fixes
    assert {fix.sysctl: fix.value for fix in fixes} == {
        "net.ipv4.ip_local_port_range": "1024 65535",
        "net.ipv4.ip_local_reserved_ports": "9,8001",
    }


def test_listening_ports_inside_the_ephemeral_range_are_named() -> None:
    name = "net.ipv4.ip_local_reserved_ports"
    finding = found(forecast(M, "server", "uring", [40000, 40001, 80], MACHINE), name)
    assert (finding.verdict, finding.needed) == (OK, "40000-40001")
    assert "40000-40001" in finding.text
    assert finding.remedy
    reserved = machine({RESERVED: "39000-40500"})
    finding = found(forecast(M, "server", "uring", [40000, 80], reserved), name)
    assert (finding.needed, finding.remedy) == ("none", "")
    assert (
        found(forecast(M, situation=machine({"net.ipv4.ip_local_port_range": None})), name).verdict
        == UNKNOWN
    )


def test_queues_are_advice() -> None:
    both = forecast(M, "both", "uring", [8001], MACHINE)
    server = forecast(M, "server", "uring", [8001], MACHINE)
    for name in ("net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"):
        assert (found(both, name).verdict, found(both, name).remedy) == (OK, "")
        assert (found(server, name).verdict, found(server, name).fixes[0].value) == (OK, "65535")
    queues = "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"
    wide = forecast(M, "server", "uring", [8001], machine(dict.fromkeys(queues, 65535)))
    assert found(wide, "net.core.somaxconn").text == ""
    blind = forecast(M, "server", "uring", [8001], machine(dict.fromkeys(queues)))
    assert {f.name for f in blind.unknown} >= set(queues)
    off = forecast(M, "server", "uring", [8001], machine({"net.ipv4.tcp_syncookies": 0}))
    assert "dropped" in found(off, "net.ipv4.tcp_max_syn_backlog").text


def test_a_queue_of_packets_is_too_short_only_where_some_were_dropped() -> None:
    name = "net.core.netdev_max_backlog"
    silent = forecast(M, "both", "uring", [8001], machine({name: 1000}))
    assert found(silent, name).remedy == "" and found(silent, name).fixes == ()
    full = machine({name: 1000}, softnet_dropped=6_435_221)
    finding = found(forecast(M, "both", "uring", [8001], full), name)
    assert finding.verdict == OK and "6,435,221 packets" in finding.text
    assert [fix.value for fix in finding.fixes] == ["100000"]
    wide = machine(
        {name: 1_000_000}, softnet_dropped=6_435_221
    )  # they were dropped before it was raised
    assert found(forecast(M, "both", "uring", [8001], wide), name).fixes == ()
    hidden = forecast(M, "both", "uring", [8001], machine(softnet_dropped=5))
    assert name not in {f.name for f in hidden.findings}


@pytest.mark.parametrize("name", ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"])
def test_tcp_buffers(name: str) -> None:
    assert found(forecast(M, situation=MACHINE), name).remedy == ""
    small = found(forecast(M, situation=machine({name: "1024 16384 4194304"})), name)
    assert (small.verdict, small.fixes[0].value.split()[0]) == (OK, "4096")
    large = found(forecast(M, situation=machine({name: f"4096 {1 << 24} {1 << 25}"})), name)
    assert "large" in large.text and large.remedy
    assert found(forecast(M, situation=machine({name: None})), name).verdict == UNKNOWN


def test_conntrack_counts_only_where_it_tracks() -> None:
    name, timeout = CONNTRACK_MAX, CONNTRACK_TIMEOUT
    idle = forecast(M, situation=MACHINE)
    assert found(idle, name).fits is None
    assert all(f.name != timeout for f in idle.findings)
    absent = forecast(M, situation=machine({name: None}))
    assert found(absent, name).have == "not loaded"
    busy = {CONNTRACK_COUNT: 5, name: 2 * M}
    assert found(forecast(M, situation=machine(busy)), timeout).remedy == ""
    brief = forecast(M, situation=machine({**busy, timeout: 300}))
    assert "5 min" in found(brief, timeout).text and found(brief, timeout).fixes
    blind = forecast(M, situation=machine({**busy, timeout: None}))
    assert found(blind, timeout).verdict == UNKNOWN


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"uring_errno": errno.EPERM, "kernel.io_uring_disabled": 2}, "kernel.io_uring_disabled"),
        ({"uring_errno": errno.EPERM}, "seccomp"),
        ({"uring_errno": errno.ENOMEM}, "LimitMEMLOCK"),
        ({"uring_errno": errno.ENOSYS}, "epoll"),
        ({"uring_errno": errno.EINVAL, "kernel": (5, 10)}, "Linux 6.1 or later"),
        ({"uring_errno": None, "kernel": (5, 10)}, "Linux 6.1 or later"),
    ],
)
def test_io_uring_refused(values: dict[str, object], words: str) -> None:
    refused = machine(values)
    asked = forecast(10, "both", "uring", [8001], refused)
    finding = found(asked, "io_uring")
    assert (finding.verdict, finding.fits, asked.first_limit) == (SHORT, 0, "io_uring")
    assert words in finding.remedy
    assert summary(asked)[0].endswith("allows none of the 10 connections.")
    auto = forecast(10, "both", "auto", [8001], refused)
    assert (auto.request.engine, auto.is_short) == ("epoll", False)
    assert "without it" in found(auto, "io_uring").text


def test_io_uring_not_tried_is_unknown() -> None:
    result = forecast(M, situation=machine(uring_errno=None))
    assert (result.request.engine, found(result, "io_uring").verdict) == ("uring", UNKNOWN)


def test_memory_says_when_it_goes_by_usual_sizes() -> None:
    assert "usual" in found(forecast(M, situation=machine(slab_bytes={})), "memory").text
    assert "usual" not in found(forecast(M, situation=MACHINE), "memory").text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"connections": 0}, "0 connections"),
        ({"connections": -5}, "-5 connections"),
        ({"connections": 1, "sources": 0}, "source"),
    ],
)
def test_bad_requests_are_one_sentence(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        forecast(situation=MACHINE, **values)  # type: ignore[arg-type]


def test_the_table_names_every_check_and_stays_within_the_width() -> None:
    result = forecast(M, "server", "epoll", [40000], machine({CONNTRACK_COUNT: 9, "fs.nr_open": 5}))
    text = render(result, width=80)
    for finding in result.findings:
        assert any(line.startswith(finding.name) for line in text.splitlines())
    assert "To fix it: " in text and "Better: " in text
    notes = [line for line in text.splitlines() if line.startswith("    ")]
    assert max(map(len, notes)) <= 80
    assert "\x1b[31mshort" in text
    assert len(LIMITS) == len({limit.name for limit in LIMITS})


def test_one_connection_has_its_grammar() -> None:
    result = forecast(M, "server", "epoll", [8001], machine(nofile=(66, 66)))
    assert summary(result)[0].endswith("allows only 1 of the 1,000,000 connections.")


def test_ports_text_there_and_back() -> None:
    assert parse_ports("8001,9000-9010,x\n") == ((8001, 8001), (9000, 9010))
    assert parse_ports("") == ()
    assert format_ports(((9, 9), (3, 5), (6, 6), (4, 4))) == "3-6,9"


def test_with_room_is_above_by_about_a_quarter() -> None:
    for needed in (1, 7, 999, 1_000_065, 2_500_000):
        assert needed <= with_room(needed) <= needed * 1.3 + 2


def test_the_table_of_established_connections_bounds_nothing_but_is_named_when_deep() -> None:
    name = "net.ipv4.tcp_ehash_entries"
    small = forecast(M, situation=machine({name: 262_144}))
    finding = found(small, name)
    assert (finding.verdict, finding.fits) == (OK, None)
    assert "2,000,000 sockets are 8 deep" in finding.text
    assert "thash_entries=2097152" in finding.remedy
    assert not found(forecast(M, situation=machine({name: 1 << 21})), name).remedy
    assert name not in {f.name for f in forecast(M, situation=machine()).findings}


def test_sessions_that_share_cpu_are_named_where_both_ends_are_here() -> None:
    name = "kernel.sched_autogroup_enabled"
    on, off = machine({name: 1}), machine({name: 0})
    finding = found(forecast(M, situation=on), name)
    assert (finding.verdict, finding.fits, finding.have, finding.fixes) == (OK, None, "on", ())
    assert f"sysctl -w {name}=0" in finding.remedy
    assert not found(forecast(M, situation=off), name).remedy
    for result in (forecast(M, "server", situation=on), forecast(M, situation=machine())):
        assert name not in {f.name for f in result.findings}


@pytest.mark.parametrize(
    ("role", "kib", "engine"),
    [("server", 195, "epoll"), ("server", 196, "uring"), ("both", 391, "epoll"),
     ("both", 392, "uring")],
)  # fmt: skip
def test_auto_is_epoll_where_no_first_ring_may_be_locked(role: str, kib: int, engine: str) -> None:
    locked = machine(has_ipc_lock=False, memlock_bytes=kib << 10)
    assert forecast(1000, role, "auto", situation=locked).request.engine == engine
    old = replace(locked, kernel=(6, 13))
    assert forecast(1000, role, "auto", situation=old).request.engine == "uring"


def test_what_a_ring_locks_is_what_the_engine_makes() -> None:
    try:
        kernel = RealKernel(probe())
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    rings = RingSet(kernel, Tuning())
    first = rings._first
    assert first is not None
    buffers = [rings._entries(n) * 16 for n in (rings.tuning.buffers_first, rings.buffers_each)]
    made = [first.ring.locked_bytes + nbytes for nbytes in buffers]
    rings.shutdown()
    assert made == [needs.FIRST_RING_BYTES, needs.RING_BYTES]
