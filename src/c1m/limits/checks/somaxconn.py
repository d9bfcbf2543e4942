"""net.core.somaxconn: how long the accept queue of a listener can be.

listen(2) cuts its backlog to it without a word. What does not fit the queue is dropped and tried
again by the client after 1, 2, 4 s. c1m's client keeps fewer connects in flight than the queue
holds, so a short queue costs it nothing; other clients do not know it.
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import OK, Finding, Fix, unknown
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "net.core.somaxconn"
LEAST = 128  # the default up to Linux 5.3; below it even a paced client is held up


def check(request: Request, situation: Situation) -> Finding | None:
    """For the listening end only; never short, since connects can be paced."""
    if not request.has_server:
        return None
    have = situation.somaxconn
    if have is None:
        return unknown(NAME, NAME)
    needed = needs.accept_queue(request)
    text, remedy = "", ""
    fixes: tuple[Fix, ...] = ()
    if have < needed:
        text = (
            f"Each listener has room for {have:,} connects in flight; c1m's client paces itself to "
            "that."
        )
        if request.role == "server" or have < LEAST:
            text += " Other clients do not: what overflows is tried again after 1, 2, 4 s."
            remedy = f"sysctl -w {NAME}={needs.ACCEPT_QUEUE_MAX}, then start the server again."
            fixes = (Fix(NAME, str(needs.ACCEPT_QUEUE_MAX), "a burst of connects finds room"),)
    return Finding(NAME, OK, None, have, "waiting", text, remedy, fixes=fixes)
