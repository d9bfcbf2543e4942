"""An hour at 200,000 connections, with churn and faults, on servers of all kinds.

On each of five servers well-behaved clients (`c1m load`) keep 40,000 connections, close and reopen
some of them all the time, ask at a modest rate and check every reply. Beside them hostile peers
(`hostiles`) go from server to server; after a minute on one their process is killed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import numpy as np

from c1m.results.record import RunRecord

from .child import Child, Line
from .good import Good, faults_of
from .hostile import BIG_KEY, CASES, FIRST_SOURCE, Case, set_big
from .served import Served
from .verdict import Torture, Verdict

SECONDS, CONNECTIONS = 3_600, 200_000
EACH_S = 60.0  # the hostile ones are on one server
COUNTS = {
    "slow": 200, "unread": 100, "silent": 300, "half": 50, "garbage": 50, "resets": 20,
    "floods": 20,
}  # fmt: skip
SOURCES = 1  # of the hostile ones
RATE, CHURN, CONNECT_RATE = 100, 20, 3_000  # a second, on each server
PATIENCE_S = 300  # for a reply: other tests may have the machine for a while
EVERY_S = 5.0  # servers say how they are
SLOPE_MAX = 16 << 20  # bytes an hour: what is called flat
JUDGED_FROM_S = 500.0
SAMPLE_S = 10.0
LIMITS = {
    "per_source": 400, "first_byte_timeout": "30s", "unread_timeout": "15s", "unsent_max": "4M",
    "turn": "64K", "accept_rate": "5k/s",
}  # fmt: skip
OUTBOX = 128 << 10

WS_REQUEST = CASES[2].request
SERVERS = (
    CASES[0],
    CASES[1],
    Case("push", "push", "ws", WS_REQUEST, 1, "/connect?channel=news", rate=0.02,
         load=("--scenario", "publish"), own={"page": True, "ping": "60s"}),
    Case("WebSocketApp", "torture.apps:WebSocketEcho", "ws", WS_REQUEST, 1, "/"),
    Case("protocols", "torture.apps:Echo", "tcp", CASES[0].request, 1024,
         load=("--scenario", "echo")),
)  # fmt: skip


def run(scale: float) -> Verdict:
    """The time is in proportion; so are connections, of less than ten minutes. In a sample there
    are two servers."""
    verdict, seconds = Verdict(), SECONDS * scale
    cases = SERVERS if seconds > SAMPLE_S else SERVERS[2::2]
    count = max(int(CONNECTIONS * min(scale * 6, 1)) // len(SERVERS), 50)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_served(case, seconds)) for case in cases]
        goods = [
            stack.enter_context(_good(case, server, count, seconds))
            for case, server in zip(cases, servers, strict=True)
        ]
        for server in servers:
            server.wait_for(lambda line: line.get("opened", 0) >= count, PATIENCE_S)
        verdict.figures["connections of good clients"] = count * len(cases)
        verdict.figures["seconds"] = round(seconds)
        _be_hostile(verdict, cases, servers, goods, seconds)
        records = [good.record() for good in goods]
        for case, server, record in zip(cases, servers, records, strict=True):
            _clients(verdict, case.name, record)
            _server(verdict, case.name, server, seconds)
    return verdict


def _served(case: Case, seconds: float) -> Served:
    scheme = "http" if case.scheme == "ws" else "tcp"
    server = Served(
        case.app, [f"{scheme}://127.0.0.1:0"], own=case.own, limits=LIMITS,
        options={"outbox_high": OUTBOX}, every_s=min(EVERY_S, seconds / 20),
    )  # fmt: skip
    if case.request == BIG_KEY:
        set_big(server.ports[0])
    return server


def _good(case: Case, server: Served, count: int, seconds: float) -> Good:
    url = f"{case.scheme}://127.0.0.1:{server.ports[0]}{case.path}"
    churn = () if "publish" in case.load else ("--churn", f"{CHURN}/s")
    rate = case.rate if case.rate < 1 else RATE
    return Good(
        url, "--connections", count, "--hold", f"{seconds:.1f}s", "--connect-rate",
        f"{CONNECT_RATE}/s", "--source", f"127.1.0.1-127.1.0.{-(-count // 250)}", "--rate",
        f"{max(rate, 5 / seconds)}/s", "--timeout", f"{PATIENCE_S}s", *churn, *case.load,
    )  # fmt: skip


def _be_hostile(
    verdict: Verdict,
    cases: Sequence[Case],
    servers: list[Served],
    goods: list[Good],
    seconds: float,
) -> None:
    """To one server after the other, until the first good clients are done."""
    each_s, kills = min(EACH_S, max(seconds / 2 / len(servers), 3)), 0
    ended: dict[str, int] = {}
    while all(good.process.poll() is None for good in goods):
        at = kills % len(servers)
        case, server = cases[at], servers[at]
        with Child(
            "hostiles", ports=server.ports, sources=SOURCES, first_source=FIRST_SOURCE,
            request=case.request, at_once=case.at_once, counts=COUNTS,
        ) as hostile:  # fmt: skip
            with contextlib.suppress(TimeoutError):  # the good ones are done
                hostile.wait_for(lambda line: sum(line["there"].values()), each_s * 10)
            deadline = time.monotonic() + each_s
            while time.monotonic() < deadline and goods[at].process.poll() is None:
                time.sleep(min(each_s / 10, 1))
            hostile.kill()
            kills += 1
        for kind, count in hostile.look().get("ended", {}).items():
            ended[kind] = ended.get(kind, 0) + count
    verdict.figures["hostile processes killed"] = kills
    verdict.figures["hostile connections that servers ended"] = ended


def _clients(verdict: Verdict, name: str, record: RunRecord) -> None:
    c, requests, faults = record.connections, record.all_requests, faults_of(record)
    verdict.figures[f"{name}: connections opened"] = c.opened
    verdict.figures[f"{name}: requests"] = requests.sent
    if record.fan_out is not None:
        verdict.figures[f"{name}: messages to subscribers"] = record.fan_out.received
    verdict.check(not faults, f"{name}: {' '.join(faults)}")
    verdict.check(c.lost == 0, f"{name}: {c.lost} good clients were dropped.")
    verdict.check(
        requests.right == requests.sent > 0,
        f"{name}: of {requests.sent} requests {requests.right} were answered right.",
    )


def _server(verdict: Verdict, name: str, server: Served, seconds: float) -> None:
    last_full = max((line for line in server.lines if "live" in line), key=lambda line: line["t"])
    server.look()
    lines = [line for line in server.lines if "live" in line]
    after = server.rest(last_full["opened"])
    server.stop()
    figures, slope = verdict.figures, slope_of(lines, seconds)
    figures[f"{name}: server opened"] = after["opened"]
    figures[f"{name}: and ended"] = after["closed"]
    figures[f"{name}: never opened"] = after["never_opened"]
    figures[f"{name}: memory in MiB, with all, an hour's slope, after"] = [
        round(n / 2**20, 2) for n in (lines[len(lines) // 2]["rss"], slope, after["rss"])
    ]
    figures[f"{name}: cores"] = round(after["cpu"] / (after["t"] - lines[0]["t"]), 3)
    verdict.check(
        seconds < JUDGED_FROM_S or slope < SLOPE_MAX,
        f"{name}: the server's memory grows by {slope / 2**20:.0f} MiB an hour.",
    )
    closed = sum(after["closed"].values())
    verdict.check(
        after["opened"] == closed and after["slots"] == 0,
        f"{name}: the server has opened {after['opened']} and ended {closed}.",
    )


def slope_of(lines: list[Line], seconds: float) -> float:
    """Bytes an hour, from a fifth of the time to its end."""
    end = lines[-1]["t"] - 5
    kept = [line for line in lines if end - 0.8 * seconds < line["t"] < end]
    if len(kept) < 3:
        return 0.0
    hours = [line["t"] / 3600 for line in kept]
    return float(np.polyfit(hours, [line["rss"] for line in kept], 1)[0])


TORTURE = Torture(
    "hour",
    "An hour at 200,000 connections with churn and faults on all servers: nothing lost, memory "
    "flat, every reply to good clients right.",
    run,
)
