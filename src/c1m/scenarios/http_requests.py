"""Requests of HTTP made of templates: some paths, each with its weight, and a body. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.scenarios.asks import Session
from c1m.scenarios.expected import Text, with_braces
from c1m.scenarios.messages import Message, Numbers, draws

MADE_MAX = 4096  # requests that are kept ready to be filled in
_WITH_BODY = ("POST", "PUT", "PATCH")  # these say so, too, where it is empty (RFC 9110, 8.6)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One of the requests of a run: a path and query, as a template; how often, beside others."""

    method: str = "GET"
    target: str = "/"
    weight: int = 1


@dataclass(frozen=True, slots=True)
class HttpRequests:
    """What connections ask for: which of `wanted` is drawn by connection, request and seed."""

    wanted: Sequence[Wanted] = (Wanted(),)
    session: Session = field(default_factory=lambda: Session("http", "localhost"))
    body: Text = ""

    def begin(self, connections: int, seed: int, first: int = 0) -> Drawn:
        """For so many connections, from number `first` on. Raises UsageError for what is no
        template."""
        return Drawn(self, connections, seed, first)


class Drawn:
    """The requests of a run."""

    def __init__(self, asked: HttpRequests, connections: int, seed: int, first: int) -> None:
        self._asked, self._seed = asked, seed
        self._connections, self._first = connections, first
        self._weights = np.cumsum([one.weight for one in asked.wanted]).astype(np.uint64)
        body = asked.body
        if isinstance(body, bytes):  # as text whose braces are doubled, to stand behind the head
            body = body.decode("utf-8", "surrogateescape")
            self._body_text = body.replace("{", "{{").replace("}", "}}")
        else:
            self._body_text = str(with_braces(body))
        self._body = Message(self._body_text, connections, seed, first=first) if body else None
        has_digits = self._body is not None and (self._body.has_n or self._body.has_seq)
        self._size = None if has_digits else self._body.size(0, 0) if self._body else 0
        self._made: dict[tuple[int, int], Message] = {}
        for row in range(len(asked.wanted)):  # each of them has to mean something
            self._message(row, self._size or 0)
        self._is_one = len(asked.wanted) == 1 and self._size is not None
        self._table = None if self._is_one else self._constant()

    def _constant(self) -> Ragged | None:
        """All requests, one behind the other, where there are no places in them."""
        if self._size is None:
            return None
        made = [self._message(row, self._size) for row in range(len(self._asked.wanted))]
        if any(one.has_n or one.has_seq or one.has_random for one in made):
            return None
        return Ragged.of([one.one(0) for one in made])

    def _message(self, row: int, size: int) -> Message:
        """The request of this row, with so many bytes of a body."""
        made = self._made.get((row, size))
        if made is None:
            one, session = self._asked.wanted[row], self._asked.session
            lines = [f"{one.method} {one.target} HTTP/1.1", f"Host: {session.host}"]
            lines += session.fields
            if size or one.method in _WITH_BODY:
                lines.append(f"Content-Length: {size}")
            head = "\r\n".join(lines) + "\r\n\r\n"
            is_one = len(self._asked.wanted) == 1
            text = head + self._body_text
            made = Message(text, self._connections, self._seed, is_kept=is_one, first=self._first)
            if made.has_any:
                raise UsageError(
                    "A request has {any:..}, which only what is expected can have.",
                    "Use {random:N} for letters of any kind.",
                )
            if len(self._made) >= MADE_MAX:
                del self._made[next(iter(self._made))]
            self._made[row, size] = made
        return made

    def pieces(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """Request seqs[i] of connection numbers[i]: n pieces."""
        if self._is_one:
            return self._message(0, self._size or 0).pieces(numbers, seqs)
        rows = self._rows(numbers, seqs)
        if self._table is not None:
            return self._table.take(rows)
        sizes = np.full(len(rows), self._size or 0, np.int64)
        if self._size is None and self._body is not None:
            sizes = self._body.lengths(numbers, seqs).astype(np.int64)
        keys, which = np.unique(np.stack((rows, sizes)), axis=1, return_inverse=True)
        pieces = np.empty(len(rows), object)
        for at, (row, size) in enumerate(keys.T.tolist()):
            own = np.flatnonzero(which.reshape(-1) == at)
            made = self._message(row, size).pieces(numbers[own], seqs[own])
            pieces[own] = made.pieces()
        return Ragged.of(pieces.tolist())

    def _rows(self, numbers: Numbers, seqs: Numbers) -> Numbers:
        """Which of the wanted requests these are."""
        drawn = draws(numbers + self._first, seqs, self._seed) % self._weights[-1]
        rows: Numbers = np.searchsorted(self._weights, drawn, side="right").astype(np.int64)
        return rows
