"""Responses of HTTP/1.1 as bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(slots=True)
class Response:
    """What is answered: `fields` are (name, value); the body's length is written by `encoded`."""

    status: int
    body: bytes = b""
    fields: list[tuple[str, str]] = field(default_factory=list)


def text(status: int, said: str, *fields: tuple[str, str]) -> Response:
    """A response that people read."""
    return Response(
        status, said.encode() + b"\n", [("Content-Type", "text/plain; charset=utf-8"), *fields]
    )


def encoded(response: Response, *, date: str, stays: bool = True, is_head: bool = False) -> bytes:
    """The whole response; `date` as RFC 9110, 5.6.7 has it; `is_head`: without its body."""
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}", f"Date: {date}"]
    lines += [f"{name}: {value}" for name, value in response.fields]
    if response.status >= 200 and response.status not in (204, 304):
        lines.append(f"Content-Length: {len(response.body)}")
    if not stays:
        lines.append("Connection: close")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if is_head else head + response.body
