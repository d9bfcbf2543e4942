"""What URLs of HTTP, WebSocket and server-sent events have in common: a path, and fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

from c1m.errors import UsageError
from c1m.loadgen.schemes.base import Scheme, Url
from c1m.results.options import LoadOptions
from c1m.scenarios.asks import Session

_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_PLACE = re.compile(r"(\{(?:n|seq|random:[0-9]+)\})")  # of a template
# What a request needs is written by whoever makes it.
OURS = {"connection", "content-length", "transfer-encoding", "upgrade"}


class Web(Scheme):
    """See Scheme. `host` is the field Host, `fields` what --header says besides."""

    port, tls_port = 80, 443
    takes: ClassVar[tuple[str, ...]] = ("headers",)
    alpn = "http/1.1"  # RFC 7301, 6
    has_transport = True
    ours: ClassVar[set[str]] = OURS
    has_login = False  # a user and a password in the URL have a use

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        super().__init__(urls, options)
        targets = {target_of(url, has_login=self.has_login) for url in urls}
        if len({url.login for url in urls}) > 1:
            raise UsageError("The targets have different users.", "Give all of them the same one.")
        if len(targets) > 1:
            raise UsageError(
                "The targets have different paths.", "Give the same path and query to all of them."
            )
        self.target = targets.pop()
        fields = [_field(text, self.ours) for text in options.headers]
        named = [text.partition(":")[2].strip() for text in fields if name_of(text) == "host"]
        self.fields = [text for text in fields if name_of(text) != "host"]
        self.host = named[0] if named else urls[0].place

    def session(self) -> Session:
        """See Scheme."""
        return Session(self.name, self.host, tuple(self.fields))


def target_of(url: Url, *, has_login: bool = False) -> str:
    """The path and query of a URL, as a request says them."""
    if url.login is not None and not has_login:
        raise UsageError(
            "The target has a user or a password, for which HTTP has a field.",
            "Give it as a field: --header 'Authorization: Basic ...'.",
        )
    return checked_target(url.path if url.path.startswith("/") else "/" + url.path)


def checked_target(text: str) -> str:
    """A path and query as a request says them. Raises UsageError for what is none."""
    if "#" in text:
        raise UsageError(
            f"{text!r} has a fragment, which is not sent to servers.", "Write # as %23."
        )
    if not text.isprintable() or " " in text:
        raise UsageError(f"{text!r} is no path of a URL.", "Write blanks in it as %20.")
    parts = _PLACE.split(text)  # each second one is a place
    parts[::2] = [quote(part, safe="!$%&'()*+,-./:;=?@[]_~") for part in parts[::2]]
    return "".join(parts)


def name_of(field: str) -> str:
    """The name of a field, in lower case."""
    return field.partition(":")[0].lower()


def _field(text: str, ours: set[str]) -> str:
    match = _FIELD.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no field of a request.", "Write --header 'NAME: VALUE', in one line."
        )
    if match[1].lower() in ours:
        raise UsageError(f"The field {match[1]} is this client's own.", "Leave that --header out.")
    return f"{match[1]}: {match[2].strip()}"
