"""PUBLISH of the key-value server by way of a broker, and back (`--relay`)."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterable

from c1m.kv import pubsub
from c1m.kv.errors import CommandError
from c1m.kv.store import Store
from c1m.relay.broker import Broker
from c1m.relay.envelope import ORIGIN_BYTES
from c1m.relay.numbers import NotRelayed
from c1m.relay.relay import Relay
from c1m.server.server import Server

_SIZE = struct.Struct("<I")  # of the channel's name, which comes behind it, before the message


class KeyValueRelay:
    """What the store asks as its `elsewhere`: PUBLISH goes to the subscribers of all servers."""

    def __init__(self, broker: Broker, store: Store, server: Server) -> None:
        self._store = store
        self.relay = Relay(broker, secrets.token_hex(ORIGIN_BYTES), self._deliver)
        store.elsewhere = self
        store.host.relay = self.relay.values
        self.relay.start(server)

    def publish(self, name: bytes, message: bytes, told: Callable[[int | bytes], object]) -> None:
        """See c1m.kv.store.Elsewhere."""

        def then(count: int | NotRelayed) -> None:
            told(count if isinstance(count, int) else f"RELAY {count.why}".encode())

        try:
            self.relay.publish([_SIZE.pack(len(name)) + name + message], then)
        except NotRelayed as why:
            raise CommandError(f"RELAY {why.why}".encode()) from None

    def size(self, name: bytes) -> int:
        """Nobody hears anything there but the subscribers of other servers."""
        return 0

    def names(self) -> Iterable[bytes]:
        """The same."""
        return ()

    def take(self) -> bool:
        """Deliver what has come; whether something is left."""
        return self.relay.take(lambda: self._store.out.deliveries.is_full)

    def settle(self) -> None:
        """See Relay.settle."""
        self.relay.settle(lambda: False)

    def _deliver(self, origin: str, number: int, item: bytes) -> int:
        (size,) = _SIZE.unpack_from(item)
        end = _SIZE.size + size
        return pubsub.publish(self._store, item[_SIZE.size : end], item[end:])
