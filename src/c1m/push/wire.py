"""The forms in which a publication reaches a subscriber, and the JSON that clients send. Pure.

RAW    a WebSocket message that is what was published, byte for byte
JSON   a WebSocket text message: {"channel": ..., "id": ..., "data": ...}
EVENT  a server-sent event, with its id
"""

from __future__ import annotations

import json

from c1m.protocols import sse
from c1m.protocols.websocket.frames import Op, frame
from c1m.push.history import Publication

RAW, JSON, EVENT = b"r", b"j", b"e"
FORMS = (RAW, JSON, EVENT)


def encoded(form: bytes, publication: Publication) -> bytes:
    """A publication as bytes of the connection."""
    if form == RAW:
        return frame(Op.TEXT if publication.is_text else Op.BINARY, publication.data)
    if form == JSON:
        said = {"channel": publication.channel, "id": publication.id}
        said["data"] = publication.data.decode("utf-8", "replace")
        return frame(Op.TEXT, json.dumps(said, ensure_ascii=False).encode())
    return sse.event(publication.data, publication.id.encode(), publication.event.encode())
