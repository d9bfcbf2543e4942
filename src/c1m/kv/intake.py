"""What a tick brings: from pieces of streams to commands, and to their replies. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise, repeat
from operator import itemgetter

import numpy as np

from c1m.engine.contract import Pieces
from c1m.kv.client import Client
from c1m.kv.clients import Clients
from c1m.kv.cluster import Cluster
from c1m.kv.commands import SPELLED
from c1m.kv.execute import execute, run_rows
from c1m.kv.pubsub import subscribe_all
from c1m.kv.quick import FORMS
from c1m.kv.rows import RESP3
from c1m.protocols.resp.batch import Uniform, uniform
from c1m.protocols.resp.replies import error
from c1m.protocols.resp.requests import NO_TLS, Args, RequestBounds, Requests, whole

ALIKE_MIN = 4  # pieces, or bytes of one piece as below, from which on the quick forms pay
LONG = 256  # bytes: a pipeline, probably
HEAD = 12  # bytes of a piece: its number of arguments and the command's name
SUBSCRIBE = {b"SUBSCRIBE", b"subscribe"}
LATER_MAX = 16 << 10  # bytes that come behind a command that waits, until reading stops
LARGE_REPLY = 4096  # bytes: smaller ones to what a piece asks for are no danger
REPLIES_MAX = 8 << 20  # bytes of larger ones: then a client waits until it has taken them
TOO_MUCH = b"ERR too much is unfinished"
READER_COST = 800  # bytes that something unfinished takes beside what came
ROWS_MAX = 64  # commands of one connection whose replies are all made before they are looked at

_slot_of, _text_of = itemgetter(0), itemgetter(1)


def _alike(pieces: Pieces, states: Sequence[int]) -> Iterable[Pieces]:
    """Pieces by their connections' states, and how they begin; [] where that is of no use, or two
    are of one connection, whose pieces must stay in order.
    """
    if len(pieces[0][1]) >= LONG or len(set(map(_slot_of, pieces))) < len(pieces):
        return []
    groups: dict[tuple[int, bytes], Pieces] = {}
    for item in pieces:
        groups.setdefault((states[item[0]], item[1][:HEAD]), []).append(item)
    return groups.values() if len(groups) > 1 else []


class Intake:
    """Takes what connections sent; the replies go to the store's outbox."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.store = clients.store
        self.unfinished: dict[int, Requests] = {}  # by slot, where a command is not whole yet
        self.unfinished_bytes = 0
        self._anyone = Client(-1, self.store)  # who asks for what all may ask for
        self.paused: list[int] = []  # slots to read no longer from
        self.resumed: list[int] = []  # and to read from again
        self.held: set[int] = set()  # those of them who wait, and have sent much behind that
        self.owed: list[Client] = []  # they go on when they have taken their replies
        self._guests = RequestBounds(is_guest=True)

    def take(self, pieces: Pieces) -> None:
        """Pieces of data, (slot, bytes), in order."""
        if len(pieces) < ALIKE_MIN and len(pieces[0][1]) < LONG:
            self._take_each(pieces)
        elif not self._take_alike(pieces):
            for group in _alike(pieces, self.clients.states) or [pieces]:
                if group is pieces or len(group) < ALIKE_MIN or not self._take_alike(group):
                    self._take_each(group)

    def _take_each(self, pieces: Pieces) -> None:
        for slot, piece in pieces:
            self.take_one(slot, piece)

    def _take_alike(self, pieces: Pieces) -> bool:
        """Where all that came is one command with many arguments: answer it in its quick form."""
        slots = list(map(_slot_of, pieces))
        states = set(map(self.clients.states.__getitem__, slots))
        if len(states) > 1 or self.store.is_barred or not self.unfinished.keys().isdisjoint(slots):
            return False
        state = states.pop()
        if state & ~RESP3:
            return False
        found = uniform(list(map(_text_of, pieces)))
        if found is None:
            return False
        if self.store.cluster is not None and not self._are_ours(self.store.cluster, found):
            return False
        if found.name in SUBSCRIBE and self._subscribe(slots, found):
            return True
        protocol = 3 if state else 2
        count, form = FORMS.get(found.name, (-1, None))
        replies = None
        if form is not None and count == len(found.columns):
            replies = form(self.store.databases[0], protocol, found.columns)
        if replies is None:
            replies = self._in_rows(found, protocol)
            if replies is None:
                return False
        else:
            self.store.statistics.calls[found.name.decode().lower()] += len(replies)
        journal = self.store.journal
        if journal is not None and journal.has_written:
            if found.counts is not None:
                slots = list(chain.from_iterable(map(repeat, slots, found.counts)))
            for slot, reply in zip(slots, replies, strict=True):
                self.store.out.say(slot, reply)
                journal.mark(slot)
            journal.has_written = False
            self.clients.heard(slots)
            return True
        if found.counts is not None:
            ends = accumulate(found.counts, initial=0)
            replies = [b"".join(replies[start:end]) for start, end in pairwise(ends)]
        self.clients.heard(slots)
        self.store.out.say_each(slots, replies)
        return True

    def _are_ours(self, cluster: Cluster, found: Uniform) -> bool:
        """Each command has no key, or one of this node's slots. False: look at each for itself."""
        command = SPELLED.get(found.name)
        at = -1 if command is None else command.only_key(len(found.columns))
        if at <= 0:
            return not at
        keys = found.columns[at - 1]
        is_there = self.store.databases[0].data.__contains__  # then it is ours: see `is_here`
        return all(map(is_there, keys)) or cluster.has_all(keys)

    def _subscribe(self, slots: list[int], found: Uniform) -> bool:
        """SUBSCRIBE of one channel by many who are subscribed to nothing, as arrays."""
        if len(found.columns) != 1 or found.counts is not None or len(set(slots)) < len(slots):
            return False
        names = found.columns[0]
        if names.count(names[0]) < len(names):
            return False
        subscribe_all(self.store, np.array(slots, np.int32), names[0])
        self.store.statistics.calls["subscribe"] += len(slots)
        self.clients.heard(slots)
        return True

    def _in_rows(self, found: Uniform, protocol: int) -> list[bytes] | None:
        """Replies to a command that has no quick form, if it concerns the data only."""
        command, count = SPELLED.get(found.name), 1 + len(found.columns)
        if (
            command is None or not command.is_of_data
            or (count != command.arity and (command.arity > 0 or count < -command.arity))
            or (self.store.journal is not None and command.is_write)
            or (not command.is_write and max(found.counts or (1,)) > ROWS_MAX)
        ):  # fmt: skip
            return None
        self._anyone.protocol = protocol
        rows = zip(repeat(found.name, found.total), *found.columns, strict=True)
        return run_rows(self._anyone, command, rows)

    def take_one(self, slot: int, piece: bytes) -> None:
        """What one connection sent: run the commands that are whole now."""
        client = self.clients.of(slot)
        requests = self._forget_one(slot) if self.unfinished else None
        if client.is_closing:
            return
        if client.is_guest:
            self._run(client, self._from_guest(client, requests or Requests(), piece))
            return
        if requests is None:
            commands, size = whole(piece)
            if size < len(piece):
                requests = Requests(self.store.bounds)
                commands += requests.feed(piece[size:])
        else:
            requests.bounds = self.store.bounds
            commands = requests.feed(piece)
        if requests is not None and not requests.is_idle:
            self._keep(slot, requests)
        if client.later is None:
            self._run(client, commands)
            return
        client.later += commands
        self.store.publishers.go_on(client)
        client.later_size += len(piece)
        if client.later_size > LATER_MAX:
            self.paused.append(slot)
            self.held.add(slot)
            if client.later_size > REPLIES_MAX:
                self.store.out.killed.append(slot)
                self.store.statistics.clients_evicted += 1

    def look_at_held(self) -> None:
        """They are read from until something comes: who has gone would stay for ever."""
        self.resumed += self.held

    def _keep(self, slot: int, requests: Requests) -> None:
        """A command of this connection is not whole yet."""
        self.unfinished[slot] = requests
        requests.counted = requests.size() + READER_COST
        self.unfinished_bytes += requests.counted
        most = self.store.clients_max()
        if self.unfinished_bytes > most:
            self._evict(most // 4 * 3)

    def _evict(self, most: int) -> None:
        """Who has most unfinished goes, until all have no more than this."""
        for slot in sorted(self.unfinished, key=lambda s: -self.unfinished[s].counted):
            if self.unfinished_bytes <= most:
                return
            self._forget_one(slot)
            # Until it is closed nothing is read that follows: it may be the middle of a value.
            self.unfinished[slot] = Requests(error=TOO_MUCH)
            self.store.out.killed.append(slot)
            self.store.statistics.clients_evicted += 1

    def _forget_one(self, slot: int) -> Requests | None:
        requests = self.unfinished.pop(slot, None)
        if requests is not None:
            self.unfinished_bytes -= requests.counted
        return requests

    def _from_guest(self, client: Client, requests: Requests, piece: bytes) -> Iterator[Args]:
        """The commands of one who has not said who it is, and is not a guest from when it does."""
        requests.bounds = self._guests
        for args in requests.read(piece):
            yield args
            requests.bounds = self._guests if client.is_guest else self.store.bounds
        if not requests.is_idle:
            self._keep(client.slot, requests)

    def _run(self, client: Client, commands: Iterable[Args]) -> None:
        """Run commands of a client, until one waits, or until there is much for it to take."""
        slot, size = client.slot, 0
        out, journal = self.store.out.of(slot), self.store.journal
        left = iter(commands)
        for args in left:
            reply = execute(client, args)
            if reply is not None:
                out.append(reply)
                if journal is not None and journal.has_written:
                    journal.mark(slot)
                    journal.has_written = False
                if client.is_closing:
                    break
                if len(reply) > LARGE_REPLY:
                    size += len(reply)
                    if size > REPLIES_MAX:
                        client.later = list(left)
                        self.owed.append(client)
                        break
            elif client.later is not None:
                client.later.extend(left)
                self.store.publishers.go_on(client)
            if client.is_closing:
                break
        requests = self.unfinished.get(slot)
        is_open = client.later is None and not client.is_closing
        if is_open and requests is not None and requests.error is not None:
            out.append(error(requests.error))
            self.store.statistics.spoke_tls += requests.error.endswith(NO_TLS)
            client.is_closing = True
        self.clients.settle(client)
        if client.is_closing:
            self.store.out.closing.append(slot)

    def look_at_owed(self, has_room: Callable[[int], bool]) -> None:
        """Those who have taken their replies go on with the next `go_on`."""
        owed, self.owed = self.owed, []
        for client in owed:
            if self.clients.kept.get(client.slot) is client:  # else it has ended
                ready = self.store.waiting.unblocked if has_room(client.slot) else self.owed
                ready.append(client)

    def end(self, slots: list[int]) -> None:
        """These send no more: they are closed behind their replies."""
        owed = {client.slot: client for client in self.owed}
        for slot in slots:
            kept = self.clients.kept.get(slot)
            if slot in owed:
                owed[slot].has_ended = True
            elif kept is not None and kept.unanswered:
                kept.has_ended = True
            else:
                self.store.out.closing.append(slot)

    def go_on(self) -> int | None:
        """Clients whose wait has ended go on. When (in Unix time) the next wait ends by itself."""
        waiting = self.store.waiting
        waiting.expire(self.store.now_ms)
        while waiting.unblocked:
            unblocked, waiting.unblocked = waiting.unblocked, []
            for client in unblocked:
                kept = self.clients.kept.get(client.slot)
                if kept is None or kept is not client or kept.is_closing:
                    continue  # its connection has ended
                later, kept.later = kept.later, None
                if kept.later_size > LATER_MAX:
                    self.resumed.append(kept.slot)
                    self.held.discard(kept.slot)
                kept.later_size = 0
                self._run(kept, later or ())
                if kept.has_ended and kept.later is None:
                    self.store.out.closing.append(kept.slot)
        return waiting.next_ms()

    def forget(self, slots: list[int]) -> None:
        """These connections have ended."""
        self.held.difference_update(slots)
        for slot in slots:
            self._forget_one(slot)
