"""The options of a load run: `c1m.load`, `c1m load`, a plan's file and a record's `asked`. Pure.

Each option is a field of `LoadOptions` and is described there once: what may be given for it, in
which range, its default and its help. The command's options and their help, the keys of a plan's
file, the checks of `c1m.load` and the tables of docs/reference/load.md are made of that.

Times are nanoseconds and rates per second as soon as an option is read. A field's name says so, the
option's own name does not: `hold_ns` is `hold`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, get_type_hints

from c1m.arguments import (
    COUNT,
    DURATION,
    FLAG,
    MESSAGE,
    RATE,
    TEXT,
    TEXTS,
    Choice,
    Kind,
    Number,
    as_flag,
    integer,
)
from c1m.bounds import INT_MAX, PID_MAX

PIPELINE_MAX = 1024
SEED_MAX = 1 << 53

_SOME = COUNT.within(1, INT_MAX)
_TIMEOUT = DURATION.within(1, DURATION.most)
_PIPELINE = COUNT.within(1, PIPELINE_MAX)
_SEED = COUNT.within(0, SEED_MAX)
_PID = Kind("pid", lambda name, given: integer(name, given, 1, PID_MAX))
# An object of the user's own is looked at when the plan is made.
_SCENARIO = Kind("text", lambda _, given: given)


@dataclass(frozen=True, slots=True)
class Option:
    """One option: what may be given, and its help (Markdown). `unset`: what holds without it."""

    kind: Kind | Choice | Number
    help: str
    metavar: str = ""
    unset: str = ""
    flag: str = ""  # on the command line, where it is not the name
    field: str = ""  # of LoadOptions

    @property
    def name(self) -> str:
        """As `c1m.load` and a plan's file have it."""
        return re.sub("_(ns|per_s)$", "", self.field).replace("targets", "target")

    @property
    def flags(self) -> str:
        """As the command has it; a target has none."""
        return self.flag or as_flag(self.name)

    @property
    def plain_help(self) -> str:
        """Its help without marks."""
        return plain(self.help)


def plain(text: str) -> str:
    """A text without the marks of Markdown."""
    return re.sub(r"\[([^][]*)\]\([^()]*\)", r"\1", text).replace("`", "")


