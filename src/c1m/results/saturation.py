"""Who was the limit of a run: the generator, the server, both, or neither. Pure.

The rules are in docs/reference/walls.md, "Who was the limit". Why they are so:

- Open loop. A request has its intended time. As long as the generator gets to each near that time,
  every delay is the server's (or the path's), whatever CPU the generator burns: it is judged by its
  schedule lag. That a connection still has a request in flight is the server's doing, never lag.
- An open loop that falls short of its rate has become a closed one: every connection waits for a
  reply, and the corrected latency grows without bound, so lag is small beside it.
- Closed loop. There is no schedule to be late for: a saturated generator only asks less. So it is
  judged by CPU: a process of one thread that takes a whole core could not have asked for more.
- Where no core of this machine was idle and others than the two had a part of them, CPU shares say
  nothing about either: the machine was the limit, which is the generator's side. So are packets
  that its own queues dropped: they come back as delay.
- Who was ready to run and had no CPU for a good part of the time has none to spare, however little
  it used. A core may be idle meanwhile: the kernel is slow to move who waits for another.
- What one end did when it stood still, ended, or was held back by a CPU quota explains the rest. A
  gap counts only where it is far longer than what is usual in this run: a slow server, or one that
  is asked little, does not stand still. A process that is stopped for its cgroup's quota uses less
  than a core, looks idle, and is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from c1m.results.histogram import Histogram
from c1m.results.record import (
    LAG_SAID,
    Latency,
    Pause,
    Requests,
    Samples,
    Saturation,
    Throttling,
)
from c1m.results.samples import cpu_share
from c1m.units import (
    NS_PER_MS,
    NS_PER_S,
    format_count,
    format_duration,
    format_number_of,
    format_rate,
)

# Below this a late request is the scheduler's or a timer's doing, and nobody notices.
LAG_P99_NS_MAX = 10 * NS_PER_MS
# Where the server itself is slow, lag of a tenth of that changes no conclusion.
LAG_SHARE_MAX = 0.1
# p99 of the lag forgives 1 %; above p99.9 of the latencies a single pause of it shows.
LATE_SHARE_MAX = 0.001
# CPU time is sampled in ticks of 10 ms and a loop sleeps a little even when it is behind.
BUSY = 0.95
# Beside a busy generator a server is called busy sooner: it waits for nobody but the generator.
NEARLY_BUSY = 0.90
# More than one core: the server has several threads or processes.
ONE_CORE = 1.05
# A rate is kept when so much of it was sent; the rest is rounding at a stage's ends.
RATE_KEPT = 0.99
# Each packet dropped costs a retransmission of 200 ms or more: above this share p99.9 shows it.
DROPS_SHARE_MAX = 0.001

# Of the median time to a reply: a busy loop that comes round less often makes its own delay.
ROUND_SHARE_MAX = 0.1
# Of all cores; the kernel's own housekeeping takes about so much.
IDLE_LEAST_SHARE = 0.05
OTHERS_MOST = 0.2  # cores that others may have on a machine that is still called quiet
# Of the time: waiting of a few per cent is what two processes on two cores cost each other.
WAITED_MOST = 0.2

# Of a gap:
STILL_S = 0.5  # the sampler's interval: over less, processor time says nothing
UNUSUAL = 10  # times what is usual
AWAKE = 0.5  # of a core: who used so much did not stand still
IDLE = 0.1  # of a core: who used less did nothing
# Of the periods in which it ran: stopped in fewer of them it had time to spare on the whole.
THROTTLED_SHARE_MIN = 0.05


def pauses_of(
    gaps: Sequence[Pause],
    spans: Sequence[tuple[float, float]],
    samples: Samples,
    service_p50_ns: int | None,
    replies_per_s: float,
) -> list[Pause]:
    """The gaps that count, with what the process used meanwhile, the earliest first.

    `spans`: from when to when stages with requests ran, in s; `service_p50_ns` uncorrected.
    """
    least = max(STILL_S, UNUSUAL * (service_p50_ns or 0) / NS_PER_S)
    if replies_per_s > 0:
        least = max(least, UNUSUAL / replies_per_s)
    pauses = []
    for gap in sorted(gaps, key=lambda gap: gap.start_s):
        end_s = gap.start_s + gap.seconds
        inside = (min(end_s, end) - max(gap.start_s, start) for start, end in spans)
        if max(inside, default=0.0) < least:
            continue
        is_ours = gap.who == "generator"
        process = samples.client if is_ours else samples.server
        cpu = cpu_share(process, samples.t_s, gap.start_s, end_s)
        if is_ours and (cpu is None or cpu >= AWAKE):
            continue
        pauses.append(
            replace(gap, start_s=round(gap.start_s, 3), seconds=round(gap.seconds, 3), cpu=cpu)
        )
    return pauses


def pause_sentence(pauses: Sequence[Pause]) -> str:
    """What pauses of one end come to: the longest of them, and how many there were."""
    worst = max(pauses, key=lambda pause: pause.seconds)
    is_ours = worst.who == "generator"
    long, at = (format_duration(s * NS_PER_S) for s in (worst.seconds, worst.start_s))
    name = "The generator" if is_ours else "The server"
    if worst.cpu is None and not is_ours:
        name = "The server, or the path to it,"
    since = f"{at} after the start on" if worst.start_s else "the start"
    said = f"{name} stood still for {long}, from {since}"
    if not is_ours:
        said += (
            ": no reply came on any connection meanwhile, and at its end "
            f"{format_number_of(worst.waiting, 'request was', 'requests were')} waiting"
        )
    said += f". {_meanwhile(worst)}"
    if len(pauses) > 1:
        whole = format_duration(sum(pause.seconds for pause in pauses) * NS_PER_S)
        said += f" It did so {format_count(len(pauses))} times, {whole} in all."
    return said


def _meanwhile(pause: Pause) -> str:
    if pause.cpu is None:
        return "Its processor time is not known here."
    used = f"Its process used {100 * pause.cpu:.0f} % of a core"
    if pause.who == "generator":
        return f"{used}: it was stopped, or had no core, and what was due meanwhile went out late."
    if pause.cpu < IDLE:
        return f"{used}: it was stopped, waited for something else, or had no core."
    return f"{used}: it was busy with something else than answers."


def is_held_back(quota: Throttling | None) -> bool:
    """Whether it was stopped so often that it had no CPU to spare."""
    return quota is not None and quota.throttled > THROTTLED_SHARE_MIN * quota.periods


def quota_sentences(who: str, quota: Throttling) -> list[str]:
    """What the quota did, and what to do about it. `who`: "generator", "server" or both."""
    share, period = (format_duration(s * NS_PER_S) for s in (quota.cores * quota.period_s,
                                                              quota.period_s))  # fmt: skip
    return [
        f"The {who} was held back by a CPU quota: {quota.group} may use {share} of processor time "
        f"each {period} ({quota.cores:.3g} cores), and the kernel stopped it in "
        f"{format_count(quota.throttled)} of {format_count(quota.periods)} such periods.",
        "Raise it (cpu.max, or cpu.cfs_quota_us; docker --cpus, Kubernetes limits.cpu), or run "
        "outside of that cgroup.",
    ]


def waited_part(cpu: float | None, waited: float | None) -> float:
    """Of the time in which it had, or wanted, a CPU: the part in which it had none; 0.0: unknown.

    Of all the time where one thread wanted one for less than that. A process that has a whole core
    is busy in any case, and several threads may wait for each other: 0.0.
    """
    if cpu is None or waited is None or cpu >= BUSY:
        return 0.0
    return waited / max(1.0, cpu + waited)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured. CPU in cores (1.0: a whole one), rates per second; None: not known."""

    requests: Requests
    lag: Histogram  # how far the generator was behind its schedule at each request, in ns
    is_open_loop: bool  # one without any lag is judged as a closed one
    generator_cpu: float | None = None
    server_cpu: float | None = None
    softnet_drops: int = 0
    p99_ns: int | None = None  # of the corrected latency
    rate_asked: float | None = None
    rate_reached: float | None = None
    cores: int | None = None  # of this machine
    idle: float | None = None  # of these
    service_p50_ns: int | None = None  # of the uncorrected latency
    # While the generator caught up after the server had stood still: lag beside `lag`, and how many
    # of the late requests were late then.
    lag_after: Histogram = field(default_factory=Histogram)
    late_after: int = 0
    pauses: Sequence[Pause] = ()
    server_ended_s: float | None = None
    generator_quota: Throttling | None = None
    server_quota: Throttling | None = None
    # Ready to run and without a CPU, seconds a second; of the server all threads added up.
    generator_waited: float | None = None
    server_waited: float | None = None
    is_autogrouped: bool = False  # CPU is divided between sessions before processes

    @property
    def late(self) -> int:
        """Requests that went out late, and not because of the server."""
        return self.requests.late - self.late_after

    @property
    def is_explained(self) -> bool:
        """Whether somebody stood still or ended: then no other reason is looked for."""
        return self.server_ended_s is not None or bool(self.pauses)

    @property
    def is_slow_loop(self) -> bool:
        """Whether a generator without CPU to spare makes a good part of the replies' delay.

        CPU alone proves nothing: with little to do it looks at each request by itself, with more
        at many together. Where the time to a reply is not known it counts against the generator.
        """
        if self.service_p50_ns is None:
            return self.generator_is_busy
        lag_ns = self.lag.quantile(0.5)
        return self.generator_is_busy and lag_ns > ROUND_SHARE_MAX * self.service_p50_ns

    @property
    def others(self) -> float:
        """Cores that others had while none was idle; 0.0 where some were, or it is not known.

        Other processes, the hypervisor, or interrupts that the kernel does not count to a process.
        """
        if self.idle is None or not self.cores or self.generator_cpu is None:
            return 0.0
        if self.idle >= IDLE_LEAST_SHARE * self.cores:
            return 0.0
        return max(0.0, self.cores - self.idle - self.generator_cpu - (self.server_cpu or 0.0))

    @property
    def is_crowded(self) -> bool:
        """Whether others kept CPU from the generator, and from a server here.

        A server here whose CPU is not known may itself be these others.
        """
        return self.has_others or "server" in self.waits

    @property
    def has_others(self) -> bool:
        return self.server_cpu is not None and self.others > OTHERS_MOST

    @property
    def waits(self) -> dict[str, float]:
        """Who waited for a CPU, and what part of the time; not of one that a quota stops."""
        parts = {
            "server": waited_part(self.server_cpu, self.server_waited),
            "generator": waited_part(self.generator_cpu, self.generator_waited),
        }
        quotas = {"server": self.server_quota, "generator": self.generator_quota}
        return {
            side: part
            for side, part in parts.items()
            if part >= WAITED_MOST and not is_held_back(quotas[side])
        }

    @property
    def generator_is_busy(self) -> bool:
        """Whether it had no CPU to spare."""
        is_busy = self.generator_cpu is not None and self.generator_cpu >= BUSY
        return is_busy or "generator" in self.waits or is_held_back(self.generator_quota)

    def server_is_busy(self, from_share: float = BUSY) -> bool:
        """Whether the server had no CPU to spare: its one core, or all that the machine has left.

        With several threads and an unknown number of cores it is not known, and not claimed.
        """
        if is_held_back(self.server_quota):
            return True
        if self.server_cpu is None:
            return False
        if self.server_cpu <= ONE_CORE:
            return self.server_cpu >= from_share
        left = (self.cores or 0) - (self.generator_cpu or 0.0)
        return bool(self.cores) and self.server_cpu >= from_share * left


