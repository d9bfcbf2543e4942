"""Server-sent events (HTML, 9.2): how they are written and read. Pure."""

from __future__ import annotations

CONTENT_TYPE = "text/event-stream"
KEEP_ALIVE = b":\n\n"  # a comment


def event(data: bytes, id: bytes = b"", name: bytes = b"", retry_ms: int | None = None) -> bytes:
    """One event. Its data may have several lines; `id` and `name` are one line each."""
    lines = [b"id: " + id] if id else []
    if name:
        lines.append(b"event: " + name)
    if retry_ms is not None:
        lines.append(b"retry: %d" % retry_ms)
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines += [b"data: " + line for line in text.split(b"\n")]
    return b"\n".join(lines) + b"\n\n"
