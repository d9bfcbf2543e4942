"""The push server's application: subscribers by WebSocket and server-sent events, publishers."""

from __future__ import annotations

import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from c1m.apps.kv.hosting import is_private
from c1m.apps.push.figures import figures_of
from c1m.apps.push.mercure import MercureRoute
from c1m.apps.push.options import PushOptions
from c1m.apps.push.publishing import Publishing, as_told
from c1m.apps.push.relaying import PushRelay, nobody
from c1m.clock import unix_time_ms
from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.protocols.http.requests import Bounds, Head, Request
from c1m.protocols.http.responses import Response
from c1m.protocols.websocket.frames import REASON_MAX
from c1m.push.asked import (
    Limits,
    Said,
    Subscription,
    asked_in,
    published_in,
    subscription_of,
)
from c1m.push.counts import Counts
from c1m.push.history import History, Publication
from c1m.push.holders import Holders
from c1m.push.hub import Hub
from c1m.push.mercure import LINK, PATH
from c1m.push.mistakes import BUSY, STOPPING, Mistake
from c1m.push.origins import Origins
from c1m.push.positions import Positions
from c1m.push.statistics import PREFIX
from c1m.push.tokens import NOTHING, Access, Grant, Keys, Refused, Rights, token_of
from c1m.push.wire import EVENT, JSON, message
from c1m.relay.envelope import ORIGIN_BYTES
from c1m.server.figures import Figures
from c1m.server.server import Server
from c1m.units import NS_PER_MS
from c1m.web.app import WEBSOCKET, GoneBatch, MessageBatch, UpgradeBatch
from c1m.web.output import UNREAD
from c1m.web.pages import page

BODY_MAX = 8 << 20  # bytes of one request with many messages
EPOCH_BYTES = 4
TOKEN_EXPIRED = 3000  # a close code: Unauthorized, in IANA's registry

Route = Callable[[int, Request, Server], Response | None]


class Alike(NamedTuple):
    """Clients of one tick that want and may the same, and until when each: 0 for ever."""

    grant: Grant
    wanted: Subscription
    rows: list[int]
    expires: list[int]


class Burst(NamedTuple):
    """Of one that says more at once than a tick takes: what is left, in order, and what it may."""

    left: deque[tuple[bytes, bool]]
    grant: Grant
    channels: list[str]  # to which it publishes; none with form=json, which names them


