"""Which broker a server's publications go through: what --relay says. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from c1m.addresses import SUN_PATH_MAX
from c1m.errors import UsageError

PORTS = {"redis": 6379, "rediss": 6379, "nats": 4222}
UNIX = "redis+unix"
FORMS = (
    "Write redis://[USER:PASSWORD@]HOST[:PORT][/NAME], rediss:// for TLS, "
    "redis+unix:///PATH[?name=NAME], or nats://[USER:PASSWORD@]HOST[:PORT][/NAME]."
)
_NAME = re.compile(r"[A-Za-z0-9_:.-]{1,200}")  # what Redis's channels and NATS's subjects take


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, and the `name` of its channel that all servers share."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""  # of a unix socket
    user: str | None = None
    password: str | None = None
    name: str = ""

    @property
    def is_nats(self) -> bool:
        """Whether it speaks NATS's protocol; else it is Redis's."""
        return self.scheme == "nats"

    def __str__(self) -> str:
        """Where it is, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.path or f'{host}:{self.port}'}"


def broker_of(text: str, name: str, password: str | None = None) -> Broker:
    """What a URL says. `name`: of the channel, where it has none; `password`: the same.

    Raises UsageError for what is none.
    """
    try:
        if not text.isprintable() or " " in text:
            raise ValueError
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"{text!r} is no broker.", FORMS) from None
    if parts.fragment or (parts.scheme not in PORTS and parts.scheme != UNIX):
        raise UsageError(f"{text!r} is no broker.", FORMS)
    if parts.scheme == UNIX:
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        named, path, is_there = query.pop("name", ""), parts.path, parts.path.startswith("/")
        is_there = is_there and not host and not query
        if len(path.encode()) > SUN_PATH_MAX:
            raise UsageError(
                f"The path of {text!r} has {len(path.encode())} bytes; the kernel takes "
                f"{SUN_PATH_MAX}.", "Use a shorter path.",
            )  # fmt: skip
    else:
        named, path, is_there = parts.path.removeprefix("/"), "", bool(host) and not parts.query
    if not is_there or port == 0:
        raise UsageError(f"{text!r} is no broker.", FORMS)
    named = named or name
    if not _NAME.fullmatch(named) or ".." in f".{named}.":
        raise UsageError(
            f"{named!r} is no name of a channel that every broker takes.",
            "Take letters, digits, and - _ : or single dots between them, 200 at most.",
        )
    if password is not None and parts.password is not None:
        raise UsageError("A password of the broker and a file of it are given.", "Give one.")
    said = parts.password if parts.password is not None else password
    return Broker(
        parts.scheme, host, port or PORTS.get(parts.scheme, 0), path,
        unquote(parts.username) if parts.username else None,
        unquote(said) if said is not None and parts.password is not None else said, named,
    )  # fmt: skip
