"""`c1m load` against servers of other people's packages: both ends count the same.

What is compared is the server's own count of connections and requests (counting_peers.py) with the
record's, after runs as users make them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import certificates
from c1m.results.record import RunRecord
from e2e import counting_peers
from e2e.cli_helpers import assert_as_asked, load
from e2e.counting_peers import Counts, Peer
from e2e.library_runs import WAIT_S

Start = Callable[..., Any]

TRUST = ("--ca", certificates.authority().cert)
SECURE = ("https", "wss", "sses", "mqtts")
CONNECTIONS = 40
CLOSED, OPEN = ("--stage", "hold for 300ms think 0s"), ("--stage", "hold for 300ms at 1k/s")
WAYS = {
    "pipelined": (*CLOSED, *OPEN, "--pipeline", 8, "--engine", "uring"),
    "churned": (*CLOSED, *OPEN, "--churn", "200/s", "--engine", "epoll"),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts each server when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def started(name: str, *arguments: object, **options: object) -> Any:
            make = getattr(counting_peers, name)
            return stack.enter_context(make(tmp_path_factory.mktemp(name), *arguments, **options))

        yield started


PEERS: dict[str, Callable[[Start], Peer]] = {
    "http nginx": lambda start: start("nginx")["http"],
    "https nginx": lambda start: start("nginx")["https"],
    "https haproxy": lambda start: start("haproxy", start("nginx")["http"], sees_requests=True),
    "redis redis": lambda start: start("redis"),
    "http uvicorn": lambda start: start("uvicorn"),
    "ws uvicorn": lambda start: start("uvicorn"),
    "wss haproxy": lambda start: start("haproxy", start("uvicorn")),
    "ws ws": lambda start: start("ws"),
    "mqtt mosquitto": lambda start: start("mosquitto")["mqtt"],
    "mqtts mosquitto": lambda start: start("mosquitto")["mqtts"],
}


def assert_both_count(peer: Peer, before: Counts, record: RunRecord, events: int) -> None:
    """It may count a moment after it has answered. Of connections that were under way when the run
    ended, it may have seen some. Over TLS one comes before all others, to look at the certificate;
    mosquitto counts it as no client. A Redis is asked by one more whether it is a cluster."""
    c, sent = record.connections, record.all_requests.sent
    looked = record.tls is not None and not record.target.startswith("mqtts://")
    asked = record.target.startswith(("redis://", "rediss://"))
    before = before._replace(
        connections=before.connections + looked + asked, requests=before.requests + asked
    )
    came = before
    for _ in range(WAIT_S * 10):
        came = peer.counts().since(before)
        is_same = c.opened <= came.connections <= c.opened + c.unfinished
        if is_same and came[1:] == (sent, events):
            return
        time.sleep(0.1)
    raise AssertionError(f"the server counts {came}, and c1m {c}, {sent}, {events}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PEERS)
def test_both_ends_count_the_same(tmp_path: Path, start: Start, name: str, way: str) -> None:
    peer, scheme = PEERS[name](start), name.split()[0]
    before = peer.counts()
    status, record, said = load(
        tmp_path, f"{scheme}://{peer.place}", "--stage", f"ramp {CONNECTIONS}", *WAYS[way],
        *(TRUST if scheme in SECURE else ()),
    )  # fmt: skip
    assert_as_asked(status, record, said)
    c = record.connections
    assert c.lost == 0 and (way == "pipelined" or c.closed > 0)
    echoed = record.all_requests.sent if scheme.startswith("mqtt") else 0
    assert_both_count(peer, before, record, echoed)


@pytest.mark.parametrize("scheme", ["sse", "sses"])
def test_both_ends_count_events(tmp_path: Path, start: Start, scheme: str) -> None:
    """One posts, the others hear each event."""
    peer = start("uvicorn") if scheme == "sse" else start("haproxy", start("uvicorn"))
    before = peer.counts()
    status, record, said = load(
        tmp_path, f"{scheme}://{peer.place}/events", "--publish-to", "/publish", "--scenario",
        "publish", "--connections", CONNECTIONS, "--hold", "500ms", "--think", "10ms",
        *(TRUST if scheme in SECURE else ()),
    )  # fmt: skip
    assert_as_asked(status, record, said)
    fan_out = record.fan_out
    assert fan_out is not None and fan_out.received == fan_out.expected
    assert_both_count(peer, before, record, fan_out.received)


@pytest.mark.parametrize("way", ["one-by-one", "pipelined"])
def test_a_server_that_ends_connections(tmp_path: Path, start: Start, way: str) -> None:
    """nginx, after every fifth request: nothing is lost by that, and nothing is asked twice that
    it has answered."""
    peer = start("nginx", keepalive_requests=5)["http"]
    before = peer.counts()
    status, record, said = load(
        tmp_path, f"http://{peer.place}", "--stage", f"ramp {CONNECTIONS}", *CLOSED, *OPEN,
        *(("--pipeline", 8) if way == "pipelined" else ()),
    )  # fmt: skip
    assert_as_asked(status, record, said)
    c = record.connections
    assert (c.lost, c.closed) == (
        0,
        0,
    ) and c.renewed >= record.all_requests.right // 5 - CONNECTIONS
    assert_both_count(peer, before, record, 0)
