"""Which transport the options of a run ask for, by the scheme of its targets. Pure.

ws://HOST[:PORT]/PATH?QUERY   WebSocket; wss:// over TLS
sse://HOST[:PORT]/PATH?QUERY  server-sent events; sses:// over TLS
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from c1m.addresses import parse_url
from c1m.errors import UsageError
from c1m.loadgen.transports.base import Transport
from c1m.loadgen.transports.events import EventsTransport
from c1m.loadgen.transports.posting import Beside, PostingTransport
from c1m.loadgen.transports.websocket import WebSocketTransport
from c1m.results.options import LoadOptions

SPOKEN = ("ws", "sse")
WITH_TLS = {"tls": "tcp", "rediss": "redis", "wss": "ws", "sses": "sse", "https": "http"}
PORT, TLS_PORT = 80, 443

_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
# What a request needs is written by whoever makes it.
_OURS = {
    "connection", "content-length", "sec-websocket-extensions", "sec-websocket-key",
    "sec-websocket-version", "transfer-encoding", "upgrade",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is spoken with the targets: `scheme`, and what the requests say.

    `publish_to`: the target of POST requests, on the same host unless `publish_at` names another
    (tcp://HOST:PORT or tls://HOST:PORT).
    """

    scheme: str
    host: str  # and port, as the field Host has them
    target: str
    fields: list[str]
    publish_to: str = ""
    publish_at: str = ""
    publish_host: str = ""


def wanted(options: LoadOptions) -> Wanted | None:
    """What the targets' scheme and the options ask for; None: plain connections.

    Raises UsageError for what cannot be meant.
    """
    scheme, is_tls = scheme_of(options.targets[0]) if options.targets else ("", False)
    if scheme not in SPOKEN:
        _check_unused(options)
        return None
    places = {_target_of(text) for text in options.targets}
    if len(places) > 1:
        raise UsageError(
            "The targets have different paths.", "Give the same path and query to all of them."
        )
    if options.binary and scheme != "ws":
        raise UsageError("Server-sent events are text.", "Leave --binary out.")
    host, fields = _parts(options.targets[0])[0], [_field(text) for text in options.headers]
    named = [text.partition(":")[2].strip() for text in fields if _name(text) == "host"]
    fields = [text for text in fields if _name(text) != "host"]
    target = places.pop()
    to, at, publish_host = _publish_to(options, scheme, target, is_tls=is_tls)
    at_host = named[0] if named else host
    return Wanted(scheme, at_host, target, fields, to, at, publish_host or at_host)


def _check_unused(options: LoadOptions) -> None:
    for name, value in (
        ("--header", options.headers), ("--binary", options.binary),
        ("--publish-to", options.publish_to),
    ):  # fmt: skip
        if value:
            raise UsageError(
                f"{name} is for targets that speak WebSocket or server-sent events.",
                "Write the target as ws://HOST:PORT/PATH or sse://HOST:PORT/PATH (wss://, sses://).",
            )


def scheme_of(text: str) -> tuple[str, bool]:
    """The scheme of a target as it is without TLS, and whether it has TLS."""
    name, separator, _ = text.partition("://")
    name = name.lower() if separator else "tcp"
    return WITH_TLS.get(name, name), name in WITH_TLS


def _publish_to(
    options: LoadOptions, scheme: str, target: str, *, is_tls: bool
) -> tuple[str, str, str]:
    """The target of publishers, and where it is if not on the same host."""
    text = options.publish_to
    if options.scenario != "publish":
        if text:
            raise UsageError("--publish-to is for the scenario 'publish'.", "Leave it out.")
        return "", "", ""
    if text is None:
        query = target.partition("?")[2]
        channels = [part for part in query.split("&") if part.startswith("channel=")]
        if scheme == "ws":
            return "", "", ""
        if not channels:
            raise UsageError(
                "Nothing can be said on a stream of events, and it is not known where to publish.",
                "Say it: --publish-to '/publish?channel=NAME'.",
            )
        return f"/publish?{channels[0]}", "", ""
    separator = "://" in text
    name, is_over_tls = scheme_of(text)
    if separator and name != "http":
        raise UsageError(
            f"{text!r} is not a place to POST to.", "Give a path, or a URL with http://."
        )
    if separator and is_over_tls != is_tls:
        raise UsageError(
            "Subscribers and publishers connect with TLS or without, all alike.",
            f"Give --publish-to as http{'s' if is_tls else ''}://.",
        )
    if not separator and not text.startswith("/"):
        raise UsageError(
            f"{text!r} is no path.", "Begin it with a slash: --publish-to '/publish?channel=NAME'."
        )
    if not separator:
        return _checked_target(text), "", ""
    place = _parts(text)[0]
    at = place_of(text)
    parse_url(at)
    return _target_of(text), at, place


def _target_of(text: str) -> str:
    """The path and query of a URL, as a request says them."""
    place, tail = _parts(text)
    if "@" in place:
        raise UsageError(
            "The target has a user or a password, which stands in the record then.",
            "Give it as a field: --header 'Authorization: Basic ...'.",
        )
    return _checked_target(tail if tail.startswith("/") else "/" + tail)


def _checked_target(text: str) -> str:
    if "#" in text:
        raise UsageError(
            f"{text!r} has a fragment, which is not sent to servers.", "Write # as %23."
        )
    if not text.isprintable() or " " in text:
        raise UsageError(f"{text!r} is no path of a URL.", "Write blanks in it as %20.")
    return quote(text, safe="!$%&'()*+,-./:;=?@[]_~")


def place_of(text: str) -> str:
    """tcp://HOST:PORT of a URL that is spoken, or tls://."""
    place, is_tls = _parts(text)[0], scheme_of(text)[1]
    if not re.search(r":[^\]:]*$", place):
        place += f":{TLS_PORT if is_tls else PORT}"
    return f"{'tls' if is_tls else 'tcp'}://{place}"


def _parts(text: str) -> tuple[str, str]:
    """Host and port of a URL, and what stands behind them."""
    rest = text.partition("://")[2]
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    return place, rest[len(place) :]


def _field(text: str) -> str:
    match = _FIELD.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no field of a request.", "Write --header 'NAME: VALUE', in one line."
        )
    if match[1].lower() in _OURS:
        raise UsageError(f"The field {match[1]} is this client's own.", "Leave that --header out.")
    return f"{match[1]}: {match[2].strip()}"


def _name(field: str) -> str:
    return field.partition(":")[0].lower()


def transport_for(
    wanted: Wanted, count: int, publishers: int, *, is_binary: bool, seed: int
) -> Transport:
    """The transport of `count` connections, of which the first publish where they POST."""
    fields: Sequence[str] = wanted.fields
    hearing: Transport
    if wanted.scheme == "ws":
        hearing = WebSocketTransport(
            count, wanted.target, wanted.host, fields, is_binary=is_binary, seed=seed
        )
    else:
        hearing = EventsTransport(count, wanted.target, wanted.host, fields)
    if not wanted.publish_to:
        return hearing
    fields = [field for field in fields if not _name(field).startswith("sec-websocket-")]
    publishing = PostingTransport(wanted.publish_to, wanted.publish_host, fields)
    return Beside(publishers, publishing, hearing)
