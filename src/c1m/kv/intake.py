"""What a tick brings: from pieces of streams to commands, and to their replies. Pure."""

from __future__ import annotations

from itertools import accumulate, pairwise
from operator import itemgetter

from c1m.engine.contract import Pieces
from c1m.kv.client import Client
from c1m.kv.clients import Clients
from c1m.kv.execute import execute
from c1m.kv.quick import FORMS
from c1m.kv.rows import RESP3
from c1m.protocols.resp.batch import uniform
from c1m.protocols.resp.replies import error
from c1m.protocols.resp.requests import Requests

ALIKE_MIN = 4  # pieces, or bytes of one piece as below, from which on the quick forms pay
LONG = 256  # bytes: a pipeline, probably

_slot_of, _text_of = itemgetter(0), itemgetter(1)


class Intake:
    """Takes what connections sent; the replies go to the store's outbox."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.store = clients.store
        self.unfinished: dict[int, Requests] = {}  # by slot, where a command is not whole yet
        self._plain = Client(-1, self.store)  # stands for one connection after the other

    def take(self, pieces: Pieces) -> None:
        """Pieces of data, (slot, bytes), in order."""
        if (len(pieces) >= ALIKE_MIN or len(pieces[0][1]) >= LONG) and self._take_alike(pieces):
            return
        for slot, piece in pieces:
            self.take_one(slot, piece)

    def _take_alike(self, pieces: Pieces) -> bool:
        """Where all that came is one command with many arguments: answer it in its quick form."""
        slots = list(map(_slot_of, pieces))
        states = set(map(self.clients.states.__getitem__, slots))
        if len(states) > 1 or self.store.is_guarded or not self.unfinished.keys().isdisjoint(slots):
            return False
        state = states.pop()
        if state & ~RESP3:
            return False
        found = uniform(list(map(_text_of, pieces)))
        if found is None:
            return False
        count, run = FORMS.get(found.name, (-1, None))
        if run is None or count != len(found.columns):
            return False
        replies = run(self.store.databases[0], 3 if state else 2, found.columns)
        if replies is None:
            return False
        self.store.statistics.calls[found.name.decode().lower()] += len(replies)
        if found.counts is not None:
            ends = accumulate(found.counts, initial=0)
            replies = [b"".join(replies[start:end]) for start, end in pairwise(ends)]
        self.clients.heard(slots)
        self.store.out.say_each(slots, replies)
        return True

    def take_one(self, slot: int, piece: bytes) -> None:
        """What one connection sent: run the commands that are whole now."""
        requests = self.unfinished.pop(slot, None) or Requests()
        client = self.clients.of(slot)
        out, journal = self.store.out.of(slot), self.store.journal
        for args in requests.feed(piece):
            reply = execute(client, args)
            if reply is not None:
                out.append(reply)
                if journal is not None and journal.has_written:
                    journal.mark(slot)
        if requests.error is not None:
            out.append(error(requests.error))
            client.is_closing = True
        if not requests.is_idle:
            self.unfinished[slot] = requests
        self.clients.settle(client)
        if client.is_closing:
            self.store.out.closing.append(slot)

    def forget(self, slots: list[int]) -> None:
        """These connections have ended."""
        for slot in slots:
            self.unfinished.pop(slot, None)
