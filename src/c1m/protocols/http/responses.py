"""Responses of HTTP/1.1 as bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

_ONE_LINE = str.maketrans("\r\n\0", "   ")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Response:
    """What is answered: `fields` are (name, value); the body's length is written by `encoded`.

    `is_open`: the body goes on until the connection ends; `body` is its beginning.
    """

    status: int
    body: bytes = b""
    fields: list[tuple[str, str]] = field(default_factory=list)
    is_open: bool = False


def text(status: int, said: str, *fields: tuple[str, str]) -> Response:
    """A response that people read."""
    return Response(
        status, said.encode() + b"\n", [("Content-Type", "text/plain; charset=utf-8"), *fields]
    )


def encoded(
    response: Response, *, date: str, stays: bool = True, is_head: bool = False, minor: int = 1
) -> bytes:
    """The whole response; `date` as RFC 9110, 5.6.7 has it; `is_head`: without its body.

    `stays`: the connection is kept, which a client of HTTP/1.0 (`minor`) has to be told. A line
    end in a field becomes a space (RFC 9110, 5.5): nobody adds fields by what he asks.
    """
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}", f"Date: {date}"]
    lines += [f"{name}: {value}".translate(_ONE_LINE) for name, value in response.fields]
    has_body = response.status >= 200 and response.status not in (204, 304)
    if has_body and not response.is_open:
        lines.append(f"Content-Length: {len(response.body)}")
    options = ["Upgrade"] if any(name == "Upgrade" for name, _ in response.fields) else []
    if not stays:  # who says Upgrade names it as an option (RFC 9110, 7.8)
        options.append("close")
    elif minor == 0:
        options.append("keep-alive")
    if options:
        lines.append(f"Connection: {', '.join(options)}")
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return head + response.body if has_body and not is_head else head


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
