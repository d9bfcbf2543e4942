"""Ten million connections opened and closed: nothing is left of them.

Both ends are on this machine. Of eight connections one is closed and one reset at once; the others
send a message and have its echo: two are closed by the client and one is reset by it, two are
closed and one reset by the server. Source addresses and ports are used in turns, so that those in
TIME_WAIT do not matter.
"""

from __future__ import annotations

import numpy as np

from .child import Child, Line
from .served import Served
from .verdict import Torture, Verdict

COUNT = 10_000_000
ENGINES = ("uring", "epoll")
PORTS, SOURCES, WINDOW = 4, 64, 2_000
WARM = 20_000  # connections before the first measure: what is made once is made then
JUDGED_FROM = 1_000_000  # connections, for a slope to mean something
SLOPE_MAX = 1 << 20  # bytes per million connections: what is called flat
PATIENCE_S = 7200.0


def run(scale: float) -> Verdict:
    """Both engines."""
    verdict = Verdict()
    for engine in ENGINES:
        _one(verdict, engine, max(int(COUNT * scale), 2_000))
    return verdict


def _one(verdict: Verdict, engine: str, count: int) -> None:
    listen = [f"tcp://127.0.0.1:{port}" for port in [0] * PORTS]
    with Served("torture.apps:Ending", listen, engine=engine) as server:
        warm = _clients(server, min(WARM, count))["opened"]
        before = server.rest(warm)
        said = _clients(server, count)
        after = server.rest(warm + said["opened"])
        samples = [line for line in server.lines if line.get("opened", 0) > before["opened"]]
        last = server.stop()
    figures, check = verdict.figures, verdict.check
    opened = after["opened"] - before["opened"]
    figures[f"{engine}: connections"] = opened
    figures[f"{engine}: seconds"] = round(said["seconds"], 1)
    figures[f"{engine}: a second"] = round(opened / said["seconds"])
    figures[f"{engine}: ended"] = dict(sorted(said["over"].items()))
    for name, words in (("fds", "descriptors"), ("slots", "slots"), ("buffers", "buffers")):
        leaked = after[name] - before[name]
        figures[f"{engine}: {words} leaked"] = leaked
        check(leaked == 0, f"{engine}: {leaked} {words} have leaked.")
    slope = slope_of(samples)
    figures[f"{engine}: memory, MiB before"] = round(before["rss"] / 2**20, 1)
    figures[f"{engine}: memory, MiB after"] = round(after["rss"] / 2**20, 1)
    figures[f"{engine}: memory, KiB more for each million"] = round(slope / 1024, 1)
    check(
        count < JUDGED_FROM or slope < SLOPE_MAX,
        f"{engine}: memory grows by {slope / 1024:.0f} KiB for each million.",
    )
    check(not said["wrong"], f"{engine}: clients have seen {said['wrong']}.")
    check(not said["failed"], f"{engine}: connects have failed: {said['failed']}.")
    check(said["opened"] == count == opened,
          f"{engine}: of {count} connections clients have opened {said['opened']}, the server "
          f"{opened}.")  # fmt: skip
    for line in (before, after, last):
        lawful(verdict, engine, line)


def _clients(server: Served, count: int) -> Line:
    with Child("churning", ports=server.ports, sources=SOURCES, window=WINDOW, count=count) as them:
        return them.wait_for(lambda line: "done" in line, PATIENCE_S)


def lawful(verdict: Verdict, where: str, line: Line) -> None:
    """The laws of statistics hold in what a server said when nobody was connected."""
    closed = sum(line["closed"].values())
    verdict.check(
        line["opened"] == closed and line["live"] == 0,
        f"{where}: {line['opened']} were opened, {closed} closed, {line['live']} are there.",
    )
    never = sum(line["never_opened"].values())
    verdict.check(
        line["accepted"] == line["ended"] == line["opened"] + never,
        f"{where}: the engine accepted {line['accepted']} and closed {line['ended']}; "
        f"{line['opened']} were opened, {never} never.",
    )


def slope_of(lines: list[Line]) -> float:
    """Bytes of memory more for each million connections, by the line through all but the first
    tenth."""
    lines = lines[len(lines) // 10 :]
    if len({line["opened"] for line in lines}) < 2:
        return 0.0
    opened = [line["opened"] / 1e6 for line in lines]
    return float(np.polyfit(opened, [line["rss"] for line in lines], 1)[0])


TORTURE = Torture(
    "churn",
    "10 million connections opened and closed on each engine: 0 descriptors, slots or buffers "
    "leaked, memory flat.",
    run,
)
