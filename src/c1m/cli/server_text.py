"""A server's figures as text: the progress line, and what is left to say at the end."""

from __future__ import annotations

from typing import Any

from c1m.kernel.procfs import process_sample
from c1m.server.close_reasons import REASON_TEXT
from c1m.server.server import Server
from c1m.units import format_bytes, format_count, format_duration, format_rate


class Progress:
    """Makes one line from what changed since the last one."""

    def __init__(self, now_ns: int) -> None:
        self._then_ns = now_ns
        self._opened = 0
        self._messages = 0

    def line(self, server: Server, now_ns: int) -> str:
        """Connections, their rate, the last 1,000's time, messages, bytes, memory."""
        statistics = server.update_statistics()
        seconds = max((now_ns - self._then_ns) / 1e9, 1e-9)
        opened = (statistics.opened - self._opened) / seconds
        messages = (statistics.messages - self._messages) / seconds
        self._then_ns, self._opened, self._messages = now_ns, statistics.opened, statistics.messages
        step = server.ramp.last_step_ms()
        refused = sum(statistics.refused.values())
        sample = process_sample()
        return "  ".join(
            [
                f"{format_count(statistics.live)} connections",
                f"+{format_rate(opened)}" if opened else "+0/s",
                f"last 1,000 in {step:.1f} ms" if step is not None else "last 1,000 in -",
                f"{format_rate(messages)} messages" if messages else "0/s messages",
                f"in {format_bytes(statistics.received_bytes)}",
                f"out {format_bytes(statistics.sent_bytes)}",
                f"memory {format_bytes(sample.rss_bytes)}" if sample else "",
                f"{format_count(refused)} times refused room" if refused else "",
            ]
        ).rstrip()


def refusal_text(server: Server) -> str:
    """What is to be said once when the kernel has refused what further connections need."""
    return (
        f"{server.statistics.refusal} The connections that are there stay and are served; further "
        "ones wait in the accept queue, and accepting is tried again."
    )


def final_figures(server: Server) -> dict[str, Any]:
    """The final figures as JSON values; opened = live + the sum of closed."""
    statistics = server.update_statistics()
    sample = process_sample()
    return {
        "opened": statistics.opened,
        "live": statistics.live,
        "peak": statistics.peak,
        "closed": {reason.name.lower(): count for reason, count in statistics.closed.items()},
        "messages": statistics.messages,
        "received_bytes": statistics.received_bytes,
        "sent_bytes": statistics.sent_bytes,
        "unsent_bytes": statistics.unsent_bytes,
        "refused": statistics.refused,
        "refusal": statistics.refusal,
        "engine": {"name": server.engine.name, "reason": server.engine.reason},
        "threads": sample.threads if sample else None,
        "rss_peak_bytes": sample.peak_rss_bytes if sample else None,
        "cpu_user_s": sample.user_s if sample else None,
        "cpu_system_s": sample.system_s if sample else None,
    }


def final_text(server: Server) -> str:
    """The final figures for people."""
    statistics = server.update_statistics()
    sample = process_sample()
    lines = [
        f"{format_count(statistics.opened)} connections opened, at most "
        f"{format_count(statistics.peak)} at once, {format_count(statistics.live)} left open"
    ]
    for reason, count in statistics.closed.items():
        if count:
            lines.append(f"  {format_count(count):>12}  {REASON_TEXT[reason]}")
    lines.append(
        f"{format_count(statistics.messages)} messages, in "
        f"{format_bytes(statistics.received_bytes)}, out {format_bytes(statistics.sent_bytes)}"
        + (
            f", {format_bytes(statistics.unsent_bytes)} owed to peers that had gone"
            if statistics.unsent_bytes
            else ""
        )
    )
    for what, count in statistics.refused.items():
        lines.append(f"  {format_count(count):>12}  times the kernel refused a further {what}")
    if statistics.refusal:
        lines.append(f"  {statistics.refusal}")
    if sample is not None:
        lines.append(
            f"memory at most {format_bytes(sample.peak_rss_bytes)}, CPU "
            f"{format_duration(sample.user_s * 1e9)} user and "
            f"{format_duration(sample.system_s * 1e9)} system, {sample.threads} thread"
            + ("s" if sample.threads != 1 else "")
        )
    return "\n".join(lines)
