"""Publishing on the push server: by whatever door, at once or by way of a broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from c1m.apps.push.relaying import PushRelay, Then, nobody
from c1m.protocols.http.requests import Head
from c1m.protocols.http.responses import Response
from c1m.push.asked import Limits, Said, channel_of, is_utf8
from c1m.push.counts import Counts
from c1m.push.history import Publication
from c1m.push.hub import Hub
from c1m.push.mistakes import Mistake
from c1m.push.origins import Origins
from c1m.push.statistics import is_reserved
from c1m.push.tokens import EVERYTHING, Grant, Rights
from c1m.server.server import Server
from c1m.web.app import WebApp

RETRY_AFTER = ("Retry-After", "1")


class Publishing(WebApp):
    """What the push server's application has for its publishers. `relay`: None without a broker."""

    limits: Limits
    counts: Counts
    origins: Origins
    hub: Hub
    relay: PushRelay | None

    @property
    def is_busy(self) -> bool:
        """Whether so much is on its way that publishers should wait."""
        return self.hub.is_busy or (self.relay is not None and self.relay.is_busy)

    def check_publish(self, rights: Rights | Grant, said: Sequence[Said]) -> None:
        """Raise Mistake where one of these may not be published."""
        for number, each in enumerate(said, 1):
            line = number if len(said) > 1 else 0
            for channel in each.channels:
                if not rights.may_publish(channel) or is_reserved(channel):
                    raise Mistake("not-allowed", f"You may not publish to {channel}.", line=line)
            if self.hub.is_given(each.id):
                raise Mistake("bad-request", f"{each.id} is an id of the server's.", line=line)

    def publish(
        self, channel: str, data: bytes, then: Callable[[int | Mistake], object] = nobody
    ) -> None:
        """Say something to all who hear a channel; `then` is told to how many here.

        Raises Mistake, a ValueError.
        """
        self.limits.check_size(len(data))
        said = Said([channel_of(channel)], data, is_utf8(data))
        self.check_publish(EVERYTHING, [said])
        self.publish_all(
            [said], lambda told: then(told if isinstance(told, Mistake) else told[0][1])
        )

    def publish_all(self, said: Sequence[Said], then: Then, *, as_one: bool = False) -> None:
        """Publish all of these, each in each of its channels, or `as_one` in all of them.

        `then` is told the publications, and to how many here each goes: at once, or when they have
        come back from the broker. Raises Mistake where they are not taken.
        """
        if self.relay is not None:
            self.relay.publish(said, then, as_one=as_one)
            return
        made = []
        for each in said:
            for channel in each.channels[:1] if as_one else each.channels:
                count = self.hub.size(channel)
                one = self.hub.publish(
                    channel, each.data, is_text=each.is_text, event=each.event, id=each.id,
                    retry_ms=each.retry_ms, further=each.channels[1:] if as_one else (),
                    seen_by=each.seen_by,
                )  # fmt: skip
                made.append((one, count + self.hub.heard_by_others))
        then(made)

    def publish_own(self, said: Sequence[Said], server: Server) -> None:
        """What the program that this runs in says."""
        for each in said:
            try:
                self.publish_all([each], nobody)
            except Mistake:  # it is counted (relay.refused)
                continue
            except Exception as error:
                server.failed("publish", error, app=self)

    # --- what publishers are told ----------------------------------------------------------------

    def answer_published(
        self,
        slot: int,
        head: Head,
        said: Sequence[Said],
        answer: Callable[[list[tuple[Publication, int]]], Response],
        server: Server,
        *,
        as_one: bool = False,
    ) -> Response | None:
        """Publish, and answer the request: None where that is later."""
        answers: list[Response] = []
        is_now = True

        def then(told: list[tuple[Publication, int]] | Mistake) -> None:
            if isinstance(told, Mistake):
                response = self.response_to(told, *self.origins.fields(head))
            else:
                response = answer(told)
            if is_now:
                answers.append(response)
            else:
                self.respond(slot, response, server, head)

        self.publish_all(said, then, as_one=as_one)
        is_now = False
        return answers[0] if answers else None

    def response_to(self, mistake: Mistake, *fields: tuple[str, str]) -> Response:
        """What somebody is told who asked for what cannot be done."""
        self.counts.refused[mistake.status] += 1
        if mistake.status == 503:
            fields = (*fields, RETRY_AFTER)
        if mistake.status == 401:
            why = ' error="invalid_token"' if mistake.kind == "bad-token" else ""
            fields = (*fields, ("WWW-Authenticate", f"Bearer{why}"))
        return self.in_json(mistake.status, mistake.as_value(), *fields)

    def in_json(self, status: int, said: object, *fields: tuple[str, str]) -> Response:
        """A response for programs."""
        body = json.dumps(said, ensure_ascii=False).encode() + b"\n"
        return Response(status, body, [("Content-Type", "application/json"), *fields])


def as_told(made: Sequence[tuple[Publication, int]]) -> dict[str, Any]:
    """What a publisher is told: ids, and to how many here they go."""
    ids = [one.id for one, _ in made]
    told: dict[str, Any] = {"id": ids[-1], "subscribers": sum(count for _, count in made)}
    return told if len(ids) == 1 else {**told, "ids": ids}
