"""SLOWLOG and LATENCY: commands that took long."""

from __future__ import annotations

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError, wrong_subcommand
from c1m.protocols.resp.replies import OK, array, bulk, bulks, mapping, verbatim
from c1m.protocols.resp.replies import integer as number

_FLAGS = "admin loading stale"
_LATENCY = "admin noscript loading stale"


@command("slowlog|get", -2, _FLAGS)
def slowlog_get(client: Client, args: Args) -> bytes:
    """The latest commands that took long: 10, or as many as wanted; -1: all."""
    if len(args) > 3:
        raise wrong_subcommand(args)
    count = 10
    if len(args) == 3:
        wrong = b"ERR count should be greater than or equal to -1"
        count = integer(args[2], wrong)
        if count < -1:
            raise CommandError(wrong)
    entries = list(client.store.statistics.slow)[: None if count < 0 else count]
    return array(
        [
            array(
                [
                    number(entry.number), number(entry.second), number(entry.microseconds),
                    bulks(entry.args), bulk(entry.client[0].encode()), bulk(entry.client[1]),
                ]
            )
            for entry in entries
        ]
    )  # fmt: skip


@command("slowlog|len", 2, _FLAGS)
def slowlog_len(client: Client, args: Args) -> bytes:
    """How many entries the slow log has."""
    return number(len(client.store.statistics.slow))


@command("slowlog|reset", 2, _FLAGS)
def slowlog_reset(client: Client, args: Args) -> bytes:
    """Empty the slow log."""
    client.store.statistics.slow.clear()
    return OK


@command("latency|latest", 2, _LATENCY)
def latency_latest(client: Client, args: Args) -> bytes:
    """Of each event: its name, when it was last, how long that took, and the longest."""
    statistics = client.store.statistics
    return array(
        [
            array([bulk(name), *map(number, samples[-1]), number(statistics.worst[name])])
            for name, samples in statistics.latencies.items()
        ]
    )


@command("latency|history", 3, _LATENCY)
def latency_history(client: Client, args: Args) -> bytes:
    """When an event was, and how many milliseconds it took."""
    samples = client.store.statistics.latencies.get(args[2], ())
    return array([array([number(second), number(ms)]) for second, ms in samples])


@command("latency|reset", -2, _LATENCY)
def latency_reset(client: Client, args: Args) -> bytes:
    """Forget some events, or all."""
    statistics, count = client.store.statistics, 0
    for name in args[2:] or list(statistics.latencies):
        count += statistics.latencies.pop(name, None) is not None
        statistics.worst.pop(name, None)
    return number(count)


@command("latency|histogram", -2, _LATENCY)
def latency_histogram(client: Client, args: Args) -> bytes:
    """Nothing, as where latency-tracking is no."""
    return mapping([], client.protocol)


@command("latency|graph", 3, _LATENCY)
def latency_graph(client: Client, args: Args) -> bytes:
    """An event's samples, a line for each."""
    samples = client.store.statistics.latencies.get(args[2])
    if samples is None:
        raise CommandError(b"ERR No samples available for event '%b'" % args[2])
    worst = max(client.store.statistics.worst[args[2]], 1)
    lines = [f"{second}  {ms:>8} ms  {'#' * (40 * ms // worst)}" for second, ms in samples]
    return verbatim("\n".join([*lines, ""]).encode(), client.protocol)


@command("latency|doctor", 2, _LATENCY)
def latency_doctor(client: Client, args: Args) -> bytes:
    """What took long, in a few words."""
    statistics = client.store.statistics
    threshold_ms = client.store.settings["latency-monitor-threshold"]
    if not threshold_ms:
        text = "Nothing is measured. CONFIG SET latency-monitor-threshold MILLISECONDS begins.\n"
    elif not statistics.worst:
        text = f"Nothing took {threshold_ms} ms.\n"
    else:
        text = "".join(
            f"{name.decode()}: {len(statistics.latencies[name])} times, at most {worst} ms.\n"
            for name, worst in statistics.worst.items()
        )
    return verbatim(text.encode(), client.protocol)
