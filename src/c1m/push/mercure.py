"""Mercure: what its subscribers and publishers ask for, in the terms of the hub. Pure.

Topics are channels. This is the protocol of the hub's versions 0.x, which clients in the world
speak; of the later draft (draft-dunglas-mercure-08) what can be had beside it: `match`,
`last_event_id`, `earliest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, unquote, urlsplit

from c1m.push.asked import Limits, Query, Said, Subscription, channels_of, line_of
from c1m.push.history import EVERYBODY, NAMED
from c1m.push.mistakes import Mistake
from c1m.push.topics import ALL, key_of, template_of
from c1m.push.wire import MERCURE

PATH = "/.well-known/mercure"
LINK = ("Link", f'<{PATH}>; rel="mercure"')
EARLIEST = "earliest"  # as the id of what one has had last: everything that is kept
FORM = b"application/x-www-form-urlencoded"
LAST_IDS = ("lastEventID", "last_event_id", "Last-Event-ID")
EXACT = ("match", "match_exact")
RETRY_DIGITS = 10


def subscription_of(query: Query, last_event_id: bytes | None, limits: Limits) -> Subscription:
    """What somebody wants to hear. Raises Mistake. `last_event_id`: the header, which counts most.

    `topic`: a name, a URI template or `*`; `match`: a name or `*`.
    """
    for name in query:
        if name.lower().startswith("match") and name not in EXACT:
            raise Mistake("bad-request", f"{name[:40]} is not there: topic or match are.")
    topics, names = query.get("topic", ()), [each for name in EXACT for each in query.get(name, ())]
    if not topics and not names:
        raise Mistake("bad-request", 'Missing "topic" parameter.')
    channels, selectors = [], []
    for text in channels_of([*topics, *names], limits):
        if text == ALL or (text in topics and template_of(text) is not None):
            selectors.append(key_of(text, True))
        else:
            channels.append(text)
    ids = [each for name in LAST_IDS for each in query.get(name, ())][:1]
    if last_event_id is not None:
        ids = [last_event_id.decode("utf-8", "replace")]
    ids = [line_of("The last event's id", id) for id in ids]
    return Subscription(channels, ids, MERCURE, tuple(selectors))


def update_of(content_type: bytes | None, body: bytes, limits: Limits) -> Said:
    """What a publisher says, in a form's fields. Raises Mistake."""
    if content_type is None or content_type.partition(b";")[0].strip().lower() != FORM:
        raise Mistake("bad-request", f"An update comes as {FORM.decode()}.")
    try:
        fields = parse_qs(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000
        )
    except ValueError:  # no UTF-8, too many fields
        raise Mistake("bad-request", "The fields cannot be read.") from None
    if "topic" not in fields:
        raise Mistake("bad-request", 'Missing "topic" parameter.')
    topics = channels_of(fields["topic"], limits)
    for topic in topics:
        if topic == ALL or _is_the_hubs(topic):
            raise Mistake("bad-channel", f"Nobody may publish to {topic}.")
    data = _one(fields, "data").encode()
    limits.check_size(len(data))
    id, event = (line_of(name, _one(fields, name)) for name in ("id", "type"))
    if id.startswith("#") or id == EARLIEST:
        raise Mistake("bad-request", f"{id} is no id of a publisher's.")
    retry = _one(fields, "retry")
    if retry and not (retry.isascii() and retry.isdecimal() and len(retry) <= RETRY_DIGITS):
        raise Mistake("bad-request", 'Invalid "retry" parameter.')
    return Said(
        topics, data, event=event, id=id, retry_ms=int(retry) if retry else None,
        seen_by=NAMED if "private" in fields else EVERYBODY,
    )  # fmt: skip


def _one(fields: Query, name: str) -> str:
    values: Sequence[str] = fields.get(name, ("",))
    return values[0]


def _is_the_hubs(topic: str) -> bool:
    """Whether a topic would be taken for something that the hub itself says."""
    try:
        path = unquote(urlsplit(topic).path)
    except ValueError:  # no URL
        return False
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[max(len(parts) - 1, 1) :]
        elif part != ".":
            parts.append(part)
    path = "/".join(parts)
    return path == PATH or path.startswith(PATH + "/")
