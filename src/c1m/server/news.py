"""Which limits bite: counters of a server that rise, said when that begins and when it is over."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping, Sequence

from c1m.addresses import Endpoint
from c1m.arguments import as_flag
from c1m.guard.reasons import BY_CODE, acts
from c1m.server.logs import ServerLog
from c1m.server.statistics import CloseReason, ServerStatistics, why_never_opened
from c1m.tls.reasons import HTTP_TO_TLS
from c1m.units import NS_PER_S, format_count, format_duration

LOOK_NS = NS_PER_S  # how often they are looked at
OVER_NS = 10 * NS_PER_S  # without more of it

Key = tuple[str, str]  # an event, and what it is about
SPOKE_HTTP, SPOKE_TLS = ("mixed-up", "plain HTTP"), ("mixed-up", "TLS")
_WORDS = {
    "refused": "The kernel refused {}",
    "limit": "A limit acted, {}",
    "not-let-in": "Connections were not let in ({})",
    "not-read": "Connections were closed, and reset because their peers did not read the rest{}",
    "mixed-up": "Clients spoke {} where it is not spoken",
}
_USUAL = {"--idle-timeout", "--first-byte-timeout"}  # act all day


def counted(statistics: ServerStatistics) -> dict[Key, int]:
    """What is said as soon as it happens: how often it has."""
    found = {("refused", what): count for what, count in statistics.refused.items()}
    for name, count in statistics.limited.items():
        found["limit", as_flag(name)] = count
    for code, count in statistics.never_opened.items():
        if code == HTTP_TO_TLS:
            found[SPOKE_HTTP] = count
        elif code != errno.ECANCELED and code not in BY_CODE:  # it stops; a limit
            key = "not-let-in", why_never_opened(code)
            found[key] = found.get(key, 0) + count
    found["not-read", ""] = statistics.closed[CloseReason.NOT_READ]
    found[SPOKE_TLS] = statistics.spoke_tls
    return found


class News:
    """Looks at counters now and then, and says which limits bite, and that they do no more."""

    def __init__(self, log: ServerLog, endpoints: Sequence[Endpoint]) -> None:
        self._log = log
        self._endpoints = endpoints
        self._before: Mapping[Key, int] = {}
        self._biting: dict[Key, list[int]] = {}  # since when, from what count, last

    def look(self, statistics: ServerStatistics, now_ns: int) -> None:
        """Say what is new in them."""
        counts = counted(statistics)
        for key, count in counts.items():
            before = self._before.get(key, 0)
            if count > before:
                if key not in self._biting:
                    self._biting[key] = [now_ns, before, now_ns]
                    self._say(key, self._first(key, statistics), count - before)
                self._biting[key][2] = now_ns
        self._before = counts
        for key, (since_ns, first, last_ns) in [*self._biting.items()]:
            if now_ns - last_ns >= OVER_NS:
                del self._biting[key]
                count, lasted = counts[key] - first, format_duration(last_ns - since_ns + LOOK_NS)
                said = f"{_WORDS[key[0]].format(key[1])}: {format_count(count)} times in {lasted}"
                self._say(key, f"{said}, and no more for 10 s.", count, "-over")

    def _say(self, key: Key, said: str, count: int, suffix: str = "") -> None:
        kind, what = key
        level = logging.INFO if what in _USUAL else logging.WARNING
        if key[0] == "refused" and not suffix:
            level = logging.ERROR
        self._log.say(kind + suffix, said, level, reason=what, count=count)

    def _first(self, key: Key, statistics: ServerStatistics) -> str:
        kind, what = key
        if kind == "refused":
            return (
                f"{statistics.refusal} The connections that are there stay and are served; further "
                "ones wait in the accept queue, and accepting is tried again."
            )
        if key == SPOKE_HTTP:
            return f"A client spoke plain HTTP on {self._where(True)}, which speaks TLS."
        if key == SPOKE_TLS:
            return f"A client spoke TLS on {self._where(False)}, which has none."
        begun = acts(what[2:].replace("-", "_")) if kind == "limit" else "it has begun"
        return f"{_WORDS[kind].format(what)}: {begun}; how often is counted."

    def _where(self, is_tls: bool) -> str:
        return " or ".join([str(e) for e in self._endpoints if e.is_tls == is_tls][:4])