def judge_limit(facts: Facts) -> Saturation:
    """Who was the limit, with the reasons in sentences."""
    whole = Histogram()
    whole.merge(facts.lag)
    whole.merge(facts.lag_after)
    if not any(pause.who == "server" for pause in facts.pauses):  # then it is held against it
        facts = replace(facts, lag=whole, late_after=0)
    requests = facts.requests
    if requests.sent == 0:
        due = format_count(requests.unsent)
        who, sentences = "unknown", [f"None of {due} requests due was sent."]
    elif facts.is_open_loop and facts.lag.count:
        who, sentences = _open_loop(facts)
    else:
        who, sentences = _closed_loop(facts)
    who, sentences = _with_roots(facts, who, sentences)
    is_lower_bound = who in ("generator", "both")
    if facts.softnet_drops:
        sentences.append(
            f"This machine dropped {format_count(facts.softnet_drops)} packets from its own queues "
            "(Softnet.dropped), and each comes back as a delay of 200 ms or more: raise "
            "net.core.netdev_max_backlog."
        )
        if requests.sent and facts.softnet_drops > DROPS_SHARE_MAX * requests.sent:
            who = "both" if who in ("server", "both") else "generator"
            is_lower_bound = True
    if is_lower_bound:
        sentences.append("So these figures are a lower bound: the server may be able to do more.")
    return Saturation(
        who=who,
        is_lower_bound=is_lower_bound,
        sentences=sentences,
        generator_cpu=facts.generator_cpu,
        server_cpu=facts.server_cpu,
        generator_waited=facts.generator_waited,
        server_waited=facts.server_waited,
        schedule_lag=Latency.of(whole),
        kernel_drops=facts.softnet_drops,
        pauses=list(facts.pauses),
        generator_quota=facts.generator_quota,
        server_quota=facts.server_quota,
    )


