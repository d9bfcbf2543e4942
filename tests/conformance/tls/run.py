"""`tls`: other people's TLS against c1m's, in both roles, by ssl and handed off.

Peers that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from ..obtaining import CannotBeHad
from . import (
    gnutls,
    http_clients,
    openssl_client,
    openssl_server,
    other_servers,
    python_client,
    scanners,
)
from .cases import CLIENT, FAILED, NOT_HERE, Case, Result, table
from .programs import GO, JAVA, NODE, Peers
from .stage import Stage, counted

# Each has `version()`, which raises CannotBeHad where there is none, and `cases()`.
PEERS: dict[str, Any] = {
    "s_client": openssl_client,
    "s_server": openssl_server,
    "go": Peers(GO),
    "node": Peers(NODE),
    "java": Peers(JAVA),
    "python": python_client,
    "gnutls": gnutls,
    "http": http_clients,
    "servers": other_servers,
    "scanners": scanners,
}
WAYS = {"ssl": False, "handoff": True}


def of_peer(name: str, *, handoff: bool, only: str = "", tell: bool = False) -> list[Result]:
    """The cases of one peer, one way, and how our servers ended."""
    results = []
    with Stage(handoff) as stage:
        for case in PEERS[name].cases():
            if only.lower() not in case.what.lower():
                continue
            result = case.tried(stage)
            results.append(result)
            if tell:
                print(result, flush=True)
        if any(stage.ran):
            ends = Case(name, CLIENT, "how our servers ended", lambda s: s.ended())
            results.append(ends.tried(stage))
            if tell:
                print(results[-1], flush=True)
    return results


def main(words: Sequence[str]) -> int:
    """0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance tls", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"{', '.join(PEERS)}; all")
    parser.add_argument("--way", choices=tuple(WAYS), help="both, unless one is named")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases that have them")
    parser.add_argument("--table", action="store_true", help="print a table at the end")
    asked = parser.parse_args(words)
    for name in asked.peers:
        if name not in PEERS:
            parser.error(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    results: list[Result] = []
    for name in asked.peers or PEERS:
        for way, handoff in WAYS.items():
            if asked.way in (None, way):
                results += of_peer(name, handoff=handoff, only=asked.only, tell=True)
    if asked.table:
        for name in asked.peers or PEERS:
            with contextlib.suppress(CannotBeHad):
                print(PEERS[name].version())
        print(table([each for each in results if each.case.peer not in PEERS]))
    outcomes = [result.outcome for result in results]
    print(f"tls: {len(results)} cases: {counted(outcomes)}")
    if set(outcomes) <= {NOT_HERE}:
        print("tls: no peer of these is here", file=sys.stderr)
        return 2
    return int(FAILED in outcomes)
