"""Mercure's address on the push server: subscribers by GET, publishers by POST."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from c1m.protocols.http.requests import Head, Request
from c1m.protocols.http.responses import Response
from c1m.push import mercure
from c1m.push.asked import Limits, Said, Subscription
from c1m.push.history import Publication
from c1m.push.hub import Hub
from c1m.push.mistakes import BUSY, Mistake
from c1m.push.origins import Origins
from c1m.push.tokens import Access, Rights
from c1m.server.server import Server


class PushServer(Protocol):
    """What this asks of the push server's application."""

    limits: Limits
    access: Access
    hub: Hub
    origins: Origins

    def allowed(self, head: Head) -> Rights: ...
    def begin_stream(
        self, slot: int, rights: Rights, wanted: Subscription, server: Server, head: Head,
        *fields: tuple[str, str],
    ) -> None: ...  # fmt: skip
    @property
    def is_busy(self) -> bool: ...
    def check_publish(self, rights: Rights, said: list[Said]) -> None: ...
    def answer_published(
        self, slot: int, head: Head, said: Sequence[Said],
        answer: Callable[[list[tuple[Publication, int]]], Response], server: Server, *,
        as_one: bool = False,
    ) -> Response | None: ...  # fmt: skip
    def not_with(self, head: Head, *methods: str) -> Response: ...


class MercureRoute:
    """Answers what comes to mercure.PATH."""

    def __init__(self, push: PushServer) -> None:
        self._push = push

    def __call__(self, slot: int, request: Request, server: Server) -> Response | None:
        """See apps.push.app.Route."""
        head = request.head
        if head.method == b"GET":
            self._subscribe(slot, head, server)
            return None
        if head.method == b"POST":
            return self._publish(slot, request, server)
        return self._push.not_with(head, "GET", "POST")

    def _subscribe(self, slot: int, head: Head, server: Server) -> None:
        push = self._push
        rights = push.allowed(head)
        if rights is push.access.nobody and not push.access.may_listen:
            raise Mistake("no-token", "A token is needed: a cookie, or Authorization.")
        wanted = mercure.subscription_of(head.query, head.get(b"last-event-id"), push.limits)
        fields = []
        if wanted.ids:
            resumed = push.hub.resumed_from(wanted.channels, wanted.selectors, wanted.ids[0])
            said = resumed or mercure.EARLIEST
            fields = [("Last-Event-ID", said), ("Mercure-Last-Event-ID", said)]
        push.begin_stream(slot, rights, wanted, server, head, *fields)

    def _publish(self, slot: int, request: Request, server: Server) -> Response | None:
        push, head = self._push, request.head
        rights = push.allowed(head)
        if rights is push.access.nobody and not push.access.is_open:
            raise Mistake("no-token", "Publishing needs a token: Authorization: Bearer TOKEN.")
        said = mercure.update_of(head.get(b"content-type"), request.body, push.limits)
        push.check_publish(rights, [said])
        if push.is_busy:
            raise BUSY
        fields = [("Content-Type", "text/plain; charset=utf-8"), *push.origins.fields(head)]

        def answer(made: list[tuple[Publication, int]]) -> Response:
            return Response(200, made[0][0].id.encode(), fields)

        return push.answer_published(slot, head, [said], answer, server, as_one=True)
