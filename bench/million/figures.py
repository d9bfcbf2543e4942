"""From the measurements at a million connections to figures and tables. Pure.

A measurement is a mapping with a `kind`: ramp (opened in one go, held, closed), turns (a closed
loop while so many are open), broadcast, worked (memory after all that), largest, failed; and with
the `life` of the server that it is from.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from harness.counting import (
    DISTURBED,
    Pair,
    Ratio,
    Run,
    busy,
    cpu_us,
    disturbed,
    failed,
    key,
    middle,
    ratio,
)
from harness.tables import Table

Measurement = Mapping[str, Any]

MILLION = 1_000_000
ORDERS = {"opened": "in the order of opening", "random": "in random order"}
FOREIGN_MAX = 0.005  # sockets of others, as a part of the connections


def of_kind(measurements: Sequence[Measurement], kind: str, **wanted: Any) -> list[Measurement]:
    """Those of a kind whose entries are as wanted, in the order they were made."""
    return [
        each
        for each in measurements
        if each["kind"] == kind and all(each.get(name) == value for name, value in wanted.items())
    ]


def lives(measurements: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The measurements of each life, in the order they were made."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in measurements:
        found.setdefault(each["life"], []).append(each)
    return found


# --- figures of one measurement -------------------------------------------------------------------


def failures(each: Measurement) -> int:
    """Connects that failed, connections that ended, replies that were wrong."""
    return int(each["errors"] + each["mismatches"])


def ramp_seconds(ramp: Measurement) -> float | None:
    """Until the last one's first echo was back; None where not all were opened and right."""
    is_whole = ramp["opened"] == ramp["connections"] == ramp["echoed"] and not failures(ramp)
    return float(ramp["seconds"]) if is_whole else None


def deliveries(run: Measurement) -> float | None:
    """A second; None where one was missing or wrong."""
    return None if failed(run) else float(run["rps"])


def flatness(ramp: Measurement) -> float | None:
    """The last full stride's time / the second's; None where there are not three."""
    strides = ramp["stride_seconds"]
    return float(strides[-1] / strides[1]) if len(strides) >= 3 else None


def user_bytes(ramp: Measurement) -> float:
    """The server's resident memory over the empty server's, bytes a connection."""
    grown = ramp["held"]["rss_bytes"] - ramp["empty"]["rss_bytes"]
    return float(grown / ramp["opened"])


def over_bare(ramp: Measurement) -> float | None:
    """The kernel's objects over the bare sockets', bytes an end; None where it is not known.

    Whole objects a connection on both sides: what slab caches have in half-full pages, and what
    they take themselves (an array of owners for each slab), is in neither. Both ends are c1m's and
    wait alike, so half of what both take over two bare sockets is the server's.
    """
    if not ramp["object_bytes"] or ramp["bare_bytes"] is None:
        return None
    return float(ramp["object_bytes"] - ramp["bare_bytes"]) / 2


def given_back(each: Measurement) -> float:
    """The server's resident memory after all have closed / the empty server's."""
    return float(each["closed"]["rss_bytes"] / each["empty"]["rss_bytes"])


def foreign_part(ramp: Measurement) -> float:
    """Sockets of others that came or went meanwhile, as a part of the connections."""
    grown = ramp["held"]["tcp_everywhere"] - ramp["empty"]["tcp_everywhere"]
    return float(abs(grown - 2 * ramp["opened"]) / ramp["opened"])


def spread(values: Sequence[float | None]) -> Ratio | None:
    """Median, least and most of those that there are."""
    known = [value for value in values if value is not None]
    return Ratio(float(median(known)), min(known), max(known)) if known else None


def quiet_pairs(
    measurements: Sequence[Measurement], most: int, least: int, in_flight: int, order: str
) -> list[Pair]:
    """Runs with `least` and with `most` open, the same in flight: first with first, and so on.

    Those with fewer open were made before all were open and after all but these were closed, as
    many on either side: a drift of the machine is in both halves.
    """
    pairs: list[Pair] = []
    for life in dict.fromkeys(each["life"] for each in measurements):
        few, many = (
            of_kind(
                measurements, "turns", life=life, connections=n, in_flight=in_flight, order=order
            )
            for n in (least, most)
        )
        pairs += zip(few, many, strict=False)
    return pairs


def last_seconds(run: Measurement) -> float:
    """From a message to the last of those who read: the median of its rounds."""
    return float(median(run["round_seconds"]))


