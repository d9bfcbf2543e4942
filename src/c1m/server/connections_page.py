"""The connections that have most of something, for /connections of the admin listener.

Of a million connections the first 20 are found slice by slice, each in a tick of its own, so that
the server's thread is never held for long. Only those 20 are asked who they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import NO_SLOTS, Owed, Slots
from c1m.engine.names import shown, sockaddrs
from c1m.guard.ledger import Ledger
from c1m.units import NS_PER_S, format_bytes, format_count, format_duration

LIMIT_MAX = 1000
SLICE = 1 << 16  # slots that are looked at in one tick
NO_KEYS = np.zeros(0, np.int64)
SORTS = ("unsent", "received", "sent", "age", "silent")


Ask = Callable[[Callable[[Any], Any]], Any]  # what a function of the server says, in its thread


def top(ask: Ask, sort: str, limit: int) -> list[dict[str, Any]]:
    """The `limit` connections that come first by `sort`."""
    if sort == "unsent":
        slots = ask(lambda server: _most_unsent(server, limit))
    else:
        count = ask(lambda server: server.operators.ledger.top)
        parts = [
            ask(partial(_first, sort=sort, limit=limit, at=at)) for at in range(0, count, SLICE)
        ]
        keys = np.concatenate([NO_KEYS, *(keys for _, keys in parts)])
        slots = _largest(np.concatenate([NO_SLOTS, *(some for some, _ in parts)]), keys, limit)[0]
    rows: list[dict[str, Any]] = ask(lambda server: _rows(server, slots))
    return rows


def _rows(server: Any, slots: Slots) -> list[dict[str, Any]]:
    ledger, engine, now_ns = server.operators.ledger, server.engine, server.clock.now_ns()
    slots = slots[ledger.are_open(slots)]  # others may have gone meanwhile
    found = []
    for slot, name in zip(slots.tolist(), sockaddrs(engine, slots), strict=True):
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


def _most_unsent(server: Any, limit: int) -> Slots:
    slots, most = server.engine.owed()
    is_open = server.operators.ledger.are_open(slots)
    return _largest(slots[is_open], most[is_open], limit)[0]


def _first(server: Any, sort: str, limit: int, at: int) -> Owed:
    """Of one slice: those that may be among the first, and their keys."""
    ledger: Ledger = server.operators.ledger
    slots = ledger.open_slots(at, at + SLICE)
    if sort == "age":
        keys = -ledger.opened_ns[slots]
    elif sort == "silent":
        keys = -ledger.heard_s[slots].astype(np.int64)
    else:
        keys = (ledger.received if sort == "received" else ledger.sent)[slots].astype(np.int64)
    return _largest(slots, keys, limit)


def _largest(slots: Slots, keys: npt.NDArray[np.int64], limit: int) -> Owed:
    """Those with the largest keys, these first, and their keys."""
    if len(slots) > limit:
        part = np.argpartition(keys, len(keys) - limit)[len(keys) - limit :]
        slots, keys = slots[part], keys[part]
    order = np.argsort(keys, kind="stable")[::-1]
    return slots[order], keys[order]


def as_text(rows: list[dict[str, Any]], live: int, sort: str) -> str:
    """For people."""
    shown = f"the first {len(rows)} by {sort}"
    if not rows and sort == "unsent":
        shown = "none by unsent: all read what they are sent"
    lines = [f"{format_count(live)} connections; {shown}", _LINE[0]]
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