# fmt: off
@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a run is asked to do. In a record: as it was done, with the stages of the plan."""

    targets: Annotated[list[str], Option(
        TEXTS, "Where to connect to.", "TARGET...",
    )] = field(default_factory=list, repr=False)
    connections: Annotated[int, Option(
        _SOME, "How many connections, e.g. `10k` or `1M`. With stages: the most that they have, or "
        "those of a ramp before them.", "COUNT", "10",
    )] = 0
    hold_ns: Annotated[int, Option(
        DURATION, "How long to keep all of them open, under load where a rate or think time is "
        "given. Not with stages.", "TIME", "10s; 0s over tcp:// with `--connections` and no load",
    )] = 0
    connect_rate_per_s: Annotated[float | None, Option(
        RATE, "Open this many connections a second, e.g. `50k/s`.", "RATE", "as fast as possible",
    )] = None
    churn_per_s: Annotated[float | None, Option(
        RATE, "Close and reopen this many connections a second.", "RATE",
    )] = None
    stages: Annotated[list[str], Option(
        TEXTS, "A stage of the plan, in order: ramp, hold, steps, spike, drain, stampede, storm "
        "(see [docs/reference/stages.md](stages.md)). Instead of `--hold`.", "STAGE",
        flag="--stage",
    )] = field(default_factory=list)
    timeout_ns: Annotated[int, Option(
        _TIMEOUT, "Give up a connect or a reply that takes longer.", "TIME", "30s",
    )] = 30_000_000_000
    ramp_timeout_ns: Annotated[int | None, Option(
        _TIMEOUT, "End a ramp, with the reason, in which no further connection has opened, or "
        "failed, for so long.", "TIME", "`--timeout`",
    )] = None
    connect_window: Annotated[int | None, Option(
        _SOME, "The most connects in progress.", "COUNT",
        "as many as the server's accept queue takes, 128 where that is not known; over TLS at most "
        "512",
    )] = None
    rate_per_s: Annotated[float | None, Option(
        RATE, "Open loop: requests a second over all connections, e.g. `100k/s`, each due at its "
        "time whether the server keeps up or not.", "RATE",
    )] = None
    arrivals: Annotated[str, Option(
        Choice(("constant", "poisson")), "How the requests of `--rate` are spaced: evenly, or at "
        "random.", unset="constant",
    )] = "constant"
    spread: Annotated[str, Option(
        TEXT, "Which connections send: `uniform`, or `zipf`, `zipf:1.2` (its exponent), where few "
        "send often.", "HOW", "uniform",
    )] = "uniform"
    think_ns: Annotated[int | None, Option(
        DURATION, "Closed loop, instead of `--rate`: each connection sends its next request this "
        "long after its reply; `0s`: at once.", "TIME",
    )] = None
    pipeline: Annotated[int, Option(
        _PIPELINE, f"The most requests in flight on a connection, up to {PIPELINE_MAX:,}.", "COUNT",
        "1",
    )] = 1
    spin: Annotated[bool, Option(
        FLAG, "While there is load, look for replies instead of sleeping: no wake-up is in the "
        "latencies, and a whole core is taken.",
    )] = False
    seed: Annotated[int, Option(
        _SEED, "Seed of all random choices.", "N", "0",
    )] = 0
    scenario: Annotated[str | Any, Option(
        _SCENARIO, "What connections say and expect: the name of a [scenario](scenarios.md), or "
        "`FILE.py:NAME`; may be given more than once, with weights: `shop.py:Browse=3`.",
        "NAME[=WEIGHT]", "the target's; echo over tcp://",
    )] = ""
    message: Annotated[str | bytes | None, Option(
        MESSAGE, "The request: a text with `{n}` (the connection), `{seq}` (its request), "
        "`{random:64}`, and `\\n`, `\\r`, `\\x00` as in Python; or `@FILE`.", "TEXT",
        "the scenario's",
    )] = None
    expect: Annotated[str | bytes | None, Option(
        MESSAGE, "The right reply (over http:// its body); may contain `{any:10}`.", "TEXT",
        "the scenario's",
    )] = None
    publishers: Annotated[int | None, Option(
        _SOME, "With the scenario `publish`: how many connections publish.", "COUNT", "1",
    )] = None
    method: Annotated[str | None, Option(
        TEXT, "Over http://: the method of each request.", "METHOD", "GET; with `--body` POST",
    )] = None
    body: Annotated[str | bytes | None, Option(
        MESSAGE, "Over http://: the body of each request, a text as `--message` (but other braces "
        "are braces); or `@FILE`.", "TEXT", "none",
    )] = None
    url_file: Annotated[str | None, Option(
        TEXT, "Over http://: many requests instead of the target's path, drawn by the seed. A line "
        "each: `[WEIGHT] [METHOD] PATH`, as `3 /cart` or `POST /orders`.", "FILE",
    )] = None
    expect_status: Annotated[str, Option(
        TEXT, "Over http://: the right status, as `200`, `2xx`, or several: `200,404`.", "STATUS",
        "any below 400",
    )] = ""
    expect_headers: Annotated[list[str], Option(
        TEXTS, "Over http://: a field that each response must have; may be given more than once.",
        "'NAME: VALUE'", flag="--expect-header",
    )] = field(default_factory=list)
    expect_contains: Annotated[list[str], Option(
        TEXTS, "Over http://: what must be in the body, a text as `--body`; may be given more than "
        "once.", "TEXT",
    )] = field(default_factory=list)
    expect_json: Annotated[list[str], Option(
        TEXTS, "Over http://: a field of a body in JSON, and its value in JSON, as `cart.total=0` "
        "or `'items.0.name=\"tea\"'`; may be given more than once.", "PATH=VALUE",
    )] = field(default_factory=list)
    publish_to: Annotated[str | None, Option(
        TEXT, "With `publish` over ws:// or sse://: publishers POST to this path, or http:// URL "
        "(https:// over wss:// and sses://), and do not subscribe.", "PATH-OR-URL",
        "over sse:// with `channel=`: `/publish` with the same channel",
    )] = None
    headers: Annotated[list[str], Option(
        TEXTS, "Over http://, ws:// and sse://: a further field of each request (the upgrade too), "
        "as `'Authorization: Bearer TOKEN'`; may be given more than once.", "'NAME: VALUE'",
        flag="--header",
    )] = field(default_factory=list, repr=False)
    binary: Annotated[bool, Option(
        FLAG, "Over ws://: send binary messages. Without it they are text where they are UTF-8.",
    )] = False
    topic: Annotated[str | None, Option(
        TEXT, "Over mqtt://: where connections publish, and what they subscribe to; with `{n}` "
        "each has its own. With `hold`: a filter to subscribe to.", "TOPIC",
        "`c1m/SEED/{n}`; with `publish` `c1m/SEED`; with `hold` none",
    )] = None
    qos: Annotated[int, Option(
        COUNT.within(0, 1), "Over mqtt://: the QoS of what is published and subscribed to, 0 or 1.",
        "QOS", "0",
    )] = 0
    retain: Annotated[bool, Option(
        FLAG, "Over mqtt://: the server is to keep each topic's last message.",
    )] = False
    client_id: Annotated[str | None, Option(
        TEXT, "Over mqtt://: who each connection says it is.", "ID", "`c1m-SEED-{n}`",
    )] = None
    mqtt_version: Annotated[str, Option(
        Choice(("3.1.1", "5")), "Over mqtt://: the version of the protocol.", unset="3.1.1",
    )] = "3.1.1"
    keep_alive_ns: Annotated[int, Option(
        DURATION.within(0, 65_535_000_000_000), "Over mqtt://: a connection that says nothing for "
        "three quarters of this time says PINGREQ. `0s`: never.", "TIME", "60s",
    )] = 60_000_000_000
    will: Annotated[str | None, Option(
        TEXT, "Over mqtt://: what the server is to publish when a connection breaks; both may have "
        "`{n}`.", "TOPIC=MESSAGE",
    )] = None
    ca: Annotated[str | None, Option(
        TEXT, "Over TLS: whose certificates to trust, a file of certificates in PEM.", "FILE",
        "the authorities that this machine trusts",
    )] = None
    insecure: Annotated[bool, Option(
        FLAG, "Over TLS: take any certificate.",
    )] = False
    server_name: Annotated[str | None, Option(
        TEXT, "Over TLS: the name to ask for (SNI), which the server's certificate must have.",
        "NAME", "each target's host",
    )] = None
    cert: Annotated[str | None, Option(
        TEXT, "Over TLS: a certificate to show to servers that ask for one, in PEM, with its chain "
        "behind it.", "FILE",
    )] = None
    key: Annotated[str | None, Option(
        TEXT, "The key of `--cert`, in PEM.", "FILE", "in the file of `--cert`",
    )] = None
    tls_min: Annotated[str, Option(
        Choice(("1.2", "1.3")), "The oldest version of TLS to speak.", unset="1.2",
    )] = "1.2"
    tls_resume: Annotated[bool, Option(
        FLAG, "Over TLS: connections take up the session of an earlier one to the same name, where "
        "the server gives tickets. Without it every handshake is a whole one.",
    )] = False
    tls_handoff: Annotated[bool, Option(
        FLAG, "Over TLS 1.3, experimental: behind the handshake c1m goes on without OpenSSL, and "
        "an idle connection takes about a hundred bytes.",
    )] = False
    proxy_header: Annotated[str | None, Option(
        Choice(("v1", "v2")), "Begin each connection with a PROXY header of that version, as a "
        "proxy would, for a client of its own from 198.18.0.0/15.",
    )] = None
    sources: Annotated[list[str], Option(
        TEXTS, "Where to connect from: an address, `FIRST-LAST`, a network, or several with "
        "commas; may be given more than once (see [docs/how-to/several-source-addresses.md]"
        "(../how-to/several-source-addresses.md)).", "ADDRESSES",
        "on loopback from 127.0.0.0/8, elsewhere the kernel's choice", flag="--source",
    )] = field(default_factory=list)
    engine: Annotated[str, Option(
        TEXT, "`auto`: epoll for up to 256 connections at a rate, else uring where it works.",
        "NAME", "auto",
    )] = "auto"
    server_pid: Annotated[int | None, Option(
        _PID, "Measure this process as the server.", "PID", "found by its port on this machine",
    )] = None
    cluster: Annotated[str | None, Option(
        TEXT, "Let the workers of a Dask cluster do the run together: its scheduler, "
        "`tcp://HOST:8786`, or `local:N` for N processes here (needs `c1m[cluster]`; see "
        "[docs/how-to/load-from-several-machines.md](../how-to/load-from-several-machines.md)).",
        "SCHEDULER", "this process",
    )] = None
    on_worker_loss: Annotated[str, Option(
        Choice(("degrade", "abort", "respawn")), "With `--cluster`, when a worker dies or falls "
        "silent: the others go on, and the run is marked DEGRADED; all end; or its part is begun "
        "anew elsewhere.", unset="degrade",
    )] = "degrade"
    ready_timeout_ns: Annotated[int, Option(
        _TIMEOUT, "With `--cluster`: all workers must be ready within this, or nothing begins.",
        "TIME", "60s",
    )] = 60_000_000_000
    cluster_dir: Annotated[str | None, Option(
        TEXT, "With `--cluster`, keep what is measured each second in this directory of the "
        "workers' machines and of this one, so that `c1m report --from DIR` can put a run "
        "together that lost its controller.",
        "DIR", "`$C1M_STATE_DIR/runs`, else ~/.local/state/c1m/runs; the newest 20 runs",
    )] = None
    require: Annotated[list[str], Option(
        TEXTS, "What must hold, e.g. `'p99 < 50ms'` or `'lost == 0'` (see "
        "[docs/reference/record.md](record.md#thresholds)); may be given more than once.",
        "THRESHOLD",
    )] = field(default_factory=list)
# fmt: on


OPTIONS = {
    option.name: option
    for option in (
        replace(hint.__metadata__[0], field=name)
        for name, hint in get_type_hints(LoadOptions, include_extras=True).items()
    )
}

# The first option of each group -> what the group is called; the others follow it.
GROUPS = {
    "connections": "How many, how long",
    "rate": "How many requests",
    "scenario": "What is said",
    "method": "HTTP, WebSocket, server-sent events",
    "topic": "MQTT",
    "ca": "TLS",
    "proxy_header": "From where, with what",
    "cluster": "From several machines",
    "require": "What comes out",
}


OF_CLUSTERS = ("on_worker_loss", "ready_timeout_ns", "cluster_dir")  # fields of no use otherwise


def grouped() -> dict[str, list[Option]]:
    """The options of each group, in order; the targets are in none."""
    found: dict[str, list[Option]] = {}
    for option in list(OPTIONS.values())[1:]:
        if option.name in GROUPS:
            members = found[GROUPS[option.name]] = []
        members.append(option)
    return found


def flag_of(field: str) -> str:
    """The option of the command line for a field of LoadOptions."""
    flags: str = next(option.flags for option in OPTIONS.values() if option.field == field)
    return flags


def flags_given(options: LoadOptions, fields: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of these fields that are not as without an option, and their flags."""
    usual = LoadOptions()
    for name in fields:
        if getattr(options, name) != getattr(usual, name):
            yield name, flag_of(name)


def checked(given: Mapping[str, Any]) -> LoadOptions:
    """The options that are given by their names; None stands for one that is not.

    Raises UsageError that names the option.
    """
    found: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        if given.get(name) is not None:
            found[option.field] = option.kind.check(name, given[name])
    return LoadOptions(**found)
