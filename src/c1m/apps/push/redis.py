"""Redis's protocol on a listener of the push server: backends publish and subscribe by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from c1m.apps.kv.app import KeyValue
from c1m.kv import pubsub
from c1m.kv.commands import TABLE, Command
from c1m.kv.errors import CommandError
from c1m.push.history import NAMED, Publication
from c1m.push.hub import Hub
from c1m.push.mistakes import Mistake
from c1m.push.statistics import is_reserved
from c1m.server.figures import Figures
from c1m.server.server import Server

_GROUPS = {"command_info", "connection", "connection_client", "pubsub", "transactions"}
_SHARDS = {"ssubscribe", "sunsubscribe", "spublish", "pubsub|shardchannels", "pubsub|shardnumsub"}


def served() -> frozenset[str]:
    """The commands: about the connection, about publishing, and what a pipeline is wrapped into."""

    def names(command: Command) -> Iterable[str]:
        yield command.name
        for subcommand in (command.subcommands or {}).values():
            yield subcommand.name

    found = {name for command in TABLE.values() if command.group in _GROUPS
             for name in names(command)}  # fmt: skip
    return frozenset((found | {"info"}) - _SHARDS)


class RedisSide(KeyValue):
    """The key-value server's application, whose channels are the hub's.

    `hub` and `publish` are asked for when the server has started: the hub is made then. `publish`
    raises ValueError for a channel or a message that cannot be.
    """

    def __init__(
        self,
        hub: Callable[[], Hub],
        publish: Callable[[str, bytes, Callable[[int | Mistake], object]], object],
        password: str | None,
    ) -> None:
        super().__init__(password=password)
        self._hub = hub
        self._publish = publish

    def notes(self, server: Server) -> list[str]:
        """PushApp's say it."""
        return []

    def figures(self, server: Server) -> Figures:
        """PushApp's have it."""
        return {}

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self.store.served = served()
        self.store.elsewhere = self
        self.store.guard()
        self._hub().others.append(self._hear)

    def _hear(self, made: Publication) -> int:
        """What was published, by whomever, goes to those who subscribe here."""
        if made.seen_by == NAMED:  # nobody here has a token
            return 0
        return pubsub.publish(self.store, made.channel.encode(), made.data)

    # --- what the store asks of the hub ---------------------------------------------------------

    def publish(self, name: bytes, message: bytes, told: Callable[[int | bytes], object]) -> None:
        """See c1m.kv.store.Elsewhere."""

        def then(count: int | Mistake) -> None:
            told(count if isinstance(count, int) else f"ERR {count.why}".encode())

        try:
            self._publish(name.decode(), message, then)
        except ValueError as error:  # UnicodeDecodeError is one
            why = "a channel's name is UTF-8 here" if isinstance(error, UnicodeError) else error
            raise CommandError(f"ERR {why}".encode()) from None

    def size(self, name: bytes) -> int:
        """How many hear a channel by the web."""
        return self._hub().size(name.decode("utf-8", "replace"))

    def names(self) -> Iterable[bytes]:
        """The channels that are heard by the web."""
        names = {name[1:] for name in self._hub().channels.names()}
        return (name for name in names if not is_reserved(name.decode()))
