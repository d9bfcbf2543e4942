"""The generators of bench/load_tools.py, and the servers they drive: how each is started.

A generator's `read` makes of what it has written, and of its command: `requests`, `rps` over its
own window, `errors` by its own count, p50_us and p99_us where it has them, and `own_cpu` (of a
core, while it drove) where it says so. c1m judges every reply; what the others look at is in
docs/explanation/beside-other-load-tools.md.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.build import BENCH, BUILD, BuildFailed
from harness.processes import RunFailed

HTTP, REDIS, MQTT = "http", "redis", "mqtt"
RECORD = BUILD / "load-record.json"
SCRIPT = BENCH / "c" / "wrk.lua"
PAGE = b"x" * 612  # as long as nginx's own first page
VALUE_BYTES = 38  # of the scenario resp
PAYLOAD = 64  # of a message over MQTT
EMQTT_ASKED_PER_S = 50_000  # what its publishers try: more than comes, and not by much
OPENS_PER_S = 900  # of emqtt-bench, with a connect each ms

NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    open_file_cache max=10;
    client_body_temp_path {directory};
    proxy_temp_path {directory};
    fastcgi_temp_path {directory};
    uwsgi_temp_path {directory};
    scgi_temp_path {directory};
    server {{ listen 127.0.0.1:{port} backlog=4096; root {directory}/html; }}
}}
"""


def nginx(port: int) -> Sequence[str]:
    """One worker, which gives a static page of 612 B from its cache of open files."""
    program = _found("nginx", "nginx")
    directory = BUILD / "nginx-load"
    (directory / "html").mkdir(parents=True, exist_ok=True)
    (directory / "html" / "index.html").write_bytes(PAGE)
    settings = directory / f"{port}.conf"
    settings.write_text(NGINX.format(directory=directory, port=port))
    return [program, "-p", str(directory), "-c", str(settings)]


def redis(port: int) -> Sequence[str]:
    """Without a disk."""
    return [
        _found("redis-server", "redis"), "--port", str(port), "--save", "", "--maxclients", "19000",
        "--protected-mode", "no", "--tcp-backlog", "4096",
    ]  # fmt: skip


def mosquitto(port: int) -> Sequence[str]:
    """One thread, as it is; what it holds back for slow subscribers is bounded."""
    program, settings = _found("mosquitto", "mosquitto"), BUILD / f"mosquitto-{port}.conf"
    BUILD.mkdir(parents=True, exist_ok=True)
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n")
    return [program, "-c", str(settings)]


