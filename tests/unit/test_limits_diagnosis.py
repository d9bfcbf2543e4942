"""Every missing connection is in a row with a cause; counters are joined to what they explain."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.errors import LimitError
from c1m.limits import reasons
from c1m.limits.catalogue import COUNTERS, LIMITS
from c1m.limits.diagnosis import explanations, kernel_rows
from c1m.limits.diagnosis import missing_rows as rows_and_counters
from c1m.limits.limit import OK, SHORT, Evidence, Finding, Silence
from c1m.results.options import LoadOptions
from c1m.results.record import (
    Connections,
    EngineUsed,
    Explanation,
    Failure,
    KernelColumns,
    Metadata,
    ProcessColumns,
    RunRecord,
    Samples,
)
from laws import broken_laws

METADATA = Metadata(
    memory_bytes=8 << 30,
    nofile_soft=20_000,
    sysctls={
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.tcp_mem": "100 200 300",
        "fs.file-max": "9000",
    },
    engine=EngineUsed(name="uring"),
)
HERE = Evidence(metadata=METADATA, is_server_here=True)


def short(
    connect: Mapping[int, int] | None = None,
    lost: Mapping[int, int] | None = None,
    *,
    opened: int = 900,
    unfinished: int = 0,
    closed: int = 0,
) -> tuple[Connections, list[Failure]]:
    """A run with these failures by errno."""
    connect, lost = connect or {}, lost or {}
    gone = sum(lost.values())
    connections = Connections(
        attempted=opened + sum(connect.values()) + unfinished,
        opened=opened,
        peak_open=opened,
        open_at_end=opened - gone - closed,
        lost=gone,
        closed=closed,
        unfinished=unfinished,
    )
    reasons.count_failures(connections, connect)
    failures = reasons.failures_of("connect", connect) + reasons.failures_of("open", lost)
    return connections, failures


def missing_rows(
    asked: LoadOptions, connections: Connections, failures: list[Failure], evidence: Evidence
) -> list[Explanation]:
    return [row for _, row in rows_and_counters(asked, connections, failures, evidence)[0]]


def missing(asked: LoadOptions, connections: Connections) -> int:
    """Connections asked for that are not open at the end, though the plan did not close them.

    Connections that the plan closed and opened again (churn, a storm) are attempted twice.
    """
    again = max(0, connections.attempted - asked.connections)
    gone = connections.open_at_end + connections.ended
    return asked.connections - gone - max(0, connections.closed - again)


def rows_of(evidence: Evidence, asked: int = 1_000, **run: object) -> list[Explanation]:
    connections, failures = short(**run)  # type: ignore[arg-type]
    return missing_rows(LoadOptions(connections=asked), connections, failures, evidence)


def with_counters(evidence: Evidence = HERE, **counters: int) -> Evidence:
    """`TcpExt_ListenOverflows=3` -> "TcpExt.ListenOverflows": 3."""
    named = {name.replace("_", ".", 1): count for name, count in counters.items()}
    assert set(named) <= {counter.name for counter in COUNTERS}
    return replace(evidence, kernel_counters=named)


def test_nothing_is_missing_in_a_whole_run() -> None:
    connections, failures = short(opened=1_000)
    assert explanations(LoadOptions(connections=1_000), connections, failures, HERE) == []
    moved = with_counters(Tcp_ActiveOpens=1_000, Tcp_OutRsts=5, Softnet_time_squeeze=2)
    assert explanations(LoadOptions(connections=1_000), connections, failures, moved) == []


def test_connections_that_the_plan_closed_are_not_missing() -> None:
    asked = LoadOptions(connections=1_000)
    drained, none = short(opened=1_000, closed=1_000)
    assert explanations(asked, drained, none, HERE) == []
    churned, none = short(opened=1_500, closed=500)
    assert missing(asked, churned) == 0
    assert explanations(asked, churned, none, HERE) == []


counts = st.integers(0, 1_000)
ANYWHERE = {*reasons.ANYWHERE, *(name for limit in LIMITS for name in limit.errnos)}


def codes(names: Collection[str], *more: int) -> st.SearchStrategy[dict[int, int]]:
    known = {getattr(errno, name, reasons.PEER_EOF) for name in names}
    return st.dictionaries(st.sampled_from(sorted({*known, *more})), counts, max_size=4)


by_errno = codes({*reasons.CONNECT, *ANYWHERE}, 4095)
by_lost = codes({*reasons.OPEN, *ANYWHERE})


@given(by_errno, by_lost, counts, counts, st.integers(0, 4_000), st.integers(0, 9_000), counts)
def test_the_rows_add_up_to_what_is_missing(
    connect: dict[int, int],
    lost: dict[int, int],
    unfinished: int,
    closed: int,
    still_open: int,
    asked: int,
    overflows: int,
) -> None:
    opened = still_open + sum(lost.values()) + closed
    connections, failures = short(
        connect, lost, opened=opened, unfinished=unfinished, closed=closed
    )
    record = RunRecord(connections=connections, failures=failures)
    assert broken_laws(record) == []
    plan = LoadOptions(connections=asked)
    rows = missing_rows(
        plan, connections, failures, with_counters(TcpExt_ListenOverflows=overflows)
    )
    assert sum(row.count for row in rows) == missing(plan, connections)
    assert all(row.what and row.cause for row in rows)
    assert all(row.count > 0 for row in rows[:-1])  # what took others' place comes last
    told = explanations(plan, connections, failures, HERE)
    assert told[: len(rows)] == missing_rows(plan, connections, failures, HERE)


def test_failures_without_an_errno_are_counted_too() -> None:
    connections = Connections(attempted=10, opened=6, lost=2, open_at_end=4, refused=4)
    rows = missing_rows(LoadOptions(connections=10), connections, [], HERE)
    assert [row.count for row in rows] == [4, 2]
    assert "without an errno" in rows[0].what


def test_time_outs_with_overflows_are_the_accept_queue() -> None:
    evidence = with_counters(
        TcpExt_ListenOverflows=2_449, TcpExt_ListenDrops=2_449, TcpExt_TCPSynRetrans=2_500
    )
    (row,) = rows_of(evidence, connect={errno.ETIMEDOUT: 100})
    assert row.what == "100 x ETIMEDOUT while connecting"
    assert "2,449 x the server's accept queue was full" in row.cause
    assert "(TcpExt.ListenOverflows)" in row.cause
    assert "ListenDrops" not in row.cause  # each overflow is counted there as well
    assert "somaxconn" in row.remedy and "backlog" in row.remedy
    (unfinished,) = rows_of(evidence, unfinished=100)
    assert "accept queue was full" in unfinished.cause and "somaxconn" in unfinished.remedy


def test_a_counter_far_below_the_symptom_is_not_its_cause() -> None:
    connections, failures = short({errno.ETIMEDOUT: 100_000})
    asked = LoadOptions(connections=100_900)
    symptom, other = explanations(
        asked, connections, failures, with_counters(TcpExt_ListenOverflows=1)
    )
    assert "accept queue" not in symptom.cause
    assert other.what == "TcpExt.ListenOverflows +1"


def test_counters_of_a_server_elsewhere_are_not_here() -> None:
    away = replace(with_counters(TcpExt_ListenOverflows=500), is_server_here=False)
    (row,) = rows_of(away, connect={errno.ETIMEDOUT: 100})
    assert "accept queue was full" not in row.cause
    assert "nstat -az TcpExtListenOverflows" in row.remedy
    assert kernel_rows(away) == []


@pytest.mark.parametrize(
    ("phase", "code", "counter", "remedy"),
    [
        ("connect", errno.ETIMEDOUT, "Softnet.dropped", "netdev_max_backlog"),
        ("connect", errno.ETIMEDOUT, "TcpExt.TCPReqQFullDrop", "tcp_max_syn_backlog"),
        ("connect", errno.ETIMEDOUT, "Conntrack.drop", "nf_conntrack_max"),
        ("connect", errno.ETIMEDOUT, "TcpExt.IPReversePathFilter", "rp_filter"),
        ("connect", errno.ETIMEDOUT, "TcpExt.TCPSynRetrans", "on the way"),
        ("connect", errno.EPERM, "Conntrack.drop", "nf_conntrack_max"),
        ("connect", errno.ENOBUFS, "TcpExt.TCPMemoryPressures", "tcp_mem"),
        ("open", errno.ECONNRESET, "TcpExt.TCPAbortOnMemory", "tcp_max_orphans"),
        ("open", errno.ECONNRESET, "TcpExt.TCPAbortOnClose", "crashed"),  # the errno's own
        ("open", errno.ETIMEDOUT, "TcpExt.TCPBacklogDrop", "tcp_rmem"),
        ("connect", errno.ENETUNREACH, "Ip.OutNoRoutes", "ip route get"),
    ],
)
def test_counters_that_moved_are_joined(phase: str, code: int, counter: str, remedy: str) -> None:
    run: dict[str, Any] = {"connect" if phase == "connect" else "lost": {code: 100}}
    evidence = replace(HERE, kernel_counters={counter: 77})
    (row,) = [one for one in rows_of(evidence, **run) if one.count == 100 and " x E" in one.what]
    assert f"({counter})" in row.cause
    assert remedy in row.remedy
    assert "(" + counter + ")" not in rows_of(HERE, **run)[0].cause


def test_ports_that_ran_out() -> None:
    evidence = replace(HERE, gauges={"TCP.tw": 7_000}, triples=2)
    (row,) = rows_of(evidence, connect={errno.EADDRNOTAVAIL: 100})
    assert "Ports 32768-60999 carry 56,464 for 2 pairs of source and target." in row.cause
    assert "7,000 connections were in TIME_WAIT" in row.cause
    assert "--source" in row.remedy


def test_limits_are_named_with_their_numbers() -> None:
    rows = rows_of(HERE, connect={errno.EMFILE: 60, errno.ENFILE: 40})
    assert "RLIMIT_NOFILE is 20,000 here." in rows[0].cause
    assert "fs.file-max is 9,000." in rows[1].cause
    full = Samples(t_s=[0.0], kernel=KernelColumns(used_bytes=[8 << 30]))
    (memory,) = rows_of(replace(HERE, samples=full), connect={errno.ENOMEM: 100})
    assert "The machine's memory was full: 8.00 GiB of 8.00 GiB." in memory.cause


def test_the_doctors_remedy_is_preferred() -> None:
    findings = [
        Finding("net.core.somaxconn", OK, remedy="sysctl -w net.core.somaxconn=65535"),
        Finding("nofile (hard)", OK, remedy="LimitNOFILE=2000000"),
    ]
    evidence = replace(with_counters(TcpExt_ListenOverflows=90), findings=findings)
    rows = rows_of(evidence, connect={errno.ETIMEDOUT: 90, errno.EMFILE: 10})
    assert [row.remedy for row in rows] == [finding.remedy for finding in findings]


def test_of_several_limits_behind_an_errno_the_tightest_is_to_be_raised() -> None:
    findings = [
        Finding("memory", SHORT, remedy="add memory", fits=500),
        Finding("cgroup memory", SHORT, remedy="raise the group's", fits=100),
        Finding("net.ipv4.tcp_mem", OK, remedy="raise tcp_mem"),
    ]
    (row,) = rows_of(replace(HERE, findings=findings), connect={errno.ENOMEM: 100})
    assert row.remedy == "raise the group's"


def test_a_counter_with_a_remedy_of_its_own_keeps_it() -> None:
    findings = [Finding("net.netfilter.nf_conntrack_max", SHORT, remedy="raise it", fits=5)]
    evidence = replace(
        with_counters(Conntrack_insert_failed=3, Conntrack_drop=2), findings=findings
    )
    assert [row.remedy == "raise it" for row in kernel_rows(evidence)] == [True, False]


def test_what_is_known_of_a_limit_fits_together() -> None:
    for limit in LIMITS:
        assert type(limit).__doc__
        assert all(hasattr(errno, name) for name in limit.errnos)
        is_recognised = limit.errnos or limit.usual or limit.gauge
        assert limit.remedy or not is_recognised
        assert limit.kind or not limit.usual
        assert all(counter.remedy or limit.remedy for counter in limit.counters)


def told(evidence: Evidence, asked: int = 1_000, **run: object) -> list[Explanation]:
    connections, failures = short(**run)  # type: ignore[arg-type]
    return explanations(LoadOptions(connections=asked), connections, failures, evidence)


def test_a_server_that_ended_is_told_once_before_what_followed() -> None:
    alive = ProcessColumns([1, 1, None, None], [0.0] * 4, [0.0] * 4)
    samples = Samples(t_s=[0.0, 1.0, 12.3, 14.0], open=[0, 5, 5, 0], server=alive)
    evidence = replace(HERE, samples=samples)
    root, refused, full, reset = told(
        evidence,
        connect={errno.ECONNREFUSED: 60, errno.EMFILE: 40}, lost={errno.ECONNRESET: 900},
    )  # fmt: skip
    assert (root.count, root.what) == (0, "the server's process ended 12.3 s after the start")
    assert "dmesg" in root.remedy and "no remedy of its own" in root.cause
    for row in (refused, reset):
        assert "process ended" not in row.cause and row.remedy == ""
    assert full.remedy, "that the client has no descriptor is not the server's doing"
    (alone,) = told(evidence, connect={errno.ECONNREFUSED: 100})
    assert "The server's process ended 12.3 s after the start." in alone.cause
    assert "dmesg" in alone.remedy
    back = replace(samples, server=ProcessColumns([1, None, 1, 1], [0.0] * 4, [0.0] * 4))
    (row,) = told(replace(HERE, samples=back), connect={errno.ECONNREFUSED: 100})
    assert "process ended" not in row.cause


# of a core, while the server answered no connect for 10 s; what is said of it
SILENT = [(0.8, "It spins: its process used 8.00 s"), (0.0, "did nothing in the 10.0 s"), (0.1, "")]


@pytest.mark.parametrize(("share", "says"), SILENT)
@pytest.mark.parametrize("nofile", [0, 1_840, 4_000])
@pytest.mark.parametrize("is_end", [True, False])
def test_a_server_that_takes_no_more_is_told_once(
    share: float, says: str, nofile: int, is_end: bool
) -> None:
    used = ProcessColumns([1] * 3, [0.0, 0.0, 10 * share], [0.0] * 3)
    samples = Samples(t_s=[0.0, 5.0, 15.0], open=[0, 1_000, 1_000], server=used)
    evidence = replace(
        HERE, samples=samples, silence=Silence(5.0, 15.0, is_end), unanswered=200,
        server_nofile=nofile,
    )  # fmt: skip
    rows = told(evidence, 4_000, connect={errno.ETIMEDOUT: 70}, opened=2_000)
    is_full = nofile == 1_840
    is_known = is_full or (says and is_end)  # else it may just have nothing to do
    assert len(rows) == (4 if is_known else 3)
    if not is_known:
        assert all(row.remedy for row in rows)
        return
    root, *others = rows
    assert root.what == "the server took no more connections after 1,800"
    if not (is_full and share == 0):  # to be idle at its limit is as it should be
        assert says in root.cause
    assert ("RLIMIT_NOFILE" in root.cause) == is_full
    assert ("ulimit -n" in root.remedy) == is_full
    assert ("listener alone" in root.remedy) == (is_full and share > 0.5)
    assert all(row.remedy == "" for row in others)
    assert [row.what.split(" ", 1)[1] for row in others] == [
        "connects never begun", "x ETIMEDOUT while connecting",
        "connected, and never had a first reply",
    ]  # fmt: skip


def test_connects_that_never_began() -> None:
    (row,) = rows_of(HERE, asked=5_000)
    assert (row.count, row.what) == (4_100, "4,100 connects never begun")
    asked = LoadOptions(connections=5_000, connect_rate_per_s=10.0)
    connections, failures = short()
    (paced,) = missing_rows(asked, connections, failures, HERE)
    assert "--connect-rate" in paced.remedy


def test_connects_that_a_limit_refused_name_it() -> None:
    limit = LimitError("The kernel gives no io_uring number 3.", "Raise ulimit -l.", 12)
    (row,) = rows_of(replace(HERE, refusal=limit), asked=5_000)
    assert (row.count, row.what) == (4_100, "4,100 connects never begun")
    assert (row.cause, row.remedy) == (limit.message, limit.remedy)


def test_alarms_are_told_though_nothing_is_missing() -> None:
    evidence = with_counters(Softnet_dropped=12, Conntrack_insert_failed=1, Tcp_RetransSegs=99)
    assert [row.what for row in kernel_rows(evidence)] == [
        "Softnet.dropped +12", "Conntrack.insert_failed +1",
    ]  # fmt: skip
    assert kernel_rows(evidence, {"Softnet.dropped"})[0].what == "Conntrack.insert_failed +1"


def test_a_gauge_at_its_limit_is_told() -> None:
    (row,) = kernel_rows(replace(HERE, gauges={"TCP.mem": 299, "TCP.orphan": 10**6}))
    assert row.what == "TCP.mem at 299 of 300"
    assert "net.ipv4.tcp_mem bounds it." in row.cause
    assert kernel_rows(replace(HERE, gauges={"TCP.mem": 200})) == []


def test_walls_come_after_the_rows_that_add_up() -> None:
    connections, failures = short({errno.EADDRNOTAVAIL: 1_768}, opened=28_232)
    rows = explanations(LoadOptions(connections=30_000), connections, failures, HERE)
    assert [row.what for row in rows] == [
        "1,768 x EADDRNOTAVAIL while connecting", "stopped at 28,232",
    ]  # fmt: skip
    assert "the whole ephemeral range" in rows[1].cause


def test_symptoms_are_phases_and_errnos() -> None:
    for counter in COUNTERS:
        assert counter.remedy or not (counter.explains or counter.is_alarm)
        for symptom in counter.explains:
            phase, code = symptom.split()
            assert phase in ("connect", "open")
            assert code == "unfinished" or hasattr(errno, code)


def test_connections_that_are_open_and_never_answered_are_explained() -> None:
    connections, failures = short(opened=2_000)
    asked = LoadOptions(connections=2_000)
    (row,) = explanations(asked, connections, failures, replace(HERE, unanswered=986))
    assert (row.count, row.what) == (986, "986 connected, and never had a first reply")
    assert "accept queue" in row.cause and "descriptors" not in row.cause
    connections.secured = 2_000
    (row,) = explanations(asked, connections, failures, replace(HERE, unanswered=986))
    assert "has accepted them" in row.cause and "accept queue" not in row.cause
    connections.secured = 0
    known = replace(HERE, unanswered=986, server_nofile=1_024)
    (row,) = explanations(asked, connections, failures, known)  # alone: told in its row
    assert "It answered 1,014, and its process may have 1,024 descriptors" in row.cause
    assert "ulimit -n" in row.remedy
