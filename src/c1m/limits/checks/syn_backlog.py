"""net.ipv4.tcp_max_syn_backlog: handshakes that a listener remembers half done.

It only counts with SYN cookies off; with them on, what does not fit is answered by a cookie.
On loopback a handshake is done within connect() and none is ever half done.
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import OK, Finding, Fix, unknown
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "net.ipv4.tcp_max_syn_backlog"


def check(request: Request, situation: Situation) -> Finding | None:
    """For the listening end only; never short, since connects can be paced."""
    if not request.has_server:
        return None
    have = situation.max_syn_backlog
    if have is None:
        return unknown(NAME, NAME)
    needed = needs.accept_queue(request)
    text, remedy = "", ""
    fixes: tuple[Fix, ...] = ()
    if have < needed:
        if situation.has_syncookies:
            text = "SYN cookies are on: what does not fit is answered by a cookie."
        else:
            text = "SYN cookies are off: what does not fit is dropped and tried again after 1 s."
        if request.role == "server":
            remedy = f"sysctl -w {NAME}={needs.ACCEPT_QUEUE_MAX}"
            fixes = (Fix(NAME, str(needs.ACCEPT_QUEUE_MAX), "a burst of SYNs finds room"),)
    return Finding(NAME, OK, None, have, "handshakes", text, remedy, fixes=fixes)
