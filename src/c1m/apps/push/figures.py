"""The push server's figures for operators (--admin), beside those that each server has."""

from __future__ import annotations

from typing import Any

import numpy as np

from c1m.server.figures import Figure, Figures
from c1m.server.server import Server
from c1m.web.app import CLOSING, HTTP, STREAM, WEBSOCKET

KINDS = {"http": HTTP, "websocket": WEBSOCKET, "stream": STREAM, "closing": CLOSING}

FIGURES = {
    "connections.live": Figure("c1m_connections", "Connections that are open, by kind", "kind"),
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
}


def figures_of(push: Any, server: Server) -> Figures:
    """Their values now, of a PushApp."""
    hub, counts = push.hub, push.counts
    values = {
        "connections.live": _kinds(push, server),
        "ended": {str(code): count for code, count in sorted(counts.ended.items())},
        "silent": push.silent,
        "refused": {str(status): count for status, count in sorted(counts.refused.items())},
        "channels": len(hub.channels),
        "published": hub.published,
        "delivered": counts.delivered,
        "waiting": hub.deliveries.left,
    }
    found: Figures = {name: (FIGURES[name], value) for name, value in values.items()}
    return found if push.relay is None else found | push.relay.relay.figures()


def _kinds(push: Any, server: Server) -> dict[str, int]:
    """Live connections: of the web by what they are; all others by their listener."""
    live = server.live_slots()
    of_push = np.bincount(push.kinds[live], minlength=8)
    found = {name: int(of_push[kind]) for name, kind in KINDS.items()}
    found["redis"] = push.redis.store.rows.count if push.redis is not None else 0
    # Said to be closed by us, or just opened: of no kind, and there for a moment.
    found["other"] = len(live) - sum(found.values())
    return found
