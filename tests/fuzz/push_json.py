"""What clients and publishers of the push server say: queries, JSON of subscriptions, NDJSON.

Whatever comes is a Mistake or within the limits; what is taken reaches subscribers in every form as
it was said.
"""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from c1m.protocols.http.requests import Bounds, Refused, parse_head
from c1m.protocols.websocket.frames import FrameReader, Op
from c1m.push.asked import (
    CHANNEL_BYTES_MAX,
    NAME_BYTES_MAX,
    Limits,
    Said,
    asked_in,
    published_in,
    subscription_of,
)
from c1m.push.history import Publication
from c1m.push.mistakes import Mistake
from c1m.push.wire import EVENT, JSON, RAW, encoded

LIMITS = Limits(channels=5, message=200)
KINDS = (b"application/x-ndjson", b"application/jsonl; charset=utf-8", b"text/plain", None,
         b"application/octet-stream", b"\xff", b"image/png")  # fmt: skip
KEYS = ("channel", "channels", "data", "base64", "event", "id", "subscribe", "unsubscribe", "since",
        "publish", "x", "")  # fmt: skip
TEXTS = ("a", "b", "", "é☃", "\ud800", "\0", "a\nb", "x" * 513, "x" * 201, "AAE=", "A", "e-1", "*")
TOKENS = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n", b"\\", b"\\u", b"NaN", b"1e999", b"null",
          b"\xff", b"\xed\xa0\x80", b"[" * 3000, b"9" * 5000, b"\xef\xbb\xbf", b"\0")  # fmt: skip
QUERY = ("channel", "since", "last_event_id", "form", "token", "event", "id", "%63hannel", "")
VALUES = ("a", "b", "%00", "%ff", "%", "json", "raw", "e-1", "", "x" * 600, "%E2%98%83", "a%0Ab",
          "+", "a=b", "%F0%9F")  # fmt: skip


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    body = _mutated(random, b"\n".join(_line(random) for _ in range(random.randrange(4))))
    query = "&".join(
        f"{random.choice(QUERY)}={random.choice(VALUES)}" for _ in range(random.randrange(6))
    ).encode()
    if random.random() < 0.1:
        query = _mutated(random, query)
    _subscribing(random, query)
    _publishing(random, query, body)
    _asking(body)
    return len(body) + len(query)


def _subscribing(random: Random, query: bytes) -> None:
    header = random.choice((None, b"", b"e-1", b"\xff\0", b"x" * 300))
    try:
        head = parse_head(b"GET /events?" + query + b" HTTP/1.1\r\nHost: a\r\n\r\n", Bounds())
        wanted = subscription_of(head.query, header, LIMITS)
    except (Mistake, Refused) as refused:
        assert str(refused)
        return
    assert 0 < len(wanted.channels) <= LIMITS.channels and wanted.form in (RAW, JSON)
    assert len(wanted.ids) in (0, 1, len(wanted.channels))
    _check_names(wanted.channels, wanted.ids)


def _publishing(random: Random, query: bytes, body: bytes) -> None:
    try:
        head = parse_head(b"POST /publish?" + query + b" HTTP/1.1\r\nHost: a\r\n\r\n", Bounds())
        found = published_in(head.query, random.choice(KINDS), body, LIMITS)
    except Refused:
        return
    except Mistake as mistake:
        json.dumps(mistake.as_value()).encode()
        assert 400 <= mistake.status < 500 and 0 <= mistake.line <= body.count(b"\n") + 1
        return
    assert found
    for said in found:
        _check(said)


def _asking(text: bytes) -> None:
    try:
        asked = asked_in(text, LIMITS)
    except Mistake as mistake:
        assert mistake.why
        return
    assert len(asked.subscribe) <= LIMITS.channels and len(asked.unsubscribe) <= LIMITS.channels
    assert len(asked.since) in (0, 1, len(asked.subscribe))
    _check_names([*asked.subscribe, *asked.unsubscribe], asked.since)
    if asked.publish is not None:
        _check(asked.publish)


def _check_names(channels: list[str], lines: list[str]) -> None:
    for names, least, most in ((channels, 1, CHANNEL_BYTES_MAX), (lines, 0, NAME_BYTES_MAX)):
        for name in names:
            assert least <= len(name.encode()) <= most
            assert not set(name) & {"\0", "\r", "\n", "\t", "\x7f"}


def _check(said: Said) -> None:
    """It can be said in every form, and is what was said."""
    assert 0 < len(said.channels) <= LIMITS.channels and len(said.data) <= LIMITS.message
    _check_names(said.channels, [said.event, said.id])
    one = Publication(said.channels[0], 1, said.id or "e-1", said.data, said.is_text, said.event)
    (raw,) = FrameReader(1000, is_server=False).take(encoded(RAW, one))
    assert (raw.op, raw.payload) == (Op.TEXT if said.is_text else Op.BINARY, said.data)
    (told,) = FrameReader(1 << 20, is_server=False).take(encoded(JSON, one))
    value = json.loads(told.payload)
    assert value["channel"] == one.channel and value["id"] == one.id
    data = value["data"].encode() if said.is_text else base64.b64decode(value["base64"])
    assert data == said.data
    event = encoded(EVENT, one)
    assert event.endswith(b"\n\n") and b"\n\n" not in event[:-1] and b"\r" not in event
    lines = [line.partition(b": ") for line in event[:-2].split(b"\n")]
    assert {name for name, _, _ in lines} <= {b"id", b"event", b"data"}
    text = b"\n".join(value for name, _, value in lines if name == b"data")
    if said.is_text:
        assert text == said.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    else:
        assert base64.b64decode(text) == said.data


# --- what is sent -------------------------------------------------------------------------------


def _line(random: Random) -> bytes:
    if random.random() < 0.3:
        said: Any = {"channel": "a", "data": random.choice(TEXTS)}
    else:
        said = _value(random, 3)
    return json.dumps(said, ensure_ascii=random.random() < 0.8).encode("utf-8", "replace")


def _value(random: Random, depth: int) -> Any:
    kind = random.randrange(6) if depth else random.randrange(3)
    if kind == 0:
        return random.choice((None, True, 0, -1.5, 1 << 70))
    if kind <= 2:
        return random.choice(TEXTS)
    if kind == 3:
        return [_value(random, depth - 1) for _ in range(random.randrange(7))]
    return {random.choice(KEYS): _value(random, depth - 1) for _ in range(random.randrange(5))}


def _mutated(random: Random, stream: bytes) -> bytes:
    while random.random() < 0.4:
        at, to = sorted(random.randrange(len(stream) + 1) for _ in range(2))
        to = min(to, at + 8)
        stream = stream[:at] + random.choice((*TOKENS, random.randbytes(1), b"")) + stream[to:]
    return stream
