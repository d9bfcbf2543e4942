"""WebSockets and streams of events, to whose subscribers others publish.

ws://HOST[:PORT]/PATH?QUERY   WebSocket; wss:// over TLS
sse://HOST[:PORT]/PATH?QUERY  server-sent events; sses:// over TLS
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from c1m.addresses import parse_url
from c1m.errors import UsageError
from c1m.loadgen.schemes.base import Url, publication
from c1m.loadgen.schemes.web import OURS, Web, checked_target, name_of, target_of
from c1m.loadgen.transports.base import Transport
from c1m.loadgen.transports.events import EventsTransport
from c1m.loadgen.transports.posting import Beside, PostingTransport
from c1m.loadgen.transports.websocket import WebSocketTransport
from c1m.results.options import LoadOptions
from c1m.scenarios.base import Scenario
from c1m.scenarios.posted import Posted
from c1m.scenarios.publish import Publish


class Publishing(Web):
    """See Scheme. Publishers POST to `publish_to`, at `publish_host`, where that is given."""

    ours = OURS | {"sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version"}
    takes: ClassVar[tuple[str, ...]] = ("headers", "publish_to")

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        super().__init__(urls, options)
        self.publish_host = self.host
        self.publish_to = self._publish_to(options)
        if "{" in self.publish_to:
            raise UsageError(
                f"All publishers POST to one place, and {self.publish_to!r} is many.",
                "Give --publish-to without {n}.",
            )

    def _publish_to(self, options: LoadOptions) -> str:
        """The target of publishers; `apart` is where it is, if not on the same host."""
        text = options.publish_to
        if options.scenario != "publish":
            if text:
                raise UsageError("--publish-to is for the scenario 'publish'.", "Leave it out.")
            return ""
        if text is None:
            return self._usual_place()
        if "://" not in text:
            if not text.startswith("/"):
                raise UsageError(
                    f"{text!r} is no path.",
                    "Begin it with a slash: --publish-to '/publish?channel=NAME'.",
                )
            return checked_target(text)
        url = Url.of(text)
        if url.scheme not in ("http", "https"):
            raise UsageError(
                f"{text!r} is not a place to POST to.", "Give a path, or a URL with http://."
            )
        if (url.scheme == "https") != self.is_tls:
            raise UsageError(
                "Subscribers and publishers connect with TLS or without, all alike.",
                f"Give --publish-to as http{'s' if self.is_tls else ''}://.",
            )
        port, kind = (self.tls_port, "tls") if self.is_tls else (self.port, "tcp")
        self.apart = f"{kind}://{url.place_at(port)}"
        parse_url(self.apart)
        self.publish_host = url.place
        return target_of(url)

    def _usual_place(self) -> str:
        """Where publishers POST unless it is said; "": nowhere, they say it where they are."""
        return ""

    def scenario_for(self, options: LoadOptions) -> Scenario:
        """See Scheme."""
        if options.scenario != "publish":
            return super().scenario_for(options)
        return publication(options, Posted if self.publish_to else Publish)

    def _with_publishers(self, hearing: Transport, scenario: Scenario) -> Transport:
        if not self.publish_to:
            return hearing
        publishers = scenario.speakers or 0
        fields = [field for field in self.fields if not name_of(field).startswith("sec-websocket-")]
        publishing = PostingTransport(publishers, self.publish_to, self.publish_host, fields)
        return Beside(publishers, publishing, hearing)


class WebSocket(Publishing):
    """See Scheme."""

    name = "ws"
    over_tls = "wss"
    takes = ("headers", "publish_to", "binary")

    def transport(self, scenario: Scenario, count: int, options: LoadOptions) -> Transport:
        """See Scheme."""
        sockets = WebSocketTransport(
            count, self.target, self.host, self.fields, is_binary=options.binary,
            seed=options.seed, first=scenario.stretch.first,
        )  # fmt: skip
        return self._with_publishers(sockets, scenario)


class Events(Publishing):
    """See Scheme."""

    name = "sse"
    over_tls = "sses"
    scenario = "hold"

    def _usual_place(self) -> str:
        query = self.target.partition("?")[2]
        channels = [part for part in query.split("&") if part.startswith("channel=")]
        if not channels:
            raise UsageError(
                "Nothing can be said on a stream of events, and it is not known where to publish.",
                "Say it: --publish-to '/publish?channel=NAME'.",
            )
        return f"/publish?{channels[0]}"

    def check(self, scenario: Scenario, options: LoadOptions) -> None:
        """See Scheme."""
        super().check(scenario, options)
        if scenario.is_silent:
            return
        if not isinstance(scenario, Posted):
            raise UsageError(
                f"Nothing can be said on a stream of events, and the scenario {scenario.name!r} "
                "does.",
                "Use hold or publish, or a target as ws://HOST:PORT/PATH.",
            )
        if options.expect is None and options.message is not None:
            text = (
                options.message if isinstance(options.message, bytes) else options.message.encode()
            )
            if b"\r" in text:
                raise UsageError(
                    "The message has a carriage return, which server-sent events cannot carry.",
                    "Leave it out, or say with --expect what arrives.",
                )

    def transport(self, scenario: Scenario, count: int, options: LoadOptions) -> Transport:
        """See Scheme."""
        streams = EventsTransport(
            count, self.target, self.host, self.fields, seed=options.seed,
            first=scenario.stretch.first,
        )  # fmt: skip
        return self._with_publishers(streams, scenario)