def _with_roots(facts: Facts, who: str, sentences: list[str]) -> tuple[str, list[str]]:
    """The verdict with what explains the rest of it put first."""
    both = {"generator", "server"}
    sides = both if who == "both" else both & {who}
    first, last = list[str](), list[str]()
    for side in ("server", "generator"):
        own = [pause for pause in facts.pauses if pause.who == side]
        if own:
            first.append(pause_sentence(own))
            sides |= both if side == "server" and side in facts.waits else {side}
    if facts.server_ended_s is not None:
        when = format_duration(facts.server_ended_s * NS_PER_S)
        first.append(f"The server's process ended {when} after the start.")
        sides.add("server")
    quotas = {"generator": facts.generator_quota, "server": facts.server_quota}
    held = {side: quota for side, quota in quotas.items() if quota and is_held_back(quota)}
    same = len({quota.group for quota in held.values()}) < len(held)  # they share it
    for side, quota in held.items():
        if not (same and side == "server"):
            name = "generator, with the server in its cgroup," if same else side
            said = quota_sentences(name, quota)
            # Who kept the plan all the same was not the limit; it is said at the end.
            first, last = ([*said, *first], last) if side in sides else (first, [*last, *said])
    if len(sides) == 2:
        who = "both"
    elif sides:
        who = sides.pop()
    return who, [*first, *sentences, *_waiting(facts), *last]


