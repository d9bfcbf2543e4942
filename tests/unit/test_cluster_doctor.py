"""The doctor on a cluster: several workers on one machine, what is shown, versions that differ."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from c1m.cli import cluster_doctor
from c1m.cluster.versions import check, different
from c1m.errors import UsageError
from c1m.limits.forecast import Forecast, forecast
from c1m.limits.limit import SHORT
from unit.test_cli_doctor import MACHINE

doctor = pytest.importorskip("c1m.cluster.doctor", reason="needs the extra c1m[cluster]")
M = 1_000_000
HERE = {"c1m": "0.1.0", "python": "3.11.7.final.0", "numpy": "2.4.6", "distributed": "2026.8.0"}


def look(own: int, on_host: int, sources: int = 1) -> Forecast:
    asked: dict[str, Any] = {
        "role": "client", "engine": "epoll", "listen_ports": (8001,), "sources": sources,
        "situation": MACHINE,
    }  # fmt: skip
    found: Forecast = doctor.together(
        forecast(own, **asked), forecast(on_host, **asked), own, on_host
    )
    return found


def finding(found: Forecast, name: str) -> Any:
    return next(one for one in found.findings if one.name == name)


def test_a_machine_is_asked_for_all_its_workers_a_process_for_itself() -> None:
    alone, beside = look(15_000, 15_000), look(15_000, 30_000)
    ports = "net.ipv4.ip_local_port_range"
    assert finding(alone, ports).fits == 2 * finding(beside, ports).fits
    assert (finding(alone, ports).verdict, finding(beside, ports).verdict) == (SHORT, SHORT)
    for name in ("nofile (soft)", "nofile (hard)"):  # each process has its own
        assert finding(beside, name) == finding(alone, name)


@dataclass(frozen=True)
class One:
    """As `cluster/doctor.py` has it."""

    worker: str
    host: str
    connections: int
    found: Forecast

    def as_dict(self) -> dict[str, Any]:
        return {"worker": self.worker} | self.found.as_dict()


def examined(*connections: int) -> list[One]:
    return [
        One(f"tcp://10.0.0.{number}:40000", f"10.0.0.{number}", count, look(count, count))
        for number, count in enumerate(connections, 1)
    ]


def test_the_table() -> None:
    shown = cluster_doctor.render(examined(10_000, 30_000), 40_000, 100)
    lines = [line.split() for line in shown.splitlines()]
    assert lines[2] == ["worker", "connections", "verdict", "fits", "first", "limit"]
    assert lines[3][:3] == ["tcp://10.0.0.1:40000", "10,000", "ok"]
    assert lines[4][:3] == ["tcp://10.0.0.2:40000", "30,000", "short"]
    assert "at tcp://10.0.0.2:40000" in shown
    assert "40,000 connections do not fit: 1 of 2 workers." in shown


def test_what_is_short_everywhere_is_said_once() -> None:
    shown = cluster_doctor.render(examined(40_000, 40_000), 80_000, 1000)
    assert shown.count("net.ipv4.ip_local_port_range, at all:") == 1


def test_it_fits() -> None:
    all_fit = examined(1000, 2000)
    assert not cluster_doctor.is_short(all_fit)
    fits = min(one.found.fits or 0 for one in all_fit) * 2
    assert f"at {fits:,}." in cluster_doctor.summary(all_fit, 3000)
    said = cluster_doctor.as_dict(all_fit, 3000)
    assert (said["verdict"], said["fits"], len(said["workers"])) == ("ok", fits, 2)


def test_the_machine_in_an_address() -> None:
    assert doctor.host_of("tcp://10.0.0.1:4000") == "10.0.0.1"
    assert doctor.host_of("tls://[fe80::1]:4000") == "[fe80::1]"


def test_versions_that_are_the_same() -> None:
    assert different(HERE, {"a": dict(HERE), "b": {**HERE, "msgpack": "9"}}) == ""


def test_what_differs_is_named_with_where() -> None:
    there: dict[str, Any] = {
        "tcp://a:1": dict(HERE) | {"numpy": "2.3.0"},
        "tcp://b:1": dict(HERE) | {"numpy": "2.3.0", "c1m": None},
        "tcp://c:1": dict(HERE) | {"python": "3.12.1.final.0"},
    }
    assert different(HERE, there) == (
        "c1m is 0.1.0 here, not there at tcp://b:1; Python is 3.11.7 here, 3.12.1 at tcp://c:1; "
        "NumPy is 2.4.6 here, 2.3.0 at tcp://a:1, tcp://b:1"
    )


def test_workers_that_differ_are_refused() -> None:
    class Client:
        async def get_versions(self, packages: list[str]) -> dict[str, Any]:
            assert packages == ["c1m"]
            there = {"a": {"packages": dict(HERE) | {"c1m": "0.2.0"}}}
            return {"client": {"packages": HERE}, "workers": there}

    with pytest.raises(UsageError, match=r"c1m is 0\.1\.0 here, 0\.2\.0 at a\. Install"):
        asyncio.run(check(Client(), ["a"]))


def test_a_worker_that_says_nothing_differs() -> None:
    assert "distributed is 2026.8.0 here, not there at x" in different(HERE, {"x": {}})


def test_many_workers_are_counted() -> None:
    there = {f"w{number}": dict(HERE) | {"c1m": "0.2.0"} for number in range(10)}
    assert different(HERE, there) == "c1m is 0.1.0 here, 0.2.0 at w0, w1, w2 and 7 more"


def test_nothing_that_is_known_bounds_them() -> None:
    unknown = [
        replace(one, found=Forecast(one.found.request, tuple(
            replace(each, fits=None, verdict="ok") for each in one.found.findings
        )))
        for one in examined(10, 10)
    ]  # fmt: skip
    assert cluster_doctor.summary(unknown, 20) == "20 connections fit on these workers."
