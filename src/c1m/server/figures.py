"""The figures of a server for operators: /stats shows them as JSON, /metrics for Prometheus.

All are in one table, FIGURES; an application's own come from `App.figures`. A figure is a number,
or numbers by the value of a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from c1m.kernel.procfs import process_sample
from c1m.server.statistics import CloseReason, by_words

PAGES = "/healthz, /readyz, /metrics, /stats, /connections"  # of the listener for operators
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Figure(NamedTuple):
    """What a figure is called in Prometheus, what it is, and the label that it is split by.

    One whose name ends in `_total` only rises.
    """

    metric: str
    help: str
    label: str = ""

    @property
    def kind(self) -> str:
        """In Prometheus's words."""
        return "counter" if self.metric.endswith("_total") else "gauge"


Figures = dict[str, tuple[Figure, Any]]  # by their name in /stats: "bytes.sent" is nested

FIGURES = {
    "connections.opened": Figure("c1m_connections_opened_total", "Connections that were accepted"),
    "connections.live": Figure("c1m_connections", "Connections that are open"),
    "connections.peak": Figure("c1m_connections_peak", "The most that were open at once"),
    "connections.room": Figure(
        "c1m_connections_room", "As many fit, by descriptors, rings and what is asked; memory apart"
    ),
    "connections.opening": Figure(
        "c1m_connections_opening", "Accepted, and still in a TLS handshake or a PROXY header"
    ),
    "connections.closed": Figure(
        "c1m_connections_closed_total", "Connections that ended, by reason", "reason"
    ),
    "connections.never_opened": Figure(
        "c1m_connections_never_opened_total",
        "Accepted, and ended before any application was told",
        "reason",
    ),
    "limited": Figure(
        "c1m_limited_total", "How often a limit has acted, by the option's name", "limit"
    ),
    "kernel_refused": Figure(
        "c1m_kernel_refused_total", "How often the kernel refused something, by what", "what"
    ),
    "failed": Figure(
        "c1m_callbacks_failed_total", "Exceptions out of callbacks of the application", "callback"
    ),
    "tls": Figure(
        "c1m_tls_handshakes_total",
        "TLS handshakes, by what became of them (resumed: of those done)",
        "state",
    ),
    "messages": Figure("c1m_messages_total", "Pieces of data from connections"),
    "ticks": Figure("c1m_ticks_total", "Passes of the server's loop"),
    "bytes.received": Figure("c1m_received_bytes_total", "Bytes from connections"),
    "bytes.sent": Figure("c1m_sent_bytes_total", "Bytes that the kernel has taken"),
    "bytes.unsent": Figure("c1m_unsent_bytes_total", "Bytes lost with connections that ended"),
    "bytes.queued": Figure("c1m_queued_bytes", "Bytes that wait for the kernel to take them"),
    "draining": Figure("c1m_draining", "1 while the server stops"),
}
OF_PROCESS = {
    "memory_bytes": Figure("process_resident_memory_bytes", "Memory of the process"),
    "cpu_seconds": Figure("process_cpu_seconds_total", "Processor time of the process"),
    "threads": Figure("process_threads", "Threads of the process"),
}

OF_PROCESSES = {  # of each, where there are several (--processes)
    "processes.connections": Figure(
        "c1m_process_connections", "Connections that a process holds, by its number", "process"
    ),
    "processes.share": Figure(
        "c1m_process_share", "Its part of all connections that are open", "process"
    ),
    "processes.weight": Figure(
        "c1m_process_weight", "The part of new connections that it is to get", "process"
    ),
    "processes.cpu_seconds": Figure(
        "c1m_process_cpu_seconds_total", "Its processor time", "process"
    ),
    "processes.restarts": Figure(
        "c1m_process_restarts_total", "How often it was started again", "process"
    ),
}


def figures_of(server: Any) -> Figures:
    """Those of the server and of its application. In the server's thread."""
    statistics, engine = server.update_statistics(), server.engine
    queued, tls = engine.statistics(), handshakes(server)
    values = {
        "connections.opened": statistics.opened,
        "connections.live": statistics.live,
        "connections.peak": statistics.peak,
        "connections.room": engine.room(),
        "connections.opening": statistics.opening,
        "connections.closed": {r.name.lower(): statistics.closed[r] for r in CloseReason},
        "connections.never_opened": by_words(statistics.never_opened),
        "limited": statistics.limited,
        "kernel_refused": statistics.refused,
        "failed": statistics.failed,
        "tls": tls and {
            "done": tls["done"], "resumed": tls["resumed"], "failed": sum(tls["failed"].values()),
        },
        "messages": statistics.messages,
        "ticks": statistics.ticks,
        "bytes.received": statistics.received_bytes,
        "bytes.sent": statistics.sent_bytes,
        "bytes.unsent": statistics.unsent_bytes,
        "bytes.queued": queued.outbox_bytes,
        "draining": int(server.is_stopping),
    }  # fmt: skip
    found: Figures = {name: (FIGURES[name], value) for name, value in values.items()}
    app = getattr(server, "app", None)
    return found if app is None else found | app.figures(server)


def of_process() -> Figures:
    """Those of the process, which any thread may ask for."""
    sample = process_sample()
    if sample is None:
        return {}
    cpu_s = round(sample.user_s + sample.system_s, 2)
    values = {"memory_bytes": sample.rss_bytes, "cpu_seconds": cpu_s, "threads": sample.threads}
    return {name: (OF_PROCESS[name], value) for name, value in values.items()}


def handshakes(server: Any) -> dict[str, Any]:
    """Of TLS: all = done + failed + under_way; {} where TLS is not c1m's."""
    engine = server.security.engine if server.security is not None else None
    if engine is None:
        return {}
    counts = engine.handshakes
    return {
        "done": counts.done, "resumed": counts.resumed, "handed": counts.handed,
        "versions": dict(counts.versions), "under_way": counts.under_way,
        "failed": by_words(counts.failed),
    }  # fmt: skip


def nested(figures: Figures) -> dict[str, Any]:
    """Their values: "bytes.sent" -> {"bytes": {"sent": 1}}."""
    found: dict[str, Any] = {}
    for name, (_, value) in figures.items():
        group, dot, last = name.partition(".")
        if dot:
            found.setdefault(group, {})[last] = value
        else:
            found[name] = value
    return found


def prometheus(figures: Figures) -> bytes:
    """Prometheus's text format, version 0.0.4."""
    lines = []
    for figure, value in figures.values():
        about = figure.help.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {figure.metric} {about}", f"# TYPE {figure.metric} {figure.kind}"]
        if isinstance(value, Mapping):
            rows = [(f'{{{figure.label}="{_escaped(key)}"}}', each) for key, each in value.items()]
        else:
            rows = [("", value)]
        lines += [f"{figure.metric}{labels} {each}" for labels, each in rows]
    return "\n".join(lines).encode() + b"\n"


def _escaped(text: Any) -> str:
    return str(text).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
