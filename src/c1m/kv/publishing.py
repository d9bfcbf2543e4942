"""PUBLISH where others hear, too: the reply comes when the message is on its way to them. Pure.

Where that is later, as with a broker, the client waits. What it has sent behind it waits, too, all
but further PUBLISHes: a pipeline of them goes at once, and each gets its reply as it comes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from c1m.kv.errors import CommandError
from c1m.protocols.resp.replies import error, integer

AT_ONCE = 1000  # of one client that wait


class Publishers:
    """Of a store: its clients that publish by way of its `elsewhere`."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def publish(self, client: Any, name: bytes, message: bytes) -> bytes | None:
        """The reply; None: it comes later. Raises CommandError."""
        store, replies = self._store, list[bytes]()
        if client.in_transaction:  # it cannot wait: the reply says who hears it here now
            store.elsewhere.publish(name, message, lambda told: replies.append(_reply(told)))
            here = store.subscriptions.channels.size(name) + store.elsewhere.size(name)
            return replies[0] if replies else integer(here)
        store.elsewhere.publish(name, message, partial(self._told, client, replies))
        if replies:
            return replies[0]
        replies.append(b"")  # what comes now comes later
        client.unanswered += 1
        if client.later is None:
            client.later = []
        return None

    def go_on(self, client: Any) -> None:
        """More has come of a client that waits: PUBLISHes of it go at once."""
        store, later = self._store, client.later
        if not client.unanswered or not later or store.pause.until_ms or store.monitors:
            return
        count = 0
        for args in later:
            if len(args) != 3 or args[0].lower() != b"publish" or client.unanswered >= AT_ONCE:
                break
            try:
                reply = self.publish(client, args[1], args[2])
            except CommandError:  # its turn comes when the others are answered
                break
            assert reply is None, "what comes behind one that waits comes later, too"
            store.statistics.calls["publish"] += 1
            count += 1
        del later[:count]

    def _told(self, client: Any, replies: list[bytes], told: int | bytes) -> None:
        """What came of a PUBLISH."""
        if not replies:
            replies.append(_reply(told))
            return
        if self._store.rows.kept.get(client.slot) is not client:
            return  # it has ended
        client.say(_reply(told))
        client.unanswered -= 1
        if not client.unanswered:
            self._store.waiting.unblocked.append(client)


def _reply(told: int | bytes) -> bytes:
    return integer(told) if isinstance(told, int) else error(told)
