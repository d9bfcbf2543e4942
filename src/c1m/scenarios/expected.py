"""What is right as a response of HTTP: its status, its fields, its body. Pure.

Texts are templates, in which braces that stand for nothing are braces: JSON has many.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from c1m.errors import UsageError
from c1m.scenarios.asks import Response, json_of
from c1m.scenarios.messages import Message

Text = str | bytes

_PLACE = re.compile(r"\{(?:n|seq|(?:random|any):[0-9]{1,7})\}|[{}]")
_STATUS = re.compile(r"[1-5](?:[0-9][0-9]|xx)", re.IGNORECASE)
SHOWN_MAX = 80  # characters of what came, in a note


def with_braces(text: Text) -> Text:
    """A template, in which other braces than those of its places stand for themselves."""
    if isinstance(text, bytes):
        return text
    return _PLACE.sub(lambda match: match[0] if len(match[0]) > 1 else 2 * match[0], text)


class Expected:
    """What each response must be; without a word a status below 400.

    `statuses`: "200,3xx". `fields`: "NAME: VALUE" each. `body`: all of it; `parts` of it. `values`:
    "PATH=VALUE" each, of a body in JSON: names and numbers with dots between them, and JSON.
    """

    def __init__(
        self,
        statuses: str = "",
        fields: Sequence[str] = (),
        body: Text | None = None,
        parts: Sequence[str] = (),
        values: Sequence[str] = (),
    ) -> None:
        self._statuses = [_status(text) for text in statuses.split(",")] if statuses else []
        self._texts = [with_braces(_field(text)[1]) for text in fields]
        self._names = [_field(text)[0] for text in fields]
        self._paths = [_path(text) for text in values]
        self._body_text = None if body is None else with_braces(body)
        self._part_texts = [with_braces(part) for part in parts]
        self._value_texts = [with_braces(text.partition("=")[2]) for text in values]

    def begin(self, connections: int, seed: int, first: int = 0) -> None:
        """For so many connections, from number `first` on. Raises UsageError for what is no
        template, or no JSON."""

        def made(text: Text) -> Message:
            return Message(text, connections, seed, first=first)

        body = self._body_text
        self._is_empty = body in ("", b"")
        self.body = made(body) if body else None
        self._fields = [made(text) for text in self._texts]
        self._parts = [made(text) for text in self._part_texts]
        self._values = [made(text) for text in self._value_texts]
        for message in (*self._parts, *self._values, *self._fields):
            if message.has_any:
                raise UsageError(
                    "{any:..} stands for bytes of a whole body.", "Use it with --expect only."
                )
        for message in self._values:
            _value(message.one(0))
        several = (*self._fields, *self._parts, *self._values, *([self.body] if self.body else []))
        # Then a response equal to one that was right is right, too.
        self.is_alike = not any(
            message.has_n or message.has_seq or message.has_random for message in several
        )

    @property
    def body_most(self) -> int | None:
        """How many bytes of a body decide whether it is right; None: all."""
        if self._parts or self._values:
            return None
        return 1 if self.body is None else self.body.size_max + 1

    def wrong(self, number: int, seq: int, reply: bytes) -> str | None:
        """What is wrong with a response, and what was expected; None: nothing."""
        status, body = int(reply[9:12]), reply.partition(b"\r\n\r\n")[2]
        if not self._is_status(status):
            return f"status {status}, expected {self._shown_statuses()}"
        response = Response(reply) if self._names else None
        for name, message in zip(self._names, self._fields, strict=True):
            value = None if response is None else response.get(name)
            due = message.one(number, seq)
            if value != due:
                said = "is not there" if value is None else f"is {_shown(value)}"
                return f"field {name.decode()} {said}, expected {_shown(due)}"
        if self.body is not None and body != self.body.one(number, seq, body):
            return f"another body: {_shown(body)}, expected {_shown(self.body.one(number, seq))}"
        if self._is_empty and body:
            return f"the body is {_shown(body)}, expected none"
        for message in self._parts:
            if (due := message.one(number, seq)) not in body:
                return f"the body has no {_shown(due)}: {_shown(body)}"
        if self._values:
            return self._wrong_value(number, seq, body)
        return None

    def _wrong_value(self, number: int, seq: int, body: bytes) -> str | None:
        try:
            said = json_of(body)
        except ValueError:
            return f"the body is no JSON: {_shown(body)}"
        for path, message in zip(self._paths, self._values, strict=True):
            due, name = json.loads(message.one(number, seq)), ".".join(path)
            try:
                value = _at(said, path)
            except (LookupError, ValueError, TypeError):
                return f"{name} is not there, expected {json.dumps(due)}"
            if value != due or isinstance(value, bool) != isinstance(due, bool):
                return f"{name} is {json.dumps(value)[:SHOWN_MAX]}, expected {json.dumps(due)}"
        return None

    def _is_status(self, status: int) -> bool:
        if not self._statuses:
            return status < 400
        return any(status in codes for codes in self._statuses)

    def _shown_statuses(self) -> str:
        if not self._statuses:
            return "one below 400"
        named = (str(c[0]) if len(c) == 1 else f"{c[0] // 100}xx" for c in self._statuses)
        return " or ".join(named)


def _shown(came: bytes) -> str:
    text = repr(came[:SHOWN_MAX])[1:]
    return text + " ..." if len(came) > SHOWN_MAX else text


def _status(text: str) -> range:
    if not _STATUS.fullmatch(text.strip()):
        raise UsageError(
            f"{text!r} is no status of HTTP.",
            "Write --expect-status 200, 2xx, or several: 200,204,3xx.",
        )
    first, rest = text.strip()[0], text.strip()[1:]
    code = int(first) * 100
    return range(code, code + 100) if rest.lower() == "xx" else range(int(text), int(text) + 1)


def _field(text: str) -> tuple[bytes, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip() or {"\r", "\n"} & set(text):
        raise UsageError(
            f"{text!r} is no field of a response.",
            "Write --expect-header 'NAME: VALUE', in one line.",
        )
    return name.strip().lower().encode(), value.strip()


def _path(text: str) -> list[str]:
    path, separator, _ = text.partition("=")
    if not separator or not all(path.split(".")):
        raise UsageError(
            f"{text!r} is no field of JSON and its value.",
            "Write --expect-json 'cart.total=0'; of lists: 'items.0.name=\"tea\"'.",
        )
    return path.split(".")


def _value(text: bytes) -> Any:
    try:
        return json_of(text)
    except ValueError:
        said = text.decode("utf-8", "backslashreplace")
        raise UsageError(
            f"{said!r} is no JSON.", "Write texts in quotes: --expect-json 'name=\"tea\"'."
        ) from None


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value
