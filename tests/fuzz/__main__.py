"""`python -m tests.fuzz TARGET [--seconds N] [--seed N]`: random input until the time is over.

Each execution has a seed of its own, so that one that fails is repeated by `--seed N --count 1`.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from . import (
    command,
    corpus,
    http1,
    limits,
    log_lines,
    mercure,
    mqtt,
    operators,
    plans,
    proxy,
    push_json,
    push_server,
    records,
    resp,
    sockets,
    take_over,
    tls_records,
    tokens,
    web,
    websocket,
)

TARGETS = {
    "command": command.run,
    "http1": http1.run,
    "limits": limits.run,
    "log-lines": log_lines.run,
    "mercure-topics": mercure.run,
    "mqtt": mqtt.run,
    "operators": operators.run,
    "plans": plans.run,
    "proxy": proxy.run,
    "push-json": push_json.run,
    "push-server": push_server.run,
    "records": records.run,
    "resp": resp.run,
    "sockets": sockets.run,
    "take-over": take_over.run,
    "tls-records": tls_records.run,
    "tokens": tokens.run,
    "web": web.run,
    "websocket": websocket.run,
}
TELL_S = 60


def main(words: Sequence[str] | None = None) -> int:
    """Run one target; 1 where it failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--count", type=int, help="executions; without it time decides")
    parser.add_argument("--seed", type=int, default=time.time_ns() >> 10, help="of the first one")
    parser.add_argument("--keep", action="store_true", help="keep seeds that reach further")
    asked = parser.parse_args(words)
    run, start = TARGETS[asked.target], time.monotonic()
    if asked.keep:
        print(f"{corpus.keep(asked.target, run, asked.seconds):,} seeds were tried")
        return 0
    count = size = 0
    told = start
    while asked.count is None or count < asked.count:
        now = time.monotonic()
        if asked.count is None and now - start >= asked.seconds:
            break
        if now - told >= TELL_S:
            told = now
            print(f"{count:,} executions, {size:,} bytes in {now - start:.0f} s", flush=True)
        try:
            size += run(Random(asked.seed + count))
        except Exception:
            traceback.print_exc()
            print(f"seed {asked.seed + count} failed after {count:,} executions")
            return 1
        count += 1
    took = time.monotonic() - start
    print(f"{asked.target}: {count:,} executions, {size:,} bytes in {took:.0f} s, none failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
