"""A server's publications by way of a broker, in the server's thread.

What is published is handed to the broker and delivered when it comes back from there, as what other
servers publish is: so all have the same order. Who published is told what came of it then.

Nothing is sent twice. What may have got to the broker when the connection broke is told to be
unknown, and counted; what was not handed over is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from c1m.relay.broker import Broker
from c1m.relay.envelope import HEAD_BYTES, ITEM_BYTES
from c1m.relay.link import Came, Down, Link, Up
from c1m.relay.numbers import Incoming, NotRelayed, Outgoing, Told
from c1m.server.figures import Figure, Figures
from c1m.server.server import Server
from c1m.units import NS_PER_S, format_count, format_duration

BUSY_COUNT, BUSY_BYTES = 10_000, 64 << 20  # publications that have not come back, and their bytes
FULL_COUNT, FULL_BYTES = 4 * BUSY_COUNT, 2 * BUSY_BYTES  # then they are refused
STEP_NS = 20_000_000  # of what came, in a tick
SETTLE_S = 2.0

FIGURES = {
    "relay.connected": Figure("c1m_relay_connected", "1 while the broker of --relay is there"),
    "relay.since_seconds": Figure("c1m_relay_since_seconds", "Seconds since it came or went"),
    "relay.lost": Figure("c1m_relay_lost_total", "How often the broker was lost"),
    "relay.sent": Figure("c1m_relay_sent_total", "Publications of this server that came back"),
    "relay.received": Figure("c1m_relay_received_total", "Publications of all servers that came"),
    "relay.doubles": Figure(
        "c1m_relay_doubles_total", "Publications that came again or too late, passed over"
    ),
    "relay.missed": Figure("c1m_relay_missed_total", "Publications that did not come here"),
    "relay.unknown": Figure(
        "c1m_relay_unknown_total",
        "Publications that may have got to the broker when it was lost",
    ),
    "relay.refused": Figure("c1m_relay_refused_total", "Publications that were not taken"),
    "relay.waiting": Figure("c1m_relay_waiting", "Publications that have not come back yet"),
    "relay.foreign": Figure(
        "c1m_relay_foreign_total", "Messages in the broker's channel that are no server's"
    ),
}


class Relay:
    """`deliver(origin, number, item)` hands a publication to the subscribers here; what it returns
    is what its publisher is told. `missed(count)` is called where some are missing."""

    def __init__(
        self,
        broker: Broker,
        origin: str,
        deliver: Callable[[str, int, bytes], Any],
        missed: Callable[[int], object] = lambda count: None,
    ) -> None:
        self.broker, self.origin = broker, origin
        self._deliver, self._missed = deliver, missed
        self._incoming, self._outgoing = Incoming(), Outgoing()
        self._connection = 0  # its number; 0: there is none
        self._message_max = 0
        self._why = "it has not been reached yet"
        self._is_said = False  # that it is not there
        self._half: tuple[Came, int] | None = None  # of which so many are delivered
        self.lost = self.sent = self.received = self.unknown = self.refused = 0

    def start(self, server: Server) -> None:
        """Connect from now on. Raises UsageError."""
        self._server = server
        self._since_ns = server.clock.now_ns()
        self._link = Link(self.broker, self.origin, server.wake)
        self._link.start()

    @property
    def is_connected(self) -> bool:
        """Whether publications are taken."""
        return self._connection > 0

    @property
    def is_busy(self) -> bool:
        """Whether so many have not come back yet that publishers should wait."""
        return len(self._outgoing) >= BUSY_COUNT or self._outgoing.bytes >= BUSY_BYTES

    def publish(self, items: Sequence[bytes], told: Told) -> None:
        """Hand them over, in order; `told` is called once for each, later.

        Raises NotRelayed, with nothing handed over, where they are not taken.
        """
        why = ""
        if not self._connection:
            why = f"The broker is not there ({self._why}): nothing was published."
        elif HEAD_BYTES + ITEM_BYTES + max(map(len, items)) > self._message_max:
            why = (
                f"The broker takes {format_count(self._message_max)} bytes at a time: "
                "this is more, and nothing was published."
            )
        elif len(self._outgoing) >= FULL_COUNT or self._outgoing.bytes >= FULL_BYTES:
            why = "Too much is on its way to the broker: nothing was published."
        if why:
            self.refused += len(items)
            raise NotRelayed(why)
        for item in items:
            number = self._outgoing.add(len(item), told)
            self._link.hand_over(self._connection, number, item)

    def take(self, is_busy: Callable[[], bool]) -> bool:
        """Deliver what has come, while there is room for more; whether something is left."""
        until_ns = self._server.clock.now_ns() + STEP_NS
        while not is_busy():
            if self._half is None:
                event = self._link.take()
                if event is None:
                    return False
                if isinstance(event, Came):
                    self._half = event, self._begin(event)
                else:
                    self._changed(event)
                continue
            self._go_on(*self._half)
            if self._server.clock.now_ns() > until_ns:
                break
        return self._half is not None or bool(self._link.events)

    def settle(self, is_busy: Callable[[], bool]) -> None:
        """Wait until what was handed over has come back, SETTLE_S at most: the server stops."""
        clock = self._server.clock
        until_ns = clock.now_ns() + int(SETTLE_S * NS_PER_S)
        while True:
            self._link.has_news.clear()
            self.take(is_busy)
            left_ns = until_ns - clock.now_ns()
            if not len(self._outgoing) or left_ns <= 0 or is_busy():
                return
            if not self._link.events and self._half is None:
                self._link.has_news.wait(left_ns / NS_PER_S)

    def close(self) -> None:
        """Leave the broker. May be called twice."""
        self._link.close()

    def values(self) -> dict[str, int]:
        """The figures."""
        now_ns = self._server.clock.now_ns()
        return {
            "connected": int(self.is_connected),
            "since_seconds": (now_ns - self._since_ns) // NS_PER_S,
            "lost": self.lost,
            "sent": self.sent,
            "received": self.received,
            "doubles": self._incoming.doubles,
            "missed": self._incoming.missed,
            "unknown": self.unknown,
            "refused": self.refused,
            "waiting": len(self._outgoing),
            "foreign": self._link.foreign,
        }

    def figures(self) -> Figures:
        """The same for operators."""
        return {f"relay.{name}": (FIGURES[f"relay.{name}"], v) for name, v in self.values().items()}

    # --- what comes -------------------------------------------------------------------------------

    def _begin(self, came: Came) -> int:
        """How many of its publications are passed over."""
        envelope = came.envelope
        doubles, missing = self._incoming.take(envelope.origin, envelope.first, len(envelope.items))
        if missing:
            self._missed(missing)
        return doubles

    def _go_on(self, came: Came, at: int) -> None:
        """Deliver the next publication of an envelope."""
        origin, first, items = came.envelope
        self._half = (came, at + 1) if at + 1 < len(items) else None
        if at >= len(items):
            return
        self.received += 1
        is_own = origin == self.origin
        told, lost = self._outgoing.came(first + at) if is_own else (None, [])
        self._tell_unknown(lost)
        try:
            result = self._deliver(origin, first + at, items[at])
        except Exception as error:
            self._server.failed("relay", error, app=self)
            result = NotRelayed("The server failed.")
        if told is not None:
            self.sent += 1
            told(result)

    def _changed(self, event: Up | Down) -> None:
        """The broker is there, or is not."""
        log, now_ns = self._server.log, self._server.clock.now_ns()
        lasted = format_duration(now_ns - self._since_ns)
        if isinstance(event, Up):
            self._connection, self._message_max = event.number, event.message_max
            level = logging.WARNING if self._is_said else logging.INFO
            log.say("relay-up", f"The broker {self.broker} is there, after {lasted}.", level)
            self._since_ns, self._is_said = now_ns, False
            return
        unknown, refused = self._outgoing.broken(event.sent)
        if self._connection:
            self._since_ns = now_ns
            self.lost += 1
        self._connection, self._why = 0, event.why
        if not self._is_said:
            self._is_said = True
            said = f"The broker {self.broker} is not there: {event.why}. Publications are refused."
            log.say("relay-lost", said, logging.WARNING, reason=event.why, count=len(unknown))
        self._tell_unknown(unknown)
        self.refused += len(refused)
        for told in refused:
            told(NotRelayed("The broker went away before this was sent: it was not published."))

    def _tell_unknown(self, those: list[Told]) -> None:
        self.unknown += len(those)
        for told in those:
            told(
                NotRelayed(
                    "The broker went away before it confirmed this: it may have been published, "
                    "and is not sent again.",
                    is_unknown=True,
                )
            )