def _waiting(facts: Facts) -> list[str]:
    """Who waited for a CPU, and what to do about it; [] where nobody did."""
    said = [
        f"The {side} waited for a CPU {100 * part:.0f} % of the time: other processes had it."
        for side, part in facts.waits.items()
    ]
    if said:
        said.append(
            "Have less run on this machine meanwhile, of other work or of other load clients."
        )
    used = {"server": facts.server_cpu or 0.0, "generator": facts.generator_cpu or 0.0}
    if facts.is_autogrouped and any(part > used[side] for side, part in facts.waits.items()):
        said.append(
            "The kernel divides CPU between sessions here before it does so between processes: "
            "with `sysctl -w kernel.sched_autogroup_enabled=0` each counts by itself."
        )
    return said


def lag_bound_ns(p99_ns: int | None) -> int:
    """The schedule lag whose p99 an unsaturated generator does not pass."""
    return max(LAG_P99_NS_MAX, round(LAG_SHARE_MAX * (p99_ns or 0)))


def _open_loop(facts: Facts) -> tuple[str, list[str]]:
    behind = _behind(facts)
    if behind:
        if facts.server_is_busy() or "server" in facts.waits:
            return "both", [*behind, "The server had no CPU to spare either."]
        return "generator", behind
    sentences = [
        f"The generator kept its schedule: 99 % of the requests went out within "
        f"{format_duration(facts.lag.quantile(0.99))} of their time."
    ]
    short = _fell_short(facts)
    if facts.is_explained:
        return "neither", [*sentences, *short]  # `_with_roots` says who
    if short and facts.is_slow_loop:
        why = "But it had no CPU to spare: replies that have arrived wait until it gets to them."
        is_short = facts.server_is_busy(NEARLY_BUSY) or "server" in facts.waits
        return "both" if is_short else "generator", [*sentences, *short, why]
    if facts.server_is_busy():
        return "server", [*sentences, *short, "The server had no CPU to spare."]
    if short and facts.is_crowded:
        return "both", [*sentences, *short, *_crowd(facts)]
    if short:
        why = (
            "The server's replies, one after the other on each connection, take too long for that "
            "rate: more connections or --pipeline would carry more"
        )
        if facts.server_cpu is not None:
            why += "; the server had CPU to spare"
        return "server", [*sentences, *short, why + "."]
    if facts.is_crowded:
        return "neither", [*sentences, "The plan was kept all the same.", *_crowd(facts)]
    if facts.generator_is_busy:
        spare = "but a higher rate the generator may not keep: it had no CPU to spare."
        return "neither", [*sentences, f"The plan was kept, {spare}"]
    if facts.server_cpu is None or facts.generator_cpu is None:
        return "neither", [*sentences, "The plan was kept."]
    return "neither", [*sentences, "The plan was kept, and both had time to spare."]


