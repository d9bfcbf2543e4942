"""The push server as a program has it: `c1m.Push`."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from c1m.apps.push.app import PushApp
from c1m.apps.push.listeners import further
from c1m.apps.push.options import PushOptions
from c1m.engine.ragged import bytes_of
from c1m.errors import UsageError
from c1m.push.asked import Said, channel_of, is_utf8, line_of
from c1m.push.history import PUBLICATION_BYTES
from c1m.push.mistakes import Mistake
from c1m.push.statistics import is_reserved
from c1m.server.by_listener import ByListener
from c1m.server.server import App, Makes, Server

WAITING_BYTES_MAX = 64 << 20  # of what a program has published and the server has not taken yet


class Push(Makes):
    """The push server, for `c1m.serve` and `c1m.Server`: WebSocket and server-sent events.

    `options` are those of `c1m serve push`: publish_token_file="token", history=1000. `say` is
    called with lines for people. Raises UsageError for options that cannot be meant.

        push = c1m.Push(origin=["https://app.example.com"])
        threading.Thread(target=prices, args=[push]).start()  # calls push.publish("prices", ...)
        c1m.serve(push, "http://0.0.0.0:8000")
    """

    def __init__(self, *, say: Callable[[str], object] = lambda line: None, **options: Any) -> None:
        self.options = PushOptions(**options)
        self.say = say
        self._lock = Lock()
        self._waiting: list[Said] = []
        self._waiting_bytes = 0
        self._wake: Callable[[], None] = lambda: None
        self._is_away: Callable[[], bool] = lambda: False

    def publish(self, channel: str, data: str | bytes, *, event: str = "", id: str = "") -> bool:
        """Say something to all who hear a channel; may be called from any thread, at any time.

        A str is text, and so are bytes that can be. Returns whether it was taken: False means that
        more than 64 MB wait already, or that the broker of --relay is not there, and is to be tried
        again. Raises UsageError for a channel, an
        event or an id that cannot be, and for a message over --message-max.
        """
        try:
            payload = data.encode() if isinstance(data, str) else bytes_of("data", data)
            said = Said([channel_of(channel)], payload, is_utf8(payload))
            said.event, said.id = line_of("event", event), line_of("id", id)
            if is_reserved(channel):
                raise Mistake("not-allowed", f"Only the server says something in {channel}.")
            if len(payload) > self.options.message_max:
                raise Mistake("too-large", f"{len(payload):,} bytes are too many (message_max).")
        except UnicodeEncodeError:
            raise UsageError("data has half a character.") from None
        except Mistake as mistake:
            raise UsageError(mistake.why) from None
        if self._is_away():
            return False
        cost = len(payload) + PUBLICATION_BYTES
        with self._lock:
            if self._waiting_bytes + cost > WAITING_BYTES_MAX:
                return False
            self._waiting.append(said)
            self._waiting_bytes += cost
        self._wake()
        return True

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        """Override it to do something in the server's thread, as `c1m.App.on_tick`."""
        return None

    def as_app(self) -> App:
        app = _PushOf(self)
        return ByListener(app, further(app))

    def take(self) -> list[Said]:
        """What is to be published now."""
        if not self._waiting:
            return []
        with self._lock:
            taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return taken

    def started(self, server: Server) -> None:
        """It is to be woken when there is something to take."""
        self._wake = server.wake

    def relays(self, is_away: Callable[[], bool]) -> None:
        """It publishes by way of a broker, which may be away."""
        self._is_away = is_away


class _PushOf(PushApp):
    """The application of a Push on a server."""

    def __init__(self, push: Push) -> None:
        super().__init__(push.options, push.take)
        self._push = push

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self._push.started(server)
        if self.relay is not None:
            relay = self.relay.relay
            self._push.relays(lambda: not relay.is_connected)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        wanted = None
        try:
            wanted = self._push.on_tick(now_ns, server)
        except Exception as error:
            server.failed("on_tick", error, app=self._push)
        dues = [wanted, super().on_tick(now_ns, server)]
        return min((each for each in dues if each is not None), default=None)
