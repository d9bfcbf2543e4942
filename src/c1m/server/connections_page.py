"""The connections that have most of something, for /connections of the admin listener.

Of a million connections the top 20 are found by one partition of a column: some milliseconds of the
server's thread. Only those 20 are asked who they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.engine.names import shown, sockaddrs
from c1m.units import NS_PER_S, format_bytes, format_count, format_duration

LIMIT_MAX = 1000
SORTS = ("unsent", "received", "sent", "age", "silent")


def top(server: Any, sort: str, limit: int) -> list[dict[str, Any]]:
    """The `limit` connections that come first by `sort`. In the server's thread."""
    ledger, engine, now_ns = server.operators.ledger, server.engine, server.clock.now_ns()
    slots = _first(server, sort, limit)
    names = sockaddrs(engine, slots)
    found = []
    for slot, name in zip(slots.tolist(), names, strict=True):
        row, unsent = ledger.row(slot), engine.unsent(slot)
        found.append(
            {
                "connection": slot,
                "peer": shown(name),
                "age_s": round((now_ns - row.opened_ns) / NS_PER_S, 3),
                "received": row.received,
                "sent": max(row.sent - unsent, 0),
                "unsent": unsent,
                "silent_s": max(now_ns // NS_PER_S - row.heard_s, 0),
            }
        )
    return found


def _first(server: Any, sort: str, limit: int) -> Slots:
    ledger = server.operators.ledger
    if sort == "unsent":
        slots, most = server.engine.owed()
        is_open = ledger.are_open(slots)
        return _largest(slots[is_open], most[is_open], limit)
    slots = ledger.open_slots()
    if sort == "age":
        return _largest(slots, -ledger.opened_ns[slots], limit)
    if sort == "silent":
        return _largest(slots, -ledger.heard_s[slots].astype(np.int64), limit)
    return _largest(slots, getattr(ledger, sort)[slots], limit)


def _largest(slots: Slots, keys: npt.NDArray[Any], limit: int) -> Slots:
    """Those with the largest keys, these first."""
    if len(slots) > limit:
        part = np.argpartition(keys, len(keys) - limit)[len(keys) - limit :]
        slots, keys = slots[part], keys[part]
    return slots[np.argsort(keys, kind="stable")[::-1]]


def as_text(rows: list[dict[str, Any]], live: int, sort: str) -> str:
    """For people."""
    lines = [f"{format_count(live)} connections; the first {len(rows)} by {sort}", _LINE[0]]
    for row in rows:
        lines.append(
            _LINE[1].format(
                row["connection"],
                row["peer"],
                format_duration(row["age_s"] * NS_PER_S) if row["age_s"] else "0 s",
                format_bytes(row["received"]),
                format_bytes(row["sent"]),
                format_bytes(row["unsent"]),
                f"{row['silent_s']:,} s",
            )
        )
    return "\n".join(lines) + "\n"


_LINE = (
    f"{'connection':>10}  {'peer':<28}  {'open for':>10}  {'received':>10}  {'sent':>10}"
    f"  {'unsent':>10}  {'heard':>10} ago",
    "{:>10}  {:<28}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}",
)
