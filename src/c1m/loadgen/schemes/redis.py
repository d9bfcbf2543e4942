"""redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss://: Redis's protocol, by a scenario of
its own.

A connection begins with AUTH and SELECT where the URL asks for them, and is open when both were
answered with OK. A login without a colon is a password, as redis-cli has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from c1m.errors import UsageError
from c1m.loadgen.schemes.base import Scheme, Url
from c1m.loadgen.transports.base import Transport
from c1m.loadgen.transports.login import LoginTransport
from c1m.results.options import LoadOptions
from c1m.scenarios.base import Scenario


class Redis(Scheme):
    """See Scheme."""

    name = "redis"
    over_tls = "rediss"
    port = tls_port = 6379
    scenario = "resp"

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        super().__init__(urls, options)
        if len({(url.login, url.path.strip("/")) for url in urls}) > 1:
            raise UsageError(
                "The targets have different passwords or databases.",
                "Give the same to all of them.",
            )
        self._secret = ""
        commands: list[list[bytes]] = []
        if urls[0].login:
            user, separator, secret = urls[0].login.partition(":")
            user, self._secret = (user, secret) if separator else ("", user)
            self._secret = unquote(self._secret)
            words = [unquote(user), self._secret] if user else [self._secret]
            commands.append([b"AUTH", *map(str.encode, words)])
        database = _database(urls[0])
        if database:
            commands.append([b"SELECT", b"%d" % database])
        self.commands = commands

    def transport(self, scenario: Scenario, count: int, options: LoadOptions) -> Transport | None:
        """See Scheme."""
        if not self.commands:
            return None
        return LoginTransport(count, self.commands, self._secret)


def _database(url: Url) -> int:
    """0, in which a connection is at first, where none is named."""
    text = url.path.removeprefix("/")
    if not (text.isascii() and text.isdigit() and len(text) < 10) and text:
        raise UsageError(
            f"{url.shown!r} has {url.path!r} where the number of a database should be.",
            "Write it as redis://HOST:PORT/1, or leave it out.",
        )
    return int(text or 0)