def deaf_pairs(measurements: Sequence[Measurement]) -> list[Pair]:
    """Runs in which all read, each with the one after it, in which some did not."""
    runs = of_kind(measurements, "published")
    return [
        (all_read, some) for all_read, some in itertools.pairwise(runs)
        if some["deaf"] and not all_read["deaf"] and some["life"] == all_read["life"]
    ]  # fmt: skip


# --- tables ---------------------------------------------------------------------------------------


def tables(measurements: Sequence[Measurement]) -> list[Table]:
    """All there are measurements for."""
    by_life = lives([dict(each) for each in measurements]).values()
    made = [
        _ramp_table(measurements), _memory_table(measurements), *map(_turns_table, by_life),
        _broadcast_table(measurements), _subscribers_table(measurements),
        _unread_table(measurements), _largest_table(measurements), _failed_table(measurements),
    ]  # fmt: skip
    return [table for table in made if table.rows]


def _failed_table(measurements: Sequence[Measurement]) -> Table:
    rows = [[each["life"], each["error"]] for each in of_kind(measurements, "failed")]
    return Table("What was not measured to the end", ("life", "why"), rows)


def _ramp_table(measurements: Sequence[Measurement]) -> Table:
    rows, notes = [], []
    for each in of_kind(measurements, "ramp"):
        strides, flat = each["stride_seconds"], flatness(each)
        second, last = (f"{strides[i]:.2f} s" if flat else "-" for i in (1, -1))
        rows.append([
            f"{each['opened']:,}", f"{each['seconds']:.1f} s",
            f"{each['opened'] / each['seconds']:,.0f}", second, last,
            f"{flat:.2f}" if flat else "-", f"{each['close_seconds']:.1f} s", str(failures(each)),
        ])  # fmt: skip
        notes.append(f"A stride is {each['stride']:,} connections.")
        if each["stopped"]:
            notes.append(f"{each['connections']:,} were asked; stopped by {each['stopped']}")
    names = ("opened, each echoed once", "time", "connections/s", "second stride", "last stride",
             "last / second", "all closed in", "failed")  # fmt: skip
    return Table("Connections opened in one go", names, rows, list(dict.fromkeys(notes)))


def _memory_table(measurements: Sequence[Measurement]) -> Table:
    rows, notes = [], []
    for each in of_kind(measurements, "ramp"):
        over, opened = over_bare(each), each["opened"]
        fallen = each["empty"]["available_bytes"] - each["held"]["available_bytes"]
        rows.append([
            f"{opened:,} idle", f"{user_bytes(each):.1f}",
            f"{each['kernel_bytes'] / opened:,.0f}" if each["kernel_bytes"] else "-",
            "-" if each["bare_bytes"] is None else f"{each['bare_bytes']:,}",
            "-" if over is None else f"{over:.0f}", f"{fallen / opened:,.0f}", *_back(each),
        ])  # fmt: skip
        if foreign_part(each) > FOREIGN_MAX:
            notes.append("Others opened or closed sockets meanwhile: kernel B is rough.")
    for each in of_kind(measurements, "worked"):
        rows.append([f"{each['connections']:,} that worked", *["-"] * 5, *_back(each)])
    names = ("connections", "user B", "kernel B, both ends", "two bare sockets", "over it, an end",
             "machine B, both ends", "empty server", "after all closed", "ratio")  # fmt: skip
    return Table(
        "Memory of connections that are idle, and after they have closed",
        names,
        rows,
        list(dict.fromkeys(notes)),
    )


def _back(each: Measurement) -> list[str]:
    empty, closed = (each[when]["rss_bytes"] / 2**20 for when in ("empty", "closed"))
    return [f"{empty:.1f} MiB", f"{closed:.1f} MiB", f"{given_back(each):.2f}"]


def _turns_table(measurements: Sequence[Measurement]) -> Table:
    turns = of_kind(measurements, "turns")
    counts = sorted({run["connections"] for run in turns})
    many = f"{max(counts, default=0):,}"
    rows = []
    for in_flight in sorted({run["in_flight"] for run in turns}):
        for order, words in ORDERS.items():
            for open_now in counts:
                wanted = {"connections": open_now, "in_flight": in_flight, "order": order}
                runs = of_kind(turns, "turns", **wanted)
                pairs = quiet_pairs(turns, open_now, counts[0], in_flight, order)
                if runs:
                    what = f"{in_flight:,} in flight, {open_now:,} open, {words}"
                    rows.append([what, *_figures(runs, pairs if open_now > counts[0] else [])])
    notes = _rough(turns)
    if rows:
        notes.append(f"Ratios are to {counts[0]:,} open.")
    return Table(
        f"Echo of 64 B while most of up to {many} are quiet", ("requests", *FIGURES), rows, notes
    )


