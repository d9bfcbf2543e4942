"""Records behind the handshake: Python's ssl on the other side, in both roles; a slow reader."""

from __future__ import annotations

from contextlib import closing
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.tls.handoff import HandOff
from c1m.tls.records import Records
from c1m.tls.session import Session
from c1m.tls.suites import SUITES
from tls_pairs import (
    CAPACITY,
    SLOT,
    Handed,
    begun,
    client_context,
    pair,
    read,
    server_context,
    text,
)
from tls_streams import Direction, Maker, SlowReader, cut

SUITE = st.integers(0, len(SUITES) - 1)
SIDE = st.sampled_from(["server", "client"])
SIZES = st.one_of(
    st.integers(1, 100), st.sampled_from([2025, 2026, 2027, 16383, 16384, 16385, 40_000])
)
SEEDS = st.integers(0, 1 << 32)


class Between:
    """An ssl object, and a connection of ours that was handed over, on the other side."""

    def __init__(self, suite: int, side: str, tickets: int, early: bytes, random: Random) -> None:
        """`early`: what ssl says before ours has done its handshake, of which a part comes with the
        end of that."""
        handoff = HandOff(CAPACITY)
        client, server = begun(client_context(suite), server_context(tickets))
        ours, other = (server, client) if side == "server" else (client, server)
        handoff.attach(ours.session.object.context)
        said = client.step(server.step(client.step(b"")))
        if side == "server":
            finished = len(said)
            said += client.session.write(early) if early else b""
            self.heard, self.rest = _halved(random, said, finished)
            ours.step(self.heard)
            other.session.incoming.write(ours.last)  # tickets
        else:
            said = server.step(said) + (server.session.write(early) if early else b"")
            self.heard, self.rest = _halved(random, said, 0)
            ours.session.incoming.write(self.heard)
        self.handed = Handed(ours, handoff)
        self.ssl: Session = other.session
        self.plain = text(self.handed.first.plain)
        self.close = handoff.close

    def to_ours(self, random: Random, data: bytes) -> None:
        """Have ours open these records, in pieces."""
        for piece in cut(random, self.rest + data):
            opened = self.handed.open(piece)
            assert not opened.ended and not opened.eof
            self.plain += text(opened.plain)
        self.rest = b""

    def to_ssl(self, random: Random, data: bytes) -> bytes:
        """Have ssl read these records, in pieces."""
        found = b""
        for piece in cut(random, data):
            found += read(self.ssl, piece)
        return found


def _halved(random: Random, said: bytes, least: int) -> tuple[bytes, bytes]:
    """What comes with the end of the handshake (the first `least` bytes at least), and the rest."""
    at = random.randrange(least, len(said) + 1)
    return said[:at], said[at:]


@settings(deadline=None, max_examples=40)
@given(
    SUITE, SIDE, st.integers(0, 3), st.lists(SIZES, max_size=4), st.lists(SIZES, max_size=6), SEEDS
)
def test_any_split_with_ssl_on_the_other_side(
    suite: int, side: str, tickets: int, early: list[int], sizes: list[int], seed: int
) -> None:
    random = Random(seed)
    first = b"".join([random.randbytes(size) for size in early])
    with closing(Between(suite, side, tickets, first, random)) as between:
        between.to_ours(random, b"")
        assert between.plain == first
        for size in sizes:
            data = random.randbytes(size)
            between.plain = b""
            between.to_ours(random, between.ssl.write(data))
            assert between.plain == data
            if random.random() < 0.3:
                between.handed.records.sweep()
            said = between.handed.seal(data)
            if random.random() < 0.3:
                said += between.handed.records.update_key(SLOT)  # ssl follows without a word
            assert between.to_ssl(random, said) == data
            assert not between.ssl.said()


@settings(deadline=None, max_examples=40)
@given(SUITE, SIDE, SEEDS)
def test_ssl_answers_our_request_for_a_new_key(suite: int, side: str, seed: int) -> None:
    random = Random(seed)
    with closing(Between(suite, side, 1, b"", random)) as between:
        between.to_ours(random, b"")
        for data in (b"one", b"two" * 9999):
            request = between.handed.records.update_key(SLOT, is_requested=True)
            assert between.to_ssl(random, request + between.handed.seal(data)) == data
            between.plain = b""
            between.to_ours(random, between.ssl.said() + between.ssl.write(data))
            assert between.plain == data


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("suite", range(len(SUITES)))
def test_close_notify_of_either(suite: int, side: str) -> None:
    for is_ours_first in (True, False):
        with closing(Between(suite, side, 2, b"", Random(1))) as between:
            between.to_ours(Random(1), b"")
            if is_ours_first:
                assert between.to_ssl(Random(2), between.handed.records.close_notify(SLOT)) == b""
                assert between.ssl.is_eof
            opened = between.handed.open(between.ssl.close_notify())
            assert opened.eof == [SLOT] and not opened.ended


# --- streams that are made here -------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(SUITE, st.booleans(), st.lists(st.tuples(SIZES, st.integers(0, 300)), max_size=5), SEEDS)
def test_our_records_are_what_the_slow_reader_reads(
    suite: int, is_client: bool, sizes: list[tuple[int, int]], seed: int
) -> None:
    random, (client, server) = Random(seed), pair(suite, records_max=4)
    ours, theirs = (client, server) if is_client else (server, client)
    secret, _ = ours.export(SLOT)[1]
    pieces = [random.randbytes(size) for size, _ in sizes]
    said = b"".join([ours.seal_many([SLOT], [piece]).piece(0) for piece in pieces])
    said += ours.close_notify(SLOT)
    read = SlowReader(Direction(suite, secret), not is_client).read(said)
    assert read.plain == b"".join(pieces) and read.is_eof
    opened = [theirs.open_many([(SLOT, piece)]) for piece in cut(random, said)]
    assert b"".join([text(each.plain) for each in opened]) == read.plain


@settings(deadline=None, max_examples=40)
@given(SUITE, st.lists(st.tuples(st.integers(0, 100), st.integers(0, 300)), max_size=9), SEEDS)
def test_padded_records_are_read(suite: int, sizes: list[tuple[int, int]], seed: int) -> None:
    random = Random(seed)
    secret = random.randbytes(SUITES[suite].secret_size)
    maker, ours = Maker(suite, secret), Records(CAPACITY)
    ours.take_over(SLOT, suite, secret, bytes(len(secret)))
    pieces = [random.randbytes(size) for size, _ in sizes]
    said = [maker.data(piece, zeros) for piece, (_, zeros) in zip(pieces, sizes, strict=True)]
    found = [ours.open_many([(SLOT, piece)]) for piece in cut(random, b"".join(said))]
    assert b"".join([text(each.plain) for each in found]) == b"".join(pieces)