class PushApp(Publishing):
    """Serves /connect (WebSocket), /events (server-sent events) and /publish.

    `routes`: what answers a request, by its path; who adds a path adds it there.
    """

    at_once = 1000  # messages that a tick takes of a WebSocket

    def __init__(self, options: PushOptions, take_said: Callable[[], Sequence[Said]]) -> None:
        self.limits = Limits(options.channels_max, options.message_max)
        super().__init__(
            message_max=options.message_max,
            bounds=Bounds(body=max(options.message_max, BODY_MAX)),
            ping_ns=options.ping,
            compress=bool(options.compress),
            unread_limit=UNREAD._replace(
                hard=options.unread, soft=min(options.unread, UNREAD.soft)
            ),
        )
        self.options = options
        self.origins = Origins(options.origin)
        self.access = access_of(options)
        self.routes: dict[str, Route] = {
            "/connect": self._connect_without,
            "/events": self._events,
            "/publish": self._publish_request,
        }
        if options.page:
            shown = page("c1m.apps.push", "page.html")
            shown.fields.append(LINK)
            self.routes["/"] = lambda slot, request, server: shown
        self.routes[PATH] = MercureRoute(self)
        self.counts = Counts()
        self.redis: Any = None  # a RedisSide, where there is one
        self._take_said = take_said  # what the program that this runs in wants to publish

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        options = self.options
        history = History(options.history, options.history_bytes, options.history_age)
        broker = options.broker
        epoch = secrets.token_hex(EPOCH_BYTES if broker is None else ORIGIN_BYTES)
        self.holders = Holders(server.capacity, self.access.nobody.grant)
        seen_by = None if self.access.is_open else self.holders
        self.hub = Hub(
            server.capacity, epoch, server.clock.now_ns, history, self.deliveries, seen_by,
            None if broker is None else Positions(),
        )  # fmt: skip
        self.relay = None if broker is None else PushRelay(broker, self.hub)
        self._says_json = np.zeros(server.capacity, np.bool_)  # form=json
        self._streams: dict[int, Subscription] = {}  # that have come in this tick
        self._slowed: set[int] = set()  # who publishes faster than it goes out
        self._bursts: dict[int, Burst] = {}  # by slot: these are not read from
        self._orphans: deque[Burst] = deque()  # of those who have gone: what they published
        self._waiting: dict[int, object] = {}  # by slot: who has something on its way to a broker
        self._is_stopping = False
        self._first_lines = b"retry: %d\n\n" % (options.retry // NS_PER_MS)
        if self.relay is not None:
            self.relay.start(server)

    def figures(self, server: Server) -> Figures:
        """What operators see."""
        return figures_of(self, server)

    def notes(self, server: Server) -> list[str]:
        """What `c1m serve push` says when it listens."""
        own = [
            e
            for e, owner in zip(server.endpoints, server.listener_owners, strict=True)
            if not owner
        ]
        redis = server.endpoints[len(own) :]
        lines = []
        if own[0].host:
            place, s = str(own[0]).partition("://")[2], "s" if own[0].is_tls else ""
            lines.append(
                f"subscribe: ws{s}://{place}/connect?channel=NAME, "
                f"http{s}://{place}/events?channel=NAME"
            )
            lines.append(f"publish: POST http{s}://{place}/publish?channel=NAME")
            if self.options.page:
                lines.append(f"page: http{s}://{place}/")
        lines += [f"Redis's protocol: {endpoint}" for endpoint in redis]
        if self.access.is_open and not all(map(is_private, own)):
            lines.append(
                "no token: whoever reaches this can publish (--publish-token-file FILE, "
                "--secret-file FILE)"
            )
        if self.options.resp_password is None and not all(map(is_private, redis)):
            lines.append(
                "no password: whoever reaches Redis's listener can publish "
                "(--resp-password-file FILE)"
            )
        return lines

    # --- subscribers ----------------------------------------------------------------------------

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        rows_by_head: dict[int, list[int]] = defaultdict(list)
        for row, head in enumerate(batch.heads):
            rows_by_head[id(head)].append(row)
        # Those who want and may the same are subscribed together, whatever else their heads say.
        alike: dict[tuple[object, ...], Alike] = {}
        for rows in rows_by_head.values():
            try:
                rights, wanted = self._wanted(batch.heads[rows[0]], "/connect")
            except Mistake as mistake:
                for row in rows:
                    self.refuse(batch.slots[row], self.response_to(mistake), server)
                continue
            key = wanted.form, rights.grant, *wanted.channels, "", *wanted.ids
            group = alike.get(key)
            if group is None:
                group = alike[key] = Alike(rights.grant, wanted, [], [])
            group.rows.extend(rows)
            group.expires.extend([rights.expires] * len(rows))
        for grant, wanted, rows, expires in alike.values():
            slots = [batch.slots[row] for row in rows]
            self.accept(slots, [batch.keys[row] for row in rows], server)
            those = np.array(slots, np.int32)
            says_json = wanted.form == JSON
            if (self._says_json.take(those) != says_json).any():  # all False take no memory
                self._says_json[those] = says_json
            self.holders.enter_all(those, grant, np.array(expires, np.uint32))
            self.hub.join(those, wanted.channels, wanted.form, wanted.ids)

    def _wanted(self, head: Head, path: str) -> tuple[Rights, Subscription]:
        """What a client wants to hear, and what it may do. Raises Mistake."""
        if head.path != path:
            raise Mistake("not-found", f"Connect to {path}?channel=NAME.")
        rights = self.allowed(head)
        wanted = subscription_of(head.query, head.get(b"last-event-id"), self.limits)
        self._check_channels(rights, wanted.channels)
        return rights, wanted

    def allowed(self, head: Head) -> Rights:
        """What the sender of a request may do. Raises Mistake for one that is not let in at all."""
        if self._is_stopping:
            raise STOPPING
        if not self.origins.allows(head):
            origin = (head.get(b"origin") or b"").decode("latin-1")
            raise Mistake("not-allowed", f"Pages of {origin} may not connect (--origin).")
        if self.access.is_open:  # what a proxy before us asks for is not ours to judge
            return self.access.nobody
        try:
            return self.access.rights(token_of(head, self.origins.trusts), unix_time_ms() / 1000)
        except Refused as refused:
            raise Mistake("bad-token", str(refused)) from None

    def _check_channels(self, rights: Rights | Grant, channels: Sequence[str]) -> None:
        for channel in channels:
            if not rights.may_subscribe(channel.removeprefix(PREFIX)):
                if rights is NOTHING:
                    raise Mistake("no-token", "A token is needed: ?token=, or Authorization.")
                raise Mistake("not-allowed", f"You may not subscribe to {channel}.")

    def _events(self, slot: int, request: Request, server: Server) -> Response | None:
        head = request.head
        if head.method != b"GET":
            return self.not_with(head, "GET")
        rights, wanted = self._wanted(head, "/events")
        self.begin_stream(slot, rights, replace(wanted, form=EVENT), server, head)
        return None

    def begin_stream(
        self,
        slot: int,
        rights: Rights,
        wanted: Subscription,
        server: Server,
        head: Head,
        *fields: tuple[str, str],
    ) -> None:
        """Answer with a stream of what is wanted, with further fields in the response."""
        self.stream(slot, server, self._first_lines, (*fields, *self.origins.fields(head)))
        self.holders.enter(np.array([slot], np.int32), rights)
        self._streams[slot] = wanted

    def _join_streams(self, server: Server) -> None:
        """Those that came in this tick and want the same are subscribed together."""
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for slot, wanted in self._streams.items():
            key = tuple(wanted.channels), tuple(wanted.ids), wanted.form, wanted.selectors
            alike[*key, self.holders.of(slot)].append(slot)
        streams, self._streams = self._streams, {}
        for slots in alike.values():
            wanted, those = streams[slots[0]], np.array(slots, np.int32)
            try:
                self.hub.join(those, wanted.channels, wanted.form, wanted.ids, wanted.selectors)
            except Exception as error:
                server.failed("on_tick", error, those, self)

    def _connect_without(self, slot: int, request: Request, server: Server) -> Response | None:
        mistake = Mistake("upgrade-required", "Here one connects by WebSocket.")
        return self.response_to(mistake, ("Upgrade", "websocket"))

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        self.counts.ended.update(batch.codes.tolist())
        self.hub.forget(batch.slots)
        self.holders.forget(batch.slots)
        if self._streams or self._slowed or self._bursts or self._waiting:
            for slot in batch.slots.tolist():
                self._streams.pop(slot, None)
                self._waiting.pop(slot, None)
                burst = self._bursts.pop(slot, None)
                if burst is not None:
                    self._orphans.append(burst)
                if burst is not None or slot in self._slowed:
                    self._slowed.discard(slot)
                    server.resume(slot)  # its answer to a close frame is to be read

    # --- what clients say -----------------------------------------------------------------------

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        texts, kinds = batch.messages.pieces(), batch.is_text.tolist()
        rows = list(zip(batch.slots.tolist(), texts, kinds, strict=True))
        if len(rows) > self.at_once or self._bursts:
            rows = self._first_of(rows, server)
        for slot, text, is_text in rows:
            self._hear(slot, text, is_text, server)

    def _first_of(
        self, rows: list[tuple[int, bytes, bool]], server: Server
    ) -> list[tuple[int, bytes, bool]]:
        """What is taken at once; the rest waits, and its senders are not read from."""
        first, counts = [], dict.fromkeys({slot for slot, _, _ in rows}, 0)
        for slot, text, is_text in rows:
            burst = self._bursts.get(slot)
            counts[slot] += 1
            if burst is None and counts[slot] <= self.at_once:
                first.append((slot, text, is_text))
                continue
            if burst is None:
                channels = [] if self._says_json[slot] else self.hub.heard(slot)[:1]
                burst = self._bursts[slot] = Burst(deque(), self.holders.of(slot), channels)
                server.pause(slot)
            burst.left.append((text, is_text))
        return first

    def _hear_more(self, server: Server, most: int) -> None:
        """Some of what waits, of each as much."""
        most = max(most // (len(self._bursts) + len(self._orphans)), 1)
        for slot, burst in list(self._bursts.items()):
            for _ in range(min(most, len(burst.left))):
                self._hear(slot, *burst.left.popleft(), server)
                if slot not in self._bursts:  # it has ended, and is an orphan if it said more
                    break
            if not burst.left and slot in self._bursts:
                del self._bursts[slot]
                if slot not in self._slowed:
                    server.resume(slot)
        for _ in range(len(self._orphans)):
            burst = self._orphans.popleft()
            for _ in range(min(most, len(burst.left))):
                self._hear_orphan(burst)
            if burst.left:
                self._orphans.append(burst)

    def _hear_orphan(self, burst: Burst) -> None:
        """What one published that has gone, and is told nothing any more."""
        text, is_text = burst.left.popleft()
        try:
            said: Said | None = Said(burst.channels, text, is_text)
            if not burst.channels:
                said = asked_in(text, self.limits).publish
            if said is not None:
                self.check_publish(burst.grant, [said])
                self.publish_all([said], nobody)
        except Mistake:
            if burst.channels:  # it would have been closed for that
                burst.left.clear()

    def _hear(self, slot: int, text: bytes, is_text: bool, server: Server) -> None:
        if self.kinds[slot] != WEBSOCKET:  # an earlier message was one too many
            return
        try:
            if self._says_json[slot]:
                self._do_asked(slot, text, server)
            else:
                self._published_raw(slot, text, is_text, server)
        except Mistake as mistake:
            if self._says_json[slot]:
                self.hub.say(slot, message(mistake.as_value()))
            else:
                if slot in self._bursts:
                    self._bursts[slot].left.clear()
                self.close(slot, mistake.close_code, server, mistake.why.encode())
        except Exception as error:  # who said other messages of this tick is not concerned
            self.failed("on_messages", error, slot, server)

    def _published_raw(self, slot: int, data: bytes, is_text: bool, server: Server) -> None:
        self._publish_of(slot, Said(self.hub.heard(slot)[:1], data, is_text), server)

    def _do_asked(self, slot: int, text: bytes, server: Server) -> None:
        asked = asked_in(text, self.limits)
        grant = self.holders.of(slot)
        if asked.subscribe:
            self._check_channels(grant, asked.subscribe)
            self.limits.check_channels(len({*self.hub.heard(slot), *asked.subscribe}))
            self.hub.subscribe(slot, asked.subscribe, JSON, asked.since)
        if asked.unsubscribe:
            self.hub.unsubscribe(slot, asked.unsubscribe, JSON)
        if asked.publish is not None:
            self._publish_of(slot, asked.publish, server)

    def _publish_of(self, slot: int, said: Said, server: Server) -> None:
        """Publish what a WebSocket says. It is not read from while much is on its way."""
        if self._is_stopping:
            raise STOPPING
        self.check_publish(self.holders.of(slot), [said])
        if self.is_busy and slot not in self._slowed:
            self._slowed.add(slot)
            server.pause(slot)
        one = None if self.relay is None else self._waiting.setdefault(slot, object())
        self.publish_all([said], lambda told: self._published(slot, one, told, server))

    def _published(
        self, slot: int, one: object, told: list[tuple[Publication, int]] | Mistake, server: Server
    ) -> None:
        """What a WebSocket said is; the slot may be another's by now."""
        if self._waiting.get(slot) is not one or self.kinds[slot] != WEBSOCKET:
            return
        if self._says_json[slot]:
            if isinstance(told, Mistake):
                self.hub.say(slot, message(told.as_value()))
            else:
                self.hub.say(slot, message({"published": as_told(told)}))
        elif isinstance(told, Mistake):
            self.close(slot, told.close_code, server, told.why.encode()[:REASON_MAX])

    # --- publishers -----------------------------------------------------------------------------

    def _publish_request(self, slot: int, request: Request, server: Server) -> Response | None:
        head = request.head
        if head.method != b"POST":
            return self.not_with(head, "POST")
        rights = self.allowed(head)
        if rights is self.access.nobody and not self.access.is_open:
            raise Mistake("no-token", "Publishing needs a token: Authorization: Bearer TOKEN.")
        said = published_in(head.query, head.get(b"content-type"), request.body, self.limits)
        self.check_publish(rights, said)
        if self.is_busy:
            raise BUSY
        fields = self.origins.fields(head)

        def answer(told: list[tuple[Publication, int]]) -> Response:
            return self.in_json(200, as_told(told), *fields)

        return self.answer_published(slot, head, said, answer, server)

    # --- requests -------------------------------------------------------------------------------

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        head = request.head
        route = self.routes.get(head.path)
        fields = self.origins.fields(head)
        try:
            if route is None:
                raise Mistake("not-found", f"There are: {', '.join(self.routes)}.")
            if head.method == b"OPTIONS":
                return self._preflight(head)
            return route(slot, request, server)
        except Mistake as mistake:
            return self.response_to(mistake, *fields)

    def _preflight(self, head: Head) -> Response:
        if not self.origins.allows(head):
            return self.response_to(Mistake("not-allowed", "Pages of there may not (--origin)."))
        return Response(204, b"", [*self.origins.preflight(head)])

    def not_with(self, head: Head, *methods: str) -> Response:
        """A path that is there, but not for this method."""
        allowed = ", ".join([*methods, "OPTIONS"])
        said = Mistake("method-not-allowed", f"{head.path} takes {allowed}.")
        return self.response_to(said, ("Allow", allowed), *self.origins.fields(head))

    # --- what goes out --------------------------------------------------------------------------

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        # What the tick before sent is with the kernel now.
        dues = [self.hub.statistics.tick(now_ns, self.deliveries.done)]
        over = self.holders.ended(unix_time_ms() // 1000)
        if len(over):
            self.close(over, TOKEN_EXPIRED, server, b"the token has expired")
        self.hub.history.expire(now_ns)
        if self._streams:
            self._join_streams(server)
        if self.relay is not None and self.relay.take():
            dues.append(now_ns)
        if (self.relay is None or not self.is_busy) and (said := self._take_said()):
            self.publish_own(said, server)
        if (self._bursts or self._orphans) and not self.is_busy:
            self._hear_more(server, self.at_once)
            dues.append(now_ns)
        self._hand_out(server, server.engine.unsent)
        dues.append(super().on_tick(now_ns, server))
        if self._slowed and not self.is_busy:
            server.resume([slot for slot in self._slowed if slot not in self._bursts])
            self._slowed.clear()
        delay_ns = self.hub.delay_ns()
        if delay_ns is None and self.hub.statistics.is_waiting:
            delay_ns = 0
        dues.append(None if delay_ns is None else now_ns + delay_ns)
        return min((each for each in dues if each is not None), default=None)

    def _hand_out(self, server: Server, unsent: Callable[[int], int]) -> None:
        for slots, payload in self.hub.take(unsent):
            self._put(slots, Ragged.repeat(payload, len(slots)), server)

    def _put(self, slots: Slots, pieces: Ragged, server: Server) -> None:
        self.counts.delivered += len(slots)
        super()._put(slots, pieces, server)

    def on_stop(self, server: Server) -> None:
        """What was taken goes out to all before anybody is told to go; no more is taken."""
        if self._streams:
            self._join_streams(server)
        if said := self._take_said():
            self.publish_own(said, server)
        while self._bursts or self._orphans:
            self._hear_more(server, 1 << 30)
        if self.relay is not None:
            self.relay.settle()
        self._is_stopping = True
        # What was missed comes behind what is on its way; to whom it would be too much to keep, as
        # long as they stay.
        while self.hub.delay_ns() is not None and (
            server.engine.statistics().outbox_bytes <= self.unread_total
        ):
            self._hand_out(server, lambda slot: 0)
            for piece in self.deliveries.due():
                self._put(*piece, server)
        super().on_stop(server)

    def on_end(self, server: Server) -> None:
        super().on_end(server)
        if self.relay is not None:
            self.relay.relay.close()


def access_of(options: PushOptions) -> Access:
    """Who may what. Raises UsageError for a secret that is too short, and for what is no key."""
    keys = None
    if options.secret_file is not None or options.public_key is not None:
        keys = Keys(options.secret(), options.key())
    return Access(
        keys=keys,
        publish_token=options.publish_token or "",
        anonymous=options.anonymous is not None,
    )
