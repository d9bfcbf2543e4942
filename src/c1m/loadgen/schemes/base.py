"""What a target's URL says, and what a protocol makes of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from c1m.errors import UsageError
from c1m.loadgen.transports.base import Transport
from c1m.results.options import LoadOptions
from c1m.scenarios.asks import Session
from c1m.scenarios.base import Scenario
from c1m.scenarios.loader import find_scenario
from c1m.scenarios.publish import PUBLICATION, Publish

# A login ends at the last @ before the path. A / in it should be written as %2F; where it is not,
# what stands before it is still no host with a port.
_LOGIN = r"(?:[^/?#]*|[^/?#\[]*:(?![0-9]*/)[^?#]*)@"
_URL = re.compile(rf"(?P<login>{_LOGIN})?(?P<place>[^/?#]*)(?P<path>.*)", re.DOTALL)
_SHOWN = re.compile(rf"(://)({_LOGIN})")
_SECRET = re.compile(
    r"((?:--header=)?\s*(?:authorization|proxy-authorization|cookie)\s*:).*", re.I | re.S
)
_PORT = re.compile(r":[^\]:]*$")


def shown(text: str) -> str:
    """A text with URLs in it, or a field of a request, whose passwords are not to be seen."""
    if match := _SECRET.fullmatch(text):
        return match[1] + " ***"
    return _SHOWN.sub(lambda match: match[1] + _user(match[2]) + "***@", text)


def _user(login: str) -> str:
    """What may be shown of a login: what stands alone may be a password."""
    user, separator, _ = login.partition(":")
    return user + separator if separator else ""


@dataclass(frozen=True, slots=True)
class Url:
    """A target as it is written, in its parts; `path` begins with /, ? or #, or is empty."""

    text: str = field(repr=False)
    scheme: str  # in lower case
    login: str | None = field(repr=False)  # what stands before @
    place: str  # host, and port where there is one
    path: str

    @classmethod
    def of(cls, text: str) -> Url:
        """Of any text; what is wrong with a host or a port is said later, by parse_url."""
        scheme, separator, rest = text.partition("://")
        match = _URL.fullmatch(rest if separator else text)
        assert match is not None
        login = match["login"] and match["login"].removesuffix("@")
        scheme = scheme.lower() if separator else "tcp"
        return cls(text, scheme, login, match["place"], match["path"])

    @property
    def shown(self) -> str:
        """The same without a password."""
        return shown(self.text)

    def place_at(self, port: int) -> str:
        """Host and port, of which this one where none is written."""
        return self.place if _PORT.search(self.place) else f"{self.place}:{port}"


class Scheme:
    """What is spoken with the targets of a run, all of which have this scheme.

    `scenario` is that of a target of which nothing more is said. `takes` are the fields of
    LoadOptions that only a few protocols have a use for, this one among them.
    """

    name: ClassVar[str] = "tcp"
    over_tls: ClassVar[str] = "tls"  # the same over TLS; "": there is none
    port: ClassVar[int] = 0  # where none is written; 0: one must be
    tls_port: ClassVar[int] = 0
    scenario: ClassVar[str] = "echo"
    takes: ClassVar[tuple[str, ...]] = ()
    alpn: ClassVar[str] = ""  # what a server over TLS is asked for
    has_transport: ClassVar[bool] = False  # scenarios say and hear messages
    # What a connection of Redis's protocol says first; None: another protocol.
    commands: Sequence[Sequence[bytes]] | None = None
    apart = ""  # where the first connections go that publish, if not to the targets

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        """Raises UsageError for what such a target cannot mean."""
        self.urls = urls
        self.is_tls = urls[0].scheme == self.over_tls

    def places(self) -> list[str]:
        """The targets as endpoints: tcp://HOST:PORT, or tls://."""
        port = self.tls_port if self.is_tls else self.port
        return [f"{'tls' if self.is_tls else 'tcp'}://{url.place_at(port)}" for url in self.urls]

    def shown(self) -> list[str]:
        """The targets as the record has them: without a password."""
        return [url.shown for url in self.urls]

    def session(self) -> Session:
        """What a conversation needs to know, to say something."""
        return Session(self.name)

    def scenario_for(self, options: LoadOptions) -> Scenario:
        """The scenario that is meant. Raises UsageError."""
        return find_scenario(
            options.scenario,
            message=options.message,
            expect=options.expect,
            publishers=options.publishers,
        )

    def check(self, scenario: Scenario, options: LoadOptions) -> None:
        """Raise UsageError for a scenario that cannot be spoken so."""
        if self.has_transport and scenario.wants_end:
            raise UsageError(
                f"The scenario {scenario.name!r} says half of a message, which cannot be done over "
                f"{self.name}://.",
                "Use it with a target as tcp://HOST:PORT.",
            )

    def transport(self, scenario: Scenario, count: int, options: LoadOptions) -> Transport | None:
        """What stands between `count` connections and their scenario; None: nothing does."""
        return None


def publication(options: LoadOptions, kind: type[Publish] = Publish) -> Publish:
    """The scenario publish over a protocol whose messages need no newline at their end."""
    message = PUBLICATION.rstrip("\n") if options.message is None else options.message
    publishers = 1 if options.publishers is None else options.publishers
    return kind(message, options.expect, publishers)


def no_login(url: Url, instead: str) -> None:
    """Raise UsageError where a URL has a user or a password."""
    if url.login is not None:
        raise UsageError("The target has a user or a password, for which there is no use.", instead)
