"""What clients and publishers ask for: queries, the JSON of subscriptions, bodies, NDJSON. Pure.

All of it is bounded, and what cannot be meant is a Mistake.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from c1m.push.history import SUBSCRIBERS
from c1m.push.mistakes import Mistake
from c1m.push.wire import JSON, RAW

CHANNEL_BYTES_MAX = 512
NAME_BYTES_MAX = 255  # of an event, of an id
CHANNELS_MAX = 100  # of a connection
MESSAGE_MAX = 1 << 20  # bytes of one message
LINES_MAX = 10_000  # lines in one request, and publications: a line may name many channels
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
BINARY = ("application/octet-stream", "image/", "audio/", "video/")

# U+FFFD: what an address decodes to that is no UTF-8. Names that differ would be the same one.
_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f\ufffd]")

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for."""

    channels: int = CHANNELS_MAX
    message: int = MESSAGE_MAX

    def check_channels(self, count: int) -> None:
        """Raise Mistake for more than one connection may have."""
        if count > self.channels:
            raise Mistake(
                "too-many-channels",
                f"{count:,} channels: {self.channels:,} are allowed to one connection.",
            )

    def check_size(self, size: int) -> None:
        """Raise Mistake for a message that is too large."""
        if size > self.message:
            raise Mistake(
                "too-large", f"{size:,} bytes: a message may have {self.message:,} (--message-max)."
            )


@dataclass(slots=True)
class Said:
    """Something to publish, to each of `channels`.

    With Mercure, whose publications have several topics, it is one publication in all of them.
    """

    channels: list[str]
    data: bytes
    is_text: bool = True
    event: str = ""
    id: str = ""
    retry_ms: int | None = None
    seen_by: int = SUBSCRIBERS


@dataclass(slots=True)
class Asked:
    """What a client says in JSON: some or all of three things, done in this order."""

    subscribe: list[str] = field(default_factory=list)
    since: list[str] = field(default_factory=list)  # one for all, or one for each
    unsubscribe: list[str] = field(default_factory=list)
    publish: Said | None = None


# --- names ----------------------------------------------------------------------------------------


def channel_of(name: Any) -> str:
    """A channel's name. Raises Mistake, which says what a name is."""
    if not isinstance(name, str) or not _is_line(name, CHANNEL_BYTES_MAX):
        raise Mistake(
            "bad-channel",
            f"A channel's name is a text of 1 to {CHANNEL_BYTES_MAX} bytes of UTF-8 without "
            "control characters.",
        )
    return name


def channels_of(names: Sequence[Any], limits: Limits) -> list[str]:
    """Channels, each once, in order. Raises Mistake."""
    limits.check_channels(len(names))
    return list(dict.fromkeys(map(channel_of, names)))


def line_of(what: str, given: Any) -> str:
    """An id or a name of an event, which may be missing. Raises Mistake for what is no line."""
    if given == "" or given is None:
        return ""
    if not isinstance(given, str) or not _is_line(given, NAME_BYTES_MAX):
        raise Mistake(
            "bad-request",
            f"{what} is a text of up to {NAME_BYTES_MAX} bytes without control characters.",
        )
    return given


def _is_line(text: str, most: int) -> bool:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half a character, as JSON can write it
        return False
    return 0 < size <= most and _NOT_IN_A_LINE.search(text) is None


# --- subscribers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the query of /connect or /events asks for."""

    channels: list[str]
    ids: list[str]  # of what it has had last: none, one for all, or one for each channel
    form: bytes
    selectors: tuple[bytes, ...] = ()  # it hears the channels that these cover, too


def subscription_of(query: Query, last_event_id: bytes | None, limits: Limits) -> Subscription:
    """Raises Mistake. `last_event_id`: the header, which counts more than the query."""
    names = query.get("channel", ())
    if not names:
        raise Mistake("bad-request", "Name a channel: ?channel=NAME, several: &channel=OTHER.")
    channels = channels_of(names, limits)
    ids = list(query.get("since") or query.get("last_event_id") or ())
    if last_event_id is not None:  # EventSource sends it as UTF-8
        ids = [last_event_id.decode("utf-8", "replace")]
    if len(ids) > 1 and not len(ids) == len(names) == len(channels):
        raise Mistake(
            "bad-request", "since= is one id for all channels, or one for each in their order."
        )
    form = query.get("form", ["raw"])[-1]
    if form not in ("raw", "json"):
        raise Mistake("bad-request", "form= is raw or json.")
    return Subscription(
        channels, [line_of("since=", id) for id in ids], JSON if form == "json" else RAW
    )


