"""The forms in which a publication reaches a subscriber, and what is said besides. Pure.

RAW    a WebSocket message that is what was published, byte for byte
JSON   a WebSocket text message: {"channel": ..., "id": ..., "data": ...}
EVENT  a server-sent event, with its id
MERCURE  the same as Mercure has it: nothing besides what was published
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from c1m.protocols import sse
from c1m.protocols.websocket.frames import Op, frame
from c1m.push.history import Publication

RAW, JSON, EVENT, MERCURE = b"r", b"j", b"e", b"m"
FORMS = (RAW, JSON, EVENT, MERCURE)
BINARY_EVENT = "binary"  # the name of an event whose data is base64, where it has no other
MISSED_EVENT = b"missed"

# Why something may be missing between what a client has had and what it gets.
DROPPED = "dropped"  # it is no longer kept
UNKNOWN = "unknown"  # its id says nothing here: of a server that has ended, or of nobody


def encoded(form: bytes, publication: Publication) -> bytes:
    """A publication as bytes of the connection."""
    data, is_text = publication.data, publication.is_text
    if form == RAW:
        return frame(Op.TEXT if is_text else Op.BINARY, data)
    if form == JSON:
        said = {"channel": publication.channel, "id": publication.id}
        if publication.event:
            said["event"] = publication.event
        if is_text:
            said["data"] = data.decode("utf-8", "replace")
        else:
            said["base64"] = base64.b64encode(data).decode()
        return message(said)
    event = publication.event
    if not is_text:
        data, event = base64.b64encode(data), event or BINARY_EVENT
    return sse.event(data, publication.id.encode(), event.encode(), publication.retry_ms)


def message(said: dict[str, Any]) -> bytes:
    """A JSON message in its frame."""
    return frame(Op.TEXT, json.dumps(said, ensure_ascii=False).encode())


def missed(form: bytes, channels: Iterable[str], why: str) -> bytes:
    """That something of these channels is missing; a raw client has no way to be told."""
    said = {"channels": list(channels), "why": why}
    if form == JSON:
        return message({"missed": said})
    if form == EVENT:
        return sse.event(json.dumps(said, ensure_ascii=False).encode(), name=MISSED_EVENT)
    return b""


def subscribed(form: bytes, channels: Iterable[str], id: str) -> bytes:
    """From here on a client hears these. `id`: it has had all until there.

    A stream's is an event without data: the browser notes its id, and tells nobody (HTML, 9.2.6).
    """
    if form == JSON:
        return message({"subscribed": list(channels), "id": id})
    if form == EVENT:
        return b"id: %b\n\n" % id.encode()
    return b""


def unsubscribed(form: bytes, channels: Iterable[str]) -> bytes:
    """From here on a client hears these no longer."""
    return message({"unsubscribed": list(channels)}) if form == JSON else b""