def _behind(facts: Facts) -> list[str]:
    """Why the generator counts as saturated in an open loop; [] where it does not."""
    sentences, requests = [], facts.requests
    bound, lag_p99_ns = lag_bound_ns(facts.p99_ns), facts.lag.quantile(0.99)
    if lag_p99_ns > bound:
        sentences.append(
            f"The generator was behind its schedule: {LAG_SAID} is "
            f"{format_duration(lag_p99_ns)} (the bound here is {format_duration(bound)}), "
            f"at most {format_duration(facts.lag.max)}."
        )
    if facts.late > LATE_SHARE_MAX * requests.sent:
        sentences.append(
            f"{format_count(facts.late)} of {format_count(requests.sent)} requests went out more "
            f"than {format_duration(LAG_P99_NS_MAX)} late because the generator was behind."
        )
    return sentences


def _fell_short(facts: Facts) -> list[str]:
    """What of the plan was not reached though the generator was in time."""
    sentences, requests = [], facts.requests
    asked, reached = facts.rate_asked, facts.rate_reached
    if asked and reached is not None and reached < RATE_KEPT * asked:
        sentences.append(f"{format_rate(reached)} of {format_rate(asked)} were reached.")
    if requests.unsent > (1 - RATE_KEPT) * (requests.sent + requests.unsent):
        sentences.append(
            f"{format_count(requests.unsent)} requests were due and never sent: their connections "
            "were waiting for an earlier reply, or had ended."
        )
    if sentences and requests.waited:
        sentences.append(
            f"{format_count(requests.waited)} requests waited for a reply on their connection "
            "first."
        )
    return sentences


def _closed_loop(facts: Facts) -> tuple[str, list[str]]:
    if facts.generator_cpu is None:
        return "unknown", [
            "Without its CPU time it is not known whether the generator was the limit."
        ]
    if facts.is_explained and not facts.generator_is_busy:
        return "neither", []  # `_with_roots` says who
    if facts.generator_is_busy:
        if facts.server_is_busy(NEARLY_BUSY):
            return "both", ["Both used all the CPU that they can."]
        if "server" in facts.waits:
            return "both", ["Neither had CPU to spare."]
        return "generator", ["The generator could not have asked for more."]
    if facts.server_is_busy():
        return "server", ["The generator had time to spare, the server had none."]
    if facts.server_cpu is None:
        why = (
            "The generator had time to spare: the server, the path or the think time was the limit."
        )
        return "unknown", [why]
    if facts.is_crowded:
        return "both", _crowd(facts)
    why = (
        "Neither was short of CPU: round trips (and think time) over so many connections are the "
        "limit; more connections or --pipeline would show what the server can do."
    )
    return "neither", [why]


def _crowd(facts: Facts) -> list[str]:
    """What others had; who waited for a CPU is said in any case, by `_with_roots`."""
    if not facts.has_others:
        return []
    return [
        f"No core of this machine was idle, and {100 * facts.others:.0f} % of one went to others "
        "than these two (processes, the hypervisor, interrupts): measure again on a quiet machine."
    ]