def asked_in(text: bytes, limits: Limits) -> Asked:
    """What a client says in a message of form=json. Raises Mistake."""
    said = _object(text)
    unknown = [
        name for name in said if name not in ("subscribe", "since", "unsubscribe", "publish")
    ]
    if unknown or not said:
        raise Mistake(
            "bad-request",
            'Say {"subscribe": [...]}, {"unsubscribe": [...]} or {"publish": {...}}.',
        )
    asked = Asked()
    for name in ("subscribe", "unsubscribe"):
        names = said.get(name, [])
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or (name in said and not names):
            raise Mistake("bad-request", f'"{name}" is a list of channels.')
        setattr(asked, name, channels_of(names, limits))
    since = said.get("since", [])
    since = since if isinstance(since, list) else [since]
    if len(since) > 1 and len(since) != len(asked.subscribe):
        raise Mistake("bad-request", '"since" is one id, or one for each channel in their order.')
    asked.since = [line_of('"since"', id) for id in since]
    if "publish" in said:
        asked.publish = _said(said["publish"], [], limits)
    return asked


# --- publishers -----------------------------------------------------------------------------------


def published_in(
    query: Query, content_type: bytes | None, body: bytes, limits: Limits
) -> list[Said]:
    """What a POST to /publish says: one message, or many in lines. Raises Mistake."""
    channels = channels_of(query.get("channel", ()), limits)
    kind = (content_type or b"").decode("latin-1").partition(";")[0].strip().lower()
    if kind in NDJSON:
        return _lines(body, channels, limits)
    if not channels:
        raise Mistake("bad-request", "Name a channel: /publish?channel=NAME.")
    limits.check_size(len(body))
    is_text = not kind.startswith(BINARY) and is_utf8(body)
    event, id = (line_of(f"{name}=", query.get(name, [""])[-1]) for name in ("event", "id"))
    return [Said(channels, body, is_text, event, id)]


def _lines(body: bytes, channels: list[str], limits: Limits) -> list[Said]:
    """All of them, or the first bad one as a Mistake."""
    said: list[Said] = []
    count = 0
    for number, line in enumerate(body.split(b"\n", LINES_MAX), 1):
        if not line.strip():
            continue
        try:
            if number <= LINES_MAX:
                said.append(_said(_object(line), channels, limits))
                count += len(said[-1].channels)
            if number > LINES_MAX or count > LINES_MAX:
                raise Mistake(
                    "too-large", f"{LINES_MAX:,} lines and messages are allowed in one request."
                )
        except Mistake as mistake:
            raise Mistake(mistake.kind, mistake.why, line=number) from None
    if not said:
        raise Mistake("bad-message", 'There is no message: one {"channel":..., "data":...} a line.')
    return said


def _said(given: Any, channels: list[str], limits: Limits) -> Said:
    """{"channel": "a" or "channels": [...], "data": ... or "base64": ..., "event", "id"}."""
    if not isinstance(given, dict):
        raise Mistake("bad-message", 'A message is {"channel": ..., "data": ...}.')
    names = given.get("channels", given.get("channel", channels))
    names = names if isinstance(names, list) else [names]
    if not names:
        raise Mistake("bad-message", 'A message says its "channel".')
    data, is_text = _data(given)
    limits.check_size(len(data))
    event, id = (line_of(f'"{name}"', given.get(name)) for name in ("event", "id"))
    return Said(channels_of(names, limits), data, is_text, event, id)


def _data(given: dict[str, Any]) -> tuple[bytes, bool]:
    """The bytes of a message, and whether they are text. What is no text is published as JSON."""
    if ("data" in given) == ("base64" in given):
        raise Mistake("bad-message", 'A message has "data", or "base64" if it is binary.')
    try:
        if "data" in given:
            data = given["data"]
            text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            return text.encode(), True
        return base64.b64decode(given["base64"], validate=True), False
    except UnicodeEncodeError:
        raise Mistake("bad-message", '"data" has half a character.') from None
    except (binascii.Error, TypeError, ValueError, RecursionError):
        raise Mistake("bad-message", '"base64" is no base64.') from None


def is_utf8(data: bytes) -> bool:
    """Whether it can be a text message."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _object(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text.decode(), parse_constant=_refused)
    except (ValueError, RecursionError):  # no UTF-8, no JSON, too deep, a number without end
        raise Mistake("bad-message", "That is no JSON.") from None
    if not isinstance(said, dict):
        raise Mistake("bad-message", "That is no JSON object.")
    return said


def _refused(constant: str) -> None:
    """NaN and Infinity, which are no JSON."""
    raise ValueError(constant)
