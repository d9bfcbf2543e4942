"""The kernel's table of established connections (net.ipv4.tcp_ehash_entries, read-only).

Every packet and every connect looks its connection up there, along a chain of those with the same
hash. The table is made at boot for the memory (262,144 chains at 24 GB), so with two million
sockets a look-up walks eight deep and misses the cache at each step. Measured with both ends of a
million connections on one machine: opening them takes 1.6 times as long as with 4,194,304 chains.

It bounds nothing. A namespace may have a table of its own (Linux 6.1): those that are made while
tcp_child_ehash_entries is set in the one that they are made in.
"""

from __future__ import annotations

from c1m.limits.check import OK, Finding
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "net.ipv4.tcp_ehash_entries"
DEEP = 2  # sockets a chain, from which on it is worth a word


def check(request: Request, situation: Situation) -> Finding | None:
    """How deep the chains get; nothing where the kernel does not tell (before Linux 6.1)."""
    chains = situation.established_chains
    if not chains:
        return None
    sockets = request.connections * request.ends
    deep = sockets / chains
    wanted = 1 << (sockets - 1).bit_length()
    if deep <= DEEP:
        return Finding(NAME, OK, chains, chains, "chains")
    return Finding(
        NAME,
        OK,
        wanted,
        chains,
        "chains",
        f"{sockets:,} sockets stand {deep:.0f} deep in it: look-ups get slower, nothing stops.",
        f"Boot with thash_entries={wanted}, or set net.ipv4.tcp_child_ehash_entries={wanted} and "
        "make a network namespace: it gets a table of that size.",
    )
