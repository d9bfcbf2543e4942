"""Descriptors and open files: what a process, a ring, a user and the machine may have of them.

With epoll every connection is a descriptor. With io_uring connections are direct descriptors, which
do not count as descriptors but are open files; and one ring's table may not be larger than
RLIMIT_NOFILE, so a low limit means more rings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from c1m.engine.choose import ENGINES
from c1m.limits import needs
from c1m.limits.limit import (
    OK,
    SHORT,
    Advice,
    Bound,
    Evidence,
    Finding,
    Limit,
    Situation,
    Wall,
    numbers,
)
from c1m.limits.needs import Request
from c1m.limits.uring import uring_works
from c1m.units import format_count

PROCESS_LIMITS = "/proc/self/limits"
KIND = "descriptors"
NEAR = 64  # a process has some open before its first connection: Python, an epoll, listeners

_DOCTOR = "c1m doctor --connections N says how many fit and what to raise."


class SoftNofile(Limit):
    """The soft RLIMIT_NOFILE: never short, because a process may raise it to the hard one."""

    name = "nofile (soft)"
    source = PROCESS_LIMITS
    unit = "descriptors"

    def have(self, request: Request, situation: Situation) -> int | None:
        return situation.nofile[0] if situation.nofile else None

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        hard = situation.hard_nofile
        if have >= hard:
            return self.finding(have)
        return self.finding(have, f"c1m raises it to the hard limit ({hard:,}) when it starts.")


class HardNofile(Bound):
    """The hard RLIMIT_NOFILE: bounds the connections with epoll, the rings with io_uring."""

    name = "nofile (hard)"
    source = PROCESS_LIMITS
    unit = "descriptors"
    kind = KIND
    near = NEAR
    remedy = (
        "Raise it (`ulimit -n` in the shell of that process, LimitNOFILE= in its systemd unit, "
        "fs.nr_open first if that is lower), or use --engine uring, whose connections take no "
        f"descriptor. {_DOCTOR}"
    )
    errnos = {"EMFILE": "this process has all the descriptors that RLIMIT_NOFILE allows"}
    usual = {
        at: f"{at:,} is a usual RLIMIT_NOFILE ({whose}), and each connection of a process takes "
        "one descriptor."
        for at, whose in {
            1_024: "the soft default of most shells and services",
            4_096: "the hard default of older systems",
            20_000: "set by hosts and containers",
            65_536: "of many units and container images",
            524_288: "systemd's hard default",
        }.items()
    }

    def have(self, request: Request, situation: Situation) -> int | None:
        return situation.nofile[1] if situation.nofile else None

    def needed(self, request: Request, situation: Situation) -> int:
        return needs.descriptors(request, situation.hard_nofile)

    def note(self, request: Request, situation: Situation) -> str:
        if request.uses_descriptors:
            return f"With {request.engine} every connection is a descriptor of its process."
        return "Connections in io_uring do not count; its rings do."

    def advice(self, request: Request, situation: Situation) -> Advice:
        needed = self.needed(request, situation)
        remedy = (
            f"Give the process more: LimitNOFILE={needed} in its systemd unit, or "
            f"'* hard nofile {needed}' in /etc/security/limits.conf and a new login."
        )
        if request.uses_descriptors and uring_works(situation):
            remedy += " Or use --engine uring, whose connections do not count."
        return Advice(remedy)

    def own_walls(self, evidence: Evidence) -> Iterable[Wall]:
        limit = evidence.metadata.nofile_soft
        kind = ENGINES.get(evidence.metadata.engine.name)
        if limit <= NEAR or kind is None or not kind.uses_descriptors:
            return
        each = (
            f"RLIMIT_NOFILE of this process is {format_count(limit)} and each connection takes one"
        )
        yield self.wall(limit, f"{each}; the server's, if it was started alike, ends there too.")
        both = f"{each}; with client and server in one process it is two."
        yield self.wall(limit // 2, both, below=NEAR // 2)

    def seen(self, evidence: Evidence) -> list[str]:
        limit = evidence.metadata.nofile_soft
        return [f"RLIMIT_NOFILE is {format_count(limit)} here."] if limit else []


class Rings(Bound):
    """How many rings the connections need: one holds no more than nofile."""

    name = "rings"
    source = PROCESS_LIMITS
    unit = "rings"
    uses_descriptors = False

    def have(self, request: Request, situation: Situation) -> int | None:
        return needs.rings_max(situation.hard_nofile) if situation.nofile else None

    def needed(self, request: Request, situation: Situation) -> int:
        return needs.rings(request, situation.hard_nofile)

    def note(self, request: Request, situation: Situation) -> str:
        return (
            f"One ring holds {needs.ring_slots(situation.hard_nofile):,} connections here: not "
            f"more than nofile (hard), nor than {needs.RING_SLOTS_MAX:,}."
        )

    def advice(self, request: Request, situation: Situation) -> Advice:
        return Advice(
            f"Raise nofile to {-(-request.connections // needs.RINGS_MAX)} or more, which makes "
            f"rings larger; one process holds at most {needs.RING_SLOTS_TOTAL_MAX:,} connections."
        )


class NrOpen(Bound):
    """fs.nr_open: the highest value that RLIMIT_NOFILE may be given."""

    name = "fs.nr_open"
    sysctls = (name,)
    unit = "descriptors"
    why = "lets RLIMIT_NOFILE be raised that far"
    then = ", and then raise nofile."
    kind = KIND
    near = NEAR
    remedy = (
        "Raise fs.nr_open and then the limit of the process; with io_uring use several rings, as "
        "c1m does."
    )
    usual = {
        1_048_576: "1,048,576 is the default of fs.nr_open, which no RLIMIT_NOFILE may pass, and "
        "the most that the file table of one io_uring holds."
    }

    def needed(self, request: Request, situation: Situation) -> int:
        return needs.descriptors(request, situation.hard_nofile)


class FileMax(Bound):
    """fs.file-max: open files of the whole machine. Direct descriptors are files too.

    The kernel does not hold processes with CAP_SYS_ADMIN to it (alloc_empty_file in
    fs/file_table.c).
    """

    name = "fs.file-max"
    sysctls = (name,)
    usage = "fs.file-nr"
    taken = "are open"
    unit = "files"
    why = "a file for each end of a connection, besides those that are open already"
    kind = KIND
    remedy = f"Raise fs.file-max. {_DOCTOR}"
    errnos = {
        "ENFILE": "the machine has all the open files that fs.file-max allows, or the engine's "
        "table is full"
    }

    def used(self, situation: Situation) -> int:
        return situation.number(self.usage) or 0

    def needed(self, request: Request, situation: Situation) -> int:
        # Rings are left out: a few dozen.
        processes = request.ends * (request.connections + needs.PROCESS_DESCRIPTORS)
        return processes + len(request.listen_ports)

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        finding = super().judge(have, request, situation)
        if not situation.has_sys_admin:
            return finding
        text = finding.text
        if finding.verdict == SHORT:
            text += " This user may pass it (CAP_SYS_ADMIN), others may not."
        return replace(finding, verdict=OK, text=text, fits=None)

    def seen(self, evidence: Evidence) -> list[str]:
        most = numbers(evidence.metadata.sysctls, self.name)
        return [f"fs.file-max is {format_count(most[0])}."] if most else []


class EpollWatches(Bound):
    """fs.epoll.max_user_watches: descriptors that one user may watch by epoll."""

    name = "fs.epoll.max_user_watches"
    sysctls = (name,)
    is_recorded = False
    unit = "watches"
    uses_descriptors = True
    why = "epoll watches every connection"

    def needed(self, request: Request, situation: Situation) -> int:
        return request.ends * request.connections  # both ends run as one user


LIMITS = (SoftNofile(), HardNofile(), Rings(), NrOpen(), FileMax(), EpollWatches())