FIGURES = ("a second", "ratio (least..most)", "p50 us", "p99", "CPU us", "ratio", "busy", "failed")


def _figures(runs: Sequence[Run], pairs: Sequence[Pair]) -> list[str]:
    rates, costs = ratio(pairs, key("rps")), ratio(pairs, cpu_us)
    return [
        f"{middle(runs, key('rps')):,.0f}",
        str(rates) if rates else "",
        *(f"{middle(runs, key(name)):,.0f}" for name in ("p50_us", "p99_us")),
        f"{middle(runs, cpu_us):.2f}",
        f"{costs.median:.2f}" if costs else "",
        f"{middle(runs, busy):.0%}/{middle(runs, lambda run: busy(run, 'own')):.0%}",
        str(sum(map(failed, runs))),
    ]


def _rough(runs: Sequence[Run]) -> list[str]:
    worst = max(map(disturbed, runs), default=0.0)
    if worst <= DISTURBED:
        return []
    return [f"Disturbed: others had a core that was wanted up to {worst:.0%} of the time."]


def _broadcast_table(measurements: Sequence[Measurement]) -> Table:
    rows, runs = [], of_kind(measurements, "broadcast")
    for run in runs:
        what = f"64 B to {run['connections']:,}, {len(run['round_seconds'])} rounds"
        rows.append([what, *_figures([run], [])])
    return Table("Broadcast to all that are open", ("deliveries", *FIGURES), rows, _rough(runs))


def _subscribers_table(measurements: Sequence[Measurement]) -> Table:
    rows, runs = [], of_kind(measurements, "published")
    for deaf in sorted({run["deaf"] for run in runs}):
        some = [run for run in runs if run["deaf"] == deaf]
        readers = f"{deaf:,} do not read" if deaf else "all read"
        what = f"64 B to {some[0]['connections']:,}, {readers}"
        last = median(last_seconds(run) for run in some)
        rows.append(
            [what, f"{last:.2f} s", *_figures(some, deaf_pairs(measurements) if deaf else [])]
        )
    notes = _rough(runs)
    for each in of_kind(measurements, "subscribed"):
        memory = f"{user_bytes(each):.1f} B of the server's memory an idle subscriber"
        notes.append(f"{each['opened']:,} subscribed in {each['seconds']:.1f} s; {memory}.")
    return Table(
        "PUBLISH to subscribers of one channel", ("message", "until the last has it", *FIGURES),
        rows, notes,
    )  # fmt: skip


def _unread_table(measurements: Sequence[Measurement]) -> Table:
    rows = []
    for run in of_kind(measurements, "unread"):
        rounds = run["round_seconds"]
        rows.append([
            f"{len(rounds)} of {run['payload']:,} B to {run['connections']:,}",
            f"{run['deaf']:,}", f"{run['lost']:,}", f"{median(rounds):.3f} s",
            f"{run['server_peak_bytes'] / 2**20:.0f} MiB", str(failed(run)),
        ])  # fmt: skip
    names = ("messages", "do not read", "dropped", "until the last has it", "server's memory",
             "failed")  # fmt: skip
    return Table("Subscribers that do not read", names, rows)


def _largest_table(measurements: Sequence[Measurement]) -> Table:
    rows = []
    for each in of_kind(measurements, "largest"):
        used = each["empty"]["available_bytes"] - each["held"]["available_bytes"]
        rows.append([
            f"{each['connections']:,}", f"{each['opened']:,}", f"{each['total_echoed']:,}",
            f"{each['total_seconds']:.0f} s", f"{used / 2**30:.1f} GiB",
            f"{used / max(each['opened'], 1):,.0f}",
            f"{each['held']['rss_bytes'] / 2**20:.1f} MiB",
            str(failures(each)), each["stopped"] or "nothing",
        ])  # fmt: skip
    names = ("asked", "open", "echoed once", "since the start", "memory used, both ends",
             "B a connection", "server", "failed", "stopped by")  # fmt: skip
    return Table("The largest run", names, rows)