SERVERS: dict[str, Callable[[int], Sequence[str]]] = {
    HTTP: nginx, REDIS: redis, MQTT: mosquitto
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoadPeer:
    """A generator. `command(port, connections, seconds, rps)` is its command line, where `rps` is
    about what it will reach: some run for a number of requests. Raises BuildFailed."""

    name: str
    task: str
    command: Callable[[int, int, float, float], Sequence[str]]
    read: Callable[[bytes, Sequence[str]], dict[str, Any]]

    def why_missing(self) -> str:
        """Empty if it can be started here."""
        try:
            self.command(0, 1, 1, 1)
        except BuildFailed as failure:
            return str(failure)
        return ""


def _found(program: str, package: str) -> str:
    found = shutil.which(program) or shutil.which(f"/usr/sbin/{program}")
    if found is None:
        raise BuildFailed(f"{program} is not installed: apt-get install {package}")
    return found


def _c1m(scheme: str, *more: str) -> Callable[[int, int, float, float], Sequence[str]]:
    return lambda port, connections, seconds, rps: [
        sys.executable, "-m", "c1m", "load", f"{scheme}://127.0.0.1:{port}", "--connections",
        str(connections), "--hold", f"{seconds}s", "--quiet", "--json", str(RECORD), *more,
    ]  # fmt: skip


def _c1m_said(output: bytes, command: Sequence[str]) -> dict[str, Any]:
    record = json.loads(RECORD.read_text())
    requests, latencies = record["requests"], record["latencies"]["request"]["percentiles_ns"]
    bad = sum(requests[name] for name in ("wrong", "missing", "unsent"))
    if not record["verdict"]["complete"]:
        raise RunFailed(f"c1m: {record['verdict']['shortfalls']}")
    return {
        "requests": requests["right"], "rps": requests["right"] / requests["seconds"],
        "errors": bad, "p50_us": latencies["p50"] / 1e3, "p99_us": latencies["p99"] / 1e3,
        "own_cpu": record["limit"]["generator_cpu"],
    }  # fmt: skip


def _wrk(port: int, connections: int, seconds: float, rps: float) -> Sequence[str]:
    return [
        _found("wrk", "wrk"), "--threads", "1", "--connections", str(connections), "--duration",
        f"{max(round(seconds), 1)}s", "--timeout", "8s", "--script", str(SCRIPT),
        f"http://127.0.0.1:{port}/",
    ]  # fmt: skip


def _wrk_said(output: bytes, command: Sequence[str]) -> dict[str, Any]:
    found = json.loads(output.splitlines()[-1])
    errors = found["errors"] + found["mismatches"] + found["unanswered"]
    kept = {key: found[key] for key in ("requests", "rps", "p50_us", "p99_us")}
    return {**kept, "errors": errors}


def _h2load(port: int, connections: int, seconds: float, rps: float) -> Sequence[str]:
    return [
        _found("h2load", "nghttp2-client"), "--h1", "--threads", "1", "--clients",
        str(connections), "--duration", str(max(round(seconds), 1)),
        f"http://127.0.0.1:{port}/",
    ]  # fmt: skip


def _h2load_said(output: bytes, command: Sequence[str]) -> dict[str, Any]:
    text = output.decode()
    rate = re.search(r"finished in [^,]*, ([0-9.]+) req/s", text)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    if rate is None or counts is None:
        raise RunFailed(f"h2load has counted nothing: {text[-200:]}")
    right, *bad = map(int, counts.groups())
    return {"requests": right, "rps": float(rate[1]), "errors": sum(bad)}


def _redis_benchmark(*more: str) -> Callable[[int, int, float, float], Sequence[str]]:
    def command(port: int, connections: int, seconds: float, rps: float) -> Sequence[str]:
        count = max(round(rps * seconds / 3), connections)  # of each of three commands
        return [
            _found("redis-benchmark", "redis-tools"), "-p", str(port), "-c", str(connections),
            "-t", "set,get,incr", "-d", str(VALUE_BYTES), "-r", str(connections), "-n", str(count),
            "--csv", *more,
        ]  # fmt: skip

    return command


def _redis_benchmark_said(output: bytes, command: Sequence[str]) -> dict[str, Any]:
    """As many of each command: the rate of all is the harmonic mean of theirs."""
    text = output.decode()
    rows = list(csv.DictReader(io.StringIO(text[text.index('"test"') :])))
    if len(rows) != 3:
        raise RunFailed(f"redis-benchmark: {text[-200:]}")
    count = int(command[command.index("-n") + 1])
    return {
        "requests": 3 * count, "rps": 3 / sum(1 / float(row["rps"]) for row in rows), "errors": 0,
        "p50_us": max(float(row["p50_latency_ms"]) for row in rows) * 1e3,
        "p99_us": max(float(row["p99_latency_ms"]) for row in rows) * 1e3,
    }  # fmt: skip


def emqtt_bench(program: Path | None) -> LoadPeer:
    """EMQX's emqtt-bench, of which one has a program: so many subscribe, each to a topic of its
    own, and as many publish, each every so many ms. What comes counts."""

    def command(port: int, connections: int, seconds: float, rps: float) -> Sequence[str]:
        if program is None:
            raise BuildFailed("no program was given: --emqtt-bench PROGRAM")
        interval_ms = max(round(1e3 * connections / EMQTT_ASKED_PER_S), 1)
        same = f"-h 127.0.0.1 -p {port} -c {connections} -i 1 -q 0 -t bench/%i"
        opening = connections / OPENS_PER_S + 2
        script = (
            f'"$0" sub {same} & s=$!; sleep {opening:.1f}; '
            f'"$0" pub {same} -I {interval_ms} -s {PAYLOAD} >/dev/null & p=$!; '
            f"sleep {opening + seconds:.1f}; kill $p $s; wait"
        )
        return ["sh", "-c", script, str(program)]

    return LoadPeer("emqtt-bench", MQTT, command, _emqtt_bench_said)


def _emqtt_bench_said(output: bytes, command: Sequence[str]) -> dict[str, Any]:
    """The rate of the seconds in which all publish: the last ones."""
    lines = re.findall(rb"recv total=(\d+) rate=([0-9.]+)/sec", output)
    if len(lines) < 3:
        raise RunFailed(f"emqtt-bench has received nothing: {output[-200:]!r}")
    rates = sorted(float(rate) for _, rate in lines[-4:])
    return {"requests": int(lines[-1][0]), "rps": sum(rates[1:3]) / 2, "errors": 0}


OURS = "c1m"
ALL = (
    LoadPeer(OURS, HTTP, _c1m("http"), _c1m_said),
    LoadPeer("wrk", HTTP, _wrk, _wrk_said),
    LoadPeer("h2load --h1", HTTP, _h2load, _h2load_said),
    LoadPeer(OURS, REDIS, _c1m("redis"), _c1m_said),
    LoadPeer("redis-benchmark", REDIS, _redis_benchmark(), _redis_benchmark_said),
    LoadPeer("redis-benchmark --threads 1", REDIS, _redis_benchmark("--threads", "1"),
             _redis_benchmark_said),
    LoadPeer(OURS, MQTT, _c1m("mqtt", "--message", f"{{random:{PAYLOAD}}}"), _c1m_said),
)  # fmt: skip
