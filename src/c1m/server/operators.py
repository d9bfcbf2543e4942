"""What a server has for those who run it: its logs, its listener for operators, its ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from c1m.engine.contract import Slots
from c1m.errors import UsageError
from c1m.server.access import AccessLog
from c1m.server.logs import ServerLog
from c1m.server.news import LOOK_NS, News
from c1m.server.options import ServerOptions
from c1m.server.statistics import CloseReason
from c1m.units import format_count

if TYPE_CHECKING:
    from c1m.server.admin import Admin

__all__ = ["LOOK_NS", "Operators"]


class Operators:
    """Of a server that listens. `later(when_ns, call)` calls in the server's thread.

    Raises UsageError where --admin cannot be listened on.
    """

    def __init__(
        self,
        server: Any,
        options: ServerOptions,
        later: Callable[[int, Callable[[], object]], object],
    ) -> None:
        self._server = server
        self._has_ended = False
        self.log = ServerLog(options.clock, later)
        self.ledger = options.ledger
        self.access: AccessLog | None = None
        if options.access_log is not None and options.ledger is not None:
            self.access = AccessLog(
                options.access_log, is_json=options.access_log_json, ledger=options.ledger,
                log=self.log, clock=options.clock, endpoints=server.endpoints, later=later,
            )  # fmt: skip
        self._news = News(self.log, server.endpoints)
        self.admin: Admin | None = None
        self._listens = partial(options.listener_for_operators, server)
        if not options.takes_over:
            self.admin = self._listens()

    def begin(self) -> None:
        """Say that it serves, where, and who may see its connections."""
        server, admin = self._server, self.admin
        places, engine = [str(endpoint) for endpoint in server.endpoints], server.engine.name
        said = f"Listening on {_some(places)} with the {engine} engine."
        self.log.say("listening", said, listeners=places, engine=engine)
        if admin is not None and admin.is_for_others:
            said = (
                f"--admin listens on {admin.url}, which is no loopback address: whoever reaches "
                "it sees your clients' addresses. Write 127.0.0.1 instead, or keep others out."
            )
            self.log.say("admin-for-others", said, logging.WARNING)

    def take_over(self) -> None:
        """The process before has left its --admin."""
        try:
            self.admin = self._listens()
        except UsageError as error:
            self.log.say("admin-failed", f"{error.message} {error.remedy}", logging.WARNING)

    def leave(self) -> None:
        """The next process is to have --admin."""
        if self.admin is not None:
            self.admin.close()

    def ended(self, slots: Slots, why: CloseReason | list[CloseReason]) -> None:
        """Connections have, by themselves or (`why` is one) by us."""
        if self.access is None:
            return
        if isinstance(why, list):
            self.access.ended(slots, why, [0] * len(slots))
        else:
            unsent = [self._server.engine.unsent(slot) for slot in slots.tolist()]
            self.access.ended(slots, [why] * len(slots), unsent)

    def look(self, now_ns: int) -> None:
        """What is new: once in LOOK_NS."""
        self._news.look(self._server.update_statistics(), now_ns)

    def stopping(self) -> None:
        """It drains."""
        live = self._server.statistics.live
        said = f"Stopping: {format_count(live)} connections are open."
        self.log.say("stopping", said, open=live)

    def end(self) -> None:
        """It has ended. May be called twice."""
        if self._has_ended:
            return
        self._has_ended = True
        if self.admin is not None:
            self.admin.close()
        if self.access is not None:
            self.access.end()
        self.look(self._server.clock.now_ns())
        statistics = self._server.statistics
        closed = {r.name.lower(): n for r, n in statistics.closed.items() if n}
        said = f"Stopped: {format_count(statistics.opened)} connections were opened in all."
        self.log.flush()
        self.log.say(
            "stopped", said, opened=statistics.opened, peak=statistics.peak, closed=closed,
            received=statistics.received_bytes, sent=statistics.sent_bytes,
            unsent=statistics.unsent_bytes,
        )  # fmt: skip


def _some(places: Sequence[str]) -> str:
    return ", ".join(places) if len(places) <= 4 else f"{places[0]} ... {places[-1]}"
