"""What operators look at, on a listener of its own: /healthz, /stats (JSON), /metrics (Prometheus).

All figures are in one table, FIGURES: /stats shows them nested by their names, /metrics as families
of Prometheus's text format (version 0.0.4).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from c1m.apps.push.app import PushApp
from c1m.apps.push.redis import RedisSide
from c1m.kernel.procfs import process_sample
from c1m.protocols.http.requests import Request
from c1m.protocols.http.responses import Response, text
from c1m.server.server import Server
from c1m.server.statistics import CloseReason
from c1m.web.app import CLOSING, HTTP, STREAM, WEBSOCKET, WebApp

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
KINDS = {"http": HTTP, "websocket": WEBSOCKET, "stream": STREAM, "closing": CLOSING}


class Admin(WebApp):
    """Serves them about a push server and, where there is one, its side of Redis's protocol."""

    def __init__(self, push: PushApp, redis: RedisSide | None = None) -> None:
        super().__init__()
        self.push = push
        self.redis = redis
        self.is_draining = False

    def on_stop(self, server: Server) -> None:
        self.is_draining = True  # its connections stay to the end, so that who asks is told

    def is_done(self, server: Server) -> bool:
        return True

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        head = request.head
        if head.method not in (b"GET", b"HEAD"):
            return text(405, "These are to be looked at only.", ("Allow", "GET, HEAD"))
        if head.path == "/healthz":
            return text(503, "draining") if self.is_draining else text(200, "ok")
        if head.path == "/stats":
            said = json.dumps(nested(self.figures(server)), indent=1).encode()
            return Response(200, said + b"\n", [("Content-Type", "application/json")])
        if head.path == "/metrics":
            return Response(200, prometheus(self.figures(server)), [("Content-Type", PROMETHEUS)])
        return text(404, "There are /healthz, /stats and /metrics here.")

    def figures(self, server: Server) -> dict[str, Any]:
        """The values of FIGURES, by name: a number, or numbers by label."""
        statistics, hub = server.update_statistics(), self.push.hub
        sample, counts = process_sample(), self.push.counts
        return {
            "connections.opened": statistics.opened,
            "connections.live": self._kinds(server),
            "connections.closed": {
                reason.name.lower(): statistics.closed[reason] for reason in CloseReason
            },
            "tls": self._handshakes(server),
            "ended": {str(code): count for code, count in sorted(counts.ended.items())},
            "silent": self.push.silent,
            "refused": {str(status): count for status, count in sorted(counts.refused.items())},
            "channels": len(hub.channels),
            "published": hub.published,
            "delivered": counts.delivered,
            "waiting": hub.deliveries.left,
            "bytes.received": statistics.received_bytes,
            "bytes.sent": statistics.sent_bytes,
            "bytes.unsent": statistics.unsent_bytes,
            "bytes.queued": server.engine.statistics().outbox_bytes,
            "memory_bytes": sample.rss_bytes if sample is not None else 0,
            "cpu_seconds": round(sample.user_s + sample.system_s, 2) if sample is not None else 0,
        }

    def _handshakes(self, server: Server) -> dict[str, int]:
        """By what became of them."""
        engine = server.security.engine if server.security is not None else None
        if engine is None:
            return {}
        counts = engine.handshakes
        return {
            "done": counts.done,
            "resumed": counts.resumed,
            "failed": counts.failed.total(),
        }

    def _kinds(self, server: Server) -> dict[str, int]:
        """Live connections: of the web by what they are; all others by their listener."""
        live = server.live_slots()
        of_push = np.bincount(self.push.kinds[live], minlength=8)
        found = {name: int(of_push[kind]) for name, kind in KINDS.items()}
        found["admin"] = int(np.count_nonzero(self.kinds[live]))
        found["redis"] = self.redis.store.rows.count if self.redis is not None else 0
        # Said to be closed by us, or just opened: of no kind, and there for a moment.
        found["other"] = len(live) - sum(found.values())
        return found


class Figure(NamedTuple):
    """One figure: its name in Prometheus, what it is, and what it is split by."""

    metric: str
    help: str
    label: str = ""

    @property
    def kind(self) -> str:
        """Whether it only rises."""
        return "counter" if self.metric.endswith("_total") else "gauge"


FIGURES = {
    "connections.opened": Figure("c1m_connections_opened_total", "Connections that were accepted"),
    "connections.live": Figure("c1m_connections", "Connections that are open, by kind", "kind"),
    "connections.closed": Figure(
        "c1m_connections_closed_total", "Connections that ended, by reason", "reason"
    ),
    "tls": Figure(
        "c1m_tls_handshakes_total",
        "TLS handshakes, by what became of them (resumed: of those done)",
        "state",
    ),
    "ended": Figure(
        "c1m_push_ended_total", "WebSockets and streams that ended, by close code", "code"
    ),
    "silent": Figure(
        "c1m_push_silent_total", "WebSockets that were dropped: nothing came behind a ping"
    ),
    "refused": Figure("c1m_push_refused_total", "Requests that were refused, by status", "status"),
    "channels": Figure("c1m_push_channels", "Channels that have subscribers, once for each form"),
    "published": Figure("c1m_push_published_total", "Publications"),
    "delivered": Figure("c1m_push_delivered_total", "Publications, once for each receiver"),
    "waiting": Figure("c1m_push_waiting", "Receivers that publications are on their way to"),
    "bytes.received": Figure("c1m_received_bytes_total", "Bytes from connections"),
    "bytes.sent": Figure("c1m_sent_bytes_total", "Bytes that the kernel has taken"),
    "bytes.unsent": Figure("c1m_unsent_bytes_total", "Bytes lost with connections that ended"),
    "bytes.queued": Figure("c1m_queued_bytes", "Bytes that wait for the kernel to take them"),
    "memory_bytes": Figure("process_resident_memory_bytes", "Memory of the process"),
    "cpu_seconds": Figure("process_cpu_seconds_total", "Processor time of the process"),
}


def nested(figures: Mapping[str, Any]) -> dict[str, Any]:
    """{"bytes.sent": 1} -> {"bytes": {"sent": 1}}."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        group, dot, last = name.partition(".")
        if dot:
            found.setdefault(group, {})[last] = value
        else:
            found[name] = value
    return found


def prometheus(figures: Mapping[str, Any]) -> bytes:
    """Prometheus's text format. Labels are words of ours: nothing in them is to be escaped."""
    lines = []
    for name, figure in FIGURES.items():
        value = figures[name]
        lines += [f"# HELP {figure.metric} {figure.help}", f"# TYPE {figure.metric} {figure.kind}"]
        if figure.label:
            rows = [(f'{{{figure.label}="{key}"}}', each) for key, each in value.items()]
        else:
            rows = [("", value)]
        lines += [f"{figure.metric}{labels} {each}" for labels, each in rows]
    return "\n".join(lines).encode() + b"\n"
