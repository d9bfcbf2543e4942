"""Templates of messages: text with places in it, its parts, and how it is typed. Pure.

A template is text in which stands

    {n}          the number of the connection, from 0
    {seq}        which request of this connection it is, from 0
    {random:64}  so many letters and digits, others for each connection and request, and the same
                 for the same seed
    {any:29}     in what is expected only: so many bytes that may be anything
    {{ and }}    braces

Bytes instead of text are sent as they are: nothing in them stands for anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from c1m.errors import UsageError

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SIZED = re.compile(r"(random|any):([0-9]{1,7})")
_ESCAPE = re.compile(r"\\(?:([nrt0\\])|x([0-9a-fA-F]{2}))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\"}
_PATTERN_PART_MAX = 256  # bytes of a constant part that a pattern spells out


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where something is put in: "n", "seq", "random" or "any"; `size` bytes of the last two."""

    kind: str
    size: int = 0


def parse(template: str | bytes) -> tuple[list[bytes], list[Placeholder]]:
    """Constant parts, and what stands between two of them. Raises UsageError for a bad one."""
    if isinstance(template, bytes):
        return [template], []
    parts, places = [""], []
    at = 0
    for token in _TOKEN.finditer(template):
        parts[-1] += template[at : token.start()]
        at = token.end()
        sized = _SIZED.fullmatch(token[1] or "")
        if token[0] in ("{{", "}}"):
            parts[-1] += token[0][0]
        elif token[1] in ("n", "seq"):
            places.append(Placeholder(token[1]))
            parts.append("")
        elif sized is not None and int(sized[2]) > 0:
            places.append(Placeholder(sized[1], int(sized[2])))
            parts.append("")
        else:
            raise UsageError(
                f"The text has {token[0]!r}, which stands for nothing.",
                "Use {n} for the connection's number, {seq} for the request's, {random:64} for 64 "
                "letters, {{ and }} for braces.",
            )
    parts[-1] += template[at:]
    try:
        return [part.encode("utf-8", "surrogateescape") for part in parts], places
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The message has {error.object[error.start : error.end]!r}, which is no character.",
            "Give what is not text as bytes.",
        ) from None


def pattern_of(
    parts: Sequence[bytes], places: Sequence[Placeholder], prefix: int
) -> re.Pattern[bytes]:
    """What any message of a template looks like behind `prefix` bytes: to tell whose it may be.

    With groups `n` and `seq` where it has them. {random} is as long as it is; {any} is anything,
    and so are the bytes of long constant parts beyond the first: what is found is to be compared.
    """
    expression = b".{%d}" % prefix + _constant_pattern(parts[0])
    seen: set[str] = set()
    for place, part in zip(places, parts[1:], strict=True):
        if place.kind in ("n", "seq"):
            again = place.kind in seen
            name = place.kind.encode()
            expression += b"(?P=%s)" % name if again else b"(?P<%s>[0-9]{1,10})" % name
            seen.add(place.kind)
        else:
            kind = b"[A-Za-z0-9_-]" if place.kind == "random" else b"."
            expression += b"%s{%d}" % (kind, place.size)
        expression += _constant_pattern(part)
    return re.compile(expression, re.DOTALL)


def _constant_pattern(part: bytes) -> bytes:
    """Compiling an expression takes microseconds a byte; a message may have a million."""
    rest = len(part) - _PATTERN_PART_MAX
    return re.escape(part[:_PATTERN_PART_MAX]) + (b".{%d}" % rest if rest > 0 else b"")


def length_bytes(size: int, width: int) -> bytes:
    """What stands before a message of `size` bytes: its length in `width` bytes, or nothing."""
    return size.to_bytes(width, "big") if width else b""


def unescape(text: str) -> str:
    r"""What is typed on a command line: `\n`, `\r`, `\t`, `\0`, `\\` and `\xNN` as in Python.

    Any other backslash stays one, and a brace written by its number is a brace. Bytes that are no
    text by themselves become surrogates, as Python has them in arguments and file names; `parse`
    makes them bytes again.
    """

    def meant(match: re.Match[str]) -> str:
        if match[1]:
            return _ESCAPED[match[1]]
        byte = bytes([int(match[2], 16)]).decode("utf-8", "surrogateescape")
        return byte * 2 if byte in "{}" else byte

    return _ESCAPE.sub(meant, text)
