"""How the kernel shares CPU out where server and load client are on one machine."""

from __future__ import annotations

from c1m.limits.limit import Advice, Finding, Limit, Situation
from c1m.limits.needs import Request


class Autogroup(Limit):
    """kernel.sched_autogroup_enabled: whether CPU is divided between sessions first.

    A session is what setsid(2) began: a terminal window, a service. Each gets an equal part of a
    core, whatever runs in it, and the kernel is far off where their processes move between cores:
    a server beside four load clients, each in a session of its own, got 0.18 of two cores, and one
    of them 0.40. Bounds nothing, and costs nothing where cores are idle. A desktop is smoother with
    it: so the doctor names it and leaves it.
    """

    name = "kernel.sched_autogroup_enabled"
    sysctls = (name,)
    is_optional = True  # CONFIG_SCHED_AUTOGROUP
    remedy = f"sysctl -w {name}=0, or have both in one session."

    def applies(self, request: Request, situation: Situation) -> bool:
        return request.has_server and request.has_client

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        if not have:
            return self.finding("off")
        text = (
            "Sessions get equal parts of a CPU that is not idle, whatever runs in them: a server "
            "may get less than a load client."
        )
        return self.finding("on", text, Advice(self.remedy))


LIMITS = (Autogroup(),)
