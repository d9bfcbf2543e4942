"""Records behind the handshake: ours against ours, and against records that are made here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from c1m.tls.keys import SEQUENCE_MAX
from c1m.tls.messages import TICKET_MAX, key_update
from c1m.tls.reasons import ALERT, OUR_ALERT, Alert
from c1m.tls.records import (
    ALERT_TYPE,
    CHANGE_CIPHER_SPEC,
    CIPHERED_MAX,
    DATA,
    HANDSHAKE,
    IDLE_MAX,
    PLAIN_MAX,
    TICK_NS,
    Opened,
    Records,
)
from c1m.tls.suites import SUITES, TAG_SIZE, cipher_of
from tls_pairs import CAPACITY, SLOT, pair, text

SUITE = 0
OURS, THEIRS = bytes(range(48)), bytes(range(1, 49))


class Ends(NamedTuple):
    """What came, as far as it ends or replies."""

    plain: bytes
    replies: int
    eof: bool
    ended: int


def ends(opened: Opened) -> Ends:
    """Of the one slot."""
    assert all(slot == SLOT for slot, _ in [*opened.plain, *opened.replies, *opened.ended])
    ended = opened.ended[0][1] if opened.ended else 0
    return Ends(text(opened.plain), len(opened.replies), opened.eof == [SLOT], ended)


class Peer:
    """Makes the records of a peer, right ones and wrong ones, and reads what it gets."""

    def __init__(self, suite: int = SUITE, *, is_client: bool = True) -> None:
        self.suite = SUITES[suite]
        size = self.suite.secret_size
        self.records = Records(CAPACITY)
        self.records.take_over(SLOT, suite, THEIRS[:size], OURS[:size], is_client=not is_client)
        self.aead, self.iv = cipher_of(self.suite, THEIRS[:size])
        self.count = 0
        self._reads = Records(CAPACITY)
        self._reads.take_over(SLOT, suite, OURS[:size], THEIRS[:size], is_client=is_client)

    def inner(self, inner: bytes, version: bytes = b"\x03\x03", kind: int = DATA) -> bytes:
        """A record with this inside."""
        head = bytes((kind,)) + version + (len(inner) + TAG_SIZE).to_bytes(2, "big")
        nonce = (self.iv ^ self.count).to_bytes(12, "big")
        self.count += 1
        return head + self.aead.encrypt(nonce, inner, head)

    def record(self, kind: int, content: bytes, zeros: int = 0) -> bytes:
        """A record of this type."""
        return self.inner(content + bytes((kind,)) + bytes(zeros))

    def data(self, content: bytes, zeros: int = 0) -> bytes:
        """A record of data."""
        return self.record(DATA, content, zeros)

    def say(self, *records: bytes) -> Ends:
        """Have ours read these at once."""
        return ends(self.open(*records))

    def open(self, *records: bytes) -> Opened:
        """Have ours read these at once."""
        return self.records.open_many([(SLOT, b"".join(records))])

    def check_refused(self, alert: int, *records: bytes) -> None:
        """The last of these ends it, and we say why; whatever comes and goes then is nothing."""
        opened = self.open(*records)
        assert opened.ended == [(SLOT, OUR_ALERT + alert)]
        assert not opened.eof
        answer = self._reads.open_many(opened.replies)
        assert answer.ended == [(SLOT, ALERT + alert)]
        assert self.records.is_heard(SLOT)
        assert self.records.seal(SLOT, b"late") == b""
        assert self.records.close_notify(SLOT) == b""
        assert self.say(self.data(b"late")) == Ends(b"", 0, False, 0)


@pytest.fixture
def peer() -> Peer:
    """A client's, so that ours are a server's."""
    return Peer()


@pytest.fixture
def server() -> Peer:
    """A server's, so that ours are a client's."""
    return Peer(is_client=False)


# --- data -----------------------------------------------------------------------------------------

SIZES = [1, 2, 63, 64, 1024, 2025, 2026, 2027, PLAIN_MAX - 1, PLAIN_MAX, PLAIN_MAX + 1, 100_000]


@pytest.mark.parametrize("suite", range(len(SUITES)))
def test_both_ways(suite: int) -> None:
    client, server = pair(suite)
    for size in SIZES:
        data = bytes(np.arange(size, dtype=np.uint32).astype(np.uint8))
        for one, other in ((client, server), (server, client)):
            said = one.seal(SLOT, data)
            assert len(said) == size + 22 * -(-size // PLAIN_MAX)
            assert ends(other.open_many([(SLOT, said)])) == Ends(data, 0, False, 0)


@pytest.mark.parametrize("suite", range(len(SUITES)))
def test_many_at_once_are_the_same_as_one_by_one(suite: int) -> None:
    slots = [0, 3, 0, 5, 3, 0, 7, 1]
    pieces = [b"a", b"", b"bc" * 20_000, b"d" * PLAIN_MAX, b"e" * 2027, b"f" * 2026, b"", b"g" * 90]
    ours, theirs, other = Records(CAPACITY), Records(CAPACITY), Records(CAPACITY)
    size = SUITES[suite].secret_size
    for slot in set(slots):
        ours.take_over(slot, suite, bytes(size), OURS[slot:][:size] + bytes(slot))
        other.take_over(slot, suite, bytes(size), OURS[slot:][:size] + bytes(slot))
        theirs.take_over(slot, suite, OURS[slot:][:size] + bytes(slot), bytes(size), is_client=True)
    found = ours.seal_many(slots, pieces)
    found.check()
    assert found.pieces() == [other.seal(*row) for row in zip(slots, pieces, strict=True)]
    came = list(zip(slots, found.pieces(), strict=True))
    opened = theirs.open_many(came)
    for slot in set(slots):
        of_slot = [piece for whose, piece in opened.plain if whose == slot]
        sent = [piece for whose, piece in zip(slots, pieces, strict=True) if whose == slot]
        assert b"".join(of_slot) == b"".join(sent)
    assert not opened.replies and not opened.eof and not opened.ended


def test_nothing_is_no_record() -> None:
    client, _ = pair()
    assert client.seal(SLOT, b"") == b""
    assert client.seal_many([], []).pieces() == []
    assert client.seal_many([SLOT], [b""]).pieces() == [b""]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 22, 23, 100])
def test_records_come_in_any_pieces(peer: Peer, size: int) -> None:
    stream = b"".join([peer.data(bytes((i,)) * i) for i in range(1, 30)])
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = b"".join([peer.say(part).plain for part in parts])
    assert found == b"".join([bytes((i,)) * i for i in range(1, 30)])
    assert not peer.records._odd, "something is kept of what is done"


def test_padding_is_taken_off(peer: Peer) -> None:
    assert peer.say(peer.data(b"a", 1), peer.data(b"b", 3000), peer.data(b"c\0\0", 2)) == Ends(
        b"abc\0\0", 0, False, 0
    )
    assert peer.say(peer.data(b"d", PLAIN_MAX - 1)).plain == b"d"
    assert peer.say(peer.data(bytes(PLAIN_MAX))).plain == bytes(PLAIN_MAX)


def test_a_type_behind_which_there_is_only_padding(peer: Peer) -> None:
    assert peer.say(peer.data(b"", PLAIN_MAX)) == Ends(b"", 0, False, 0)


def test_empty_records_are_allowed_and_bounded(peer: Peer) -> None:
    for _ in range(3):
        assert peer.say(*[peer.data(b"", zeros % 2) for zeros in range(IDLE_MAX)]).ended == 0
        assert peer.say(peer.data(b"x")).plain == b"x"
    assert not peer.records._odd
    peer.say(*[peer.data(b"") for _ in range(IDLE_MAX)])
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.data(b""))


# --- what is wrong with a record ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, CHANGE_CIPHER_SPEC, ALERT_TYPE, HANDSHAKE, 24, 255])
def test_records_that_are_not_protected(peer: Peer, kind: int) -> None:
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, bytes((kind, 3, 3, 0, 1, 1)))


def test_a_wrong_type_is_seen_at_once(peer: Peer) -> None:
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.data(b"a"), b"\x14")


@pytest.mark.parametrize("start", [b"\x17\x02", b"\x17\x03\x01", b"\x17\x03\x04", b"\x17\xff\xff"])
def test_another_version(peer: Peer, start: bytes) -> None:
    peer.check_refused(Alert.PROTOCOL_VERSION, start)


def test_a_record_that_is_too_long(peer: Peer) -> None:
    head = b"\x17\x03\x03" + (CIPHERED_MAX + 1).to_bytes(2, "big")
    peer.check_refused(Alert.RECORD_OVERFLOW, head)


def test_one_of_the_most_that_is_allowed_and_cannot_be_opened(peer: Peer) -> None:
    peer.check_refused(
        Alert.BAD_RECORD_MAC, b"\x17\x03\x03" + CIPHERED_MAX.to_bytes(2, "big"), bytes(CIPHERED_MAX)
    )


@pytest.mark.parametrize("zeros", [0, 1, 100, 255 - TAG_SIZE])
def test_too_much_inside(peer: Peer, zeros: int) -> None:
    """TLSInnerPlaintext is 2^14 + 1 bytes at most, padding included (RFC 8446, 5.4)."""
    size = PLAIN_MAX + 1 if not zeros else PLAIN_MAX
    peer.check_refused(Alert.RECORD_OVERFLOW, peer.data(bytes(size), zeros))


@pytest.mark.parametrize("size", [*range(TAG_SIZE + 1), TAG_SIZE + 1, 100])
def test_what_cannot_be_opened(peer: Peer, size: int) -> None:
    peer.check_refused(Alert.BAD_RECORD_MAC, b"\x17\x03\x03\0" + bytes((size,)) + bytes(size))


def test_any_changed_bit(peer: Peer) -> None:
    record = peer.data(b"secret")
    for place in range(8 * len(record)):
        other = Peer()
        changed = bytearray(record)
        changed[place // 8] ^= 1 << place % 8
        opened = other.open(bytes(changed))
        assert not opened.plain and not opened.eof
        if not opened.ended:  # it says that it is longer, so the rest is waited for
            assert place // 8 in (3, 4)
            assert not other.open(bytes(70_000)).plain


def test_records_in_another_order(peer: Peer) -> None:
    first, second = peer.data(b"1"), peer.data(b"2")
    peer.check_refused(Alert.BAD_RECORD_MAC, second, first)


def test_the_same_record_twice(peer: Peer) -> None:
    record = peer.data(b"1")
    assert peer.say(record).plain == b"1"
    peer.check_refused(Alert.BAD_RECORD_MAC, record)


@pytest.mark.parametrize("zeros", [1, 2, 5000])
def test_nothing_but_padding(peer: Peer, zeros: int) -> None:
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.inner(bytes(zeros)))


def test_nothing_at_all_inside(peer: Peer) -> None:
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.inner(b""))


@pytest.mark.parametrize("kind", [1, 19, CHANGE_CIPHER_SPEC, 24, 255])
def test_types_that_may_not_be_inside(peer: Peer, kind: int) -> None:
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.record(kind, b"\x01"))


def test_what_came_before_a_bad_record_is_kept(peer: Peer) -> None:
    opened = peer.open(peer.data(b"good"), bytes(50))
    assert ends(opened) == Ends(b"good", 1, False, OUR_ALERT + Alert.UNEXPECTED_MESSAGE)


# --- alerts ---------------------------------------------------------------------------------------


def test_close_notify_both_ways(peer: Peer) -> None:
    opened = peer.open(peer.data(b"last"), peer.record(ALERT_TYPE, b"\x01\0"), peer.data(b"more"))
    assert ends(opened) == Ends(b"last", 0, True, 0)
    assert peer.records.is_heard(SLOT)
    assert peer.say(peer.data(b"late"), b"rubbish") == Ends(b"", 0, False, 0)
    client, server = pair()
    said = client.seal(SLOT, b"a") + client.close_notify(SLOT)
    assert client.close_notify(SLOT) == b"" and client.seal(SLOT, b"late") == b""
    assert client.seal_many([SLOT], [b"late"]).pieces() == [b""]
    assert client.update_key(SLOT) == b""
    assert ends(server.open_many([(SLOT, said)])) == Ends(b"a", 0, True, 0)
    answer = server.seal(SLOT, b"still") + server.close_notify(SLOT)  # half-closed
    assert ends(client.open_many([(SLOT, answer)])) == Ends(b"still", 0, True, 0)


@pytest.mark.parametrize("level", [0, 1, 2, 77])
@pytest.mark.parametrize("alert", [10, 20, 40, 42, 80, 109, 255])
def test_any_other_alert_is_an_error_whatever_its_level(peer: Peer, level: int, alert: int) -> None:
    records = peer.data(b"a"), peer.record(ALERT_TYPE, bytes((level, alert))), peer.data(b"b")
    assert peer.say(*records) == Ends(b"a", 0, False, ALERT + alert)
    assert peer.records.seal(SLOT, b"late") == b"" and peer.records.close_notify(SLOT) == b""
    assert peer.say(peer.data(b"late")) == Ends(b"", 0, False, 0)


def test_user_canceled_is_followed_by_something(peer: Peer) -> None:
    canceled = peer.record(ALERT_TYPE, b"\x01\x5a")
    assert peer.say(canceled, peer.record(ALERT_TYPE, b"\x01\0")) == Ends(b"", 0, True, 0)


def test_user_canceled_again_and_again(peer: Peer) -> None:
    peer.say(*[peer.record(ALERT_TYPE, b"\x02\x5a") for _ in range(IDLE_MAX)])
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.record(ALERT_TYPE, b"\x01\x5a"))


@pytest.mark.parametrize("content", [b"\x01", b"\x01\0\x01\0", b"\x01\0\0"])
def test_alerts_that_are_none(peer: Peer, content: bytes) -> None:
    peer.check_refused(Alert.DECODE_ERROR, peer.record(ALERT_TYPE, content))


@pytest.mark.parametrize("kind", [ALERT_TYPE, HANDSHAKE])
@pytest.mark.parametrize("zeros", [0, 9])
def test_alerts_and_messages_may_not_be_empty(peer: Peer, kind: int, zeros: int) -> None:
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.record(kind, b"", zeros))


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_requested", [False, True])
@pytest.mark.parametrize("suite", range(len(SUITES)))
def test_a_new_key(suite: int, is_requested: bool) -> None:
    client, server = pair(suite)
    for turn in range(5):
        one, other = (client, server) if turn % 2 else (server, client)
        said = one.seal(SLOT, b"a") + one.update_key(SLOT, is_requested=is_requested)
        opened = other.open_many([(SLOT, said + one.seal(SLOT, b"b"))])
        assert ends(opened) == Ends(b"ab", is_requested, False, 0)
        answer = b"".join([reply for _, reply in opened.replies]) + other.seal(SLOT, b"c")
        assert ends(one.open_many([(SLOT, answer)])) == Ends(b"c", 0, False, 0)
    assert not client._odd and not server._odd


def test_several_requests_have_one_answer() -> None:
    client, server = pair()
    said = b"".join([client.update_key(SLOT, is_requested=True) for _ in range(7)])
    opened = server.open_many([(SLOT, said + client.seal(SLOT, b"x"))])
    assert ends(opened) == Ends(b"x", 1, False, 0)
    assert ends(client.open_many(opened.replies)) == Ends(b"", 0, False, 0)
    assert text(client.open_many([(SLOT, server.seal(SLOT, b"y"))]).plain) == b"y"


def test_a_request_is_answered_whatever_comes_behind_it() -> None:
    client, server = pair()
    said = client.update_key(SLOT, is_requested=True) + client.update_key(SLOT)
    assert ends(server.open_many([(SLOT, said)])) == Ends(b"", 1, False, 0)


def test_requests_that_cross() -> None:
    client, server = pair()
    from_client = client.update_key(SLOT, is_requested=True)
    from_server = server.update_key(SLOT, is_requested=True)
    to_client = server.open_many([(SLOT, from_client)]).replies
    to_server = client.open_many([(SLOT, from_server)]).replies
    assert not client.open_many(to_client).replies
    assert not server.open_many(to_server).replies
    assert text(server.open_many([(SLOT, client.seal(SLOT, b"a"))]).plain) == b"a"
    assert text(client.open_many([(SLOT, server.seal(SLOT, b"b"))]).plain) == b"b"


def test_a_request_behind_our_close_notify_has_no_answer() -> None:
    client, server = pair()
    server.close_notify(SLOT)
    opened = server.open_many([(SLOT, client.update_key(SLOT, is_requested=True))])
    assert ends(opened) == Ends(b"", 0, False, 0)
    assert text(server.open_many([(SLOT, client.seal(SLOT, b"a"))]).plain) == b"a"


def test_a_flood_of_new_keys() -> None:
    client, server = pair()
    for _ in range(3):
        for _ in range(IDLE_MAX):
            assert not server.open_many([(SLOT, client.update_key(SLOT))]).ended
        assert text(server.open_many([(SLOT, client.seal(SLOT, b"a"))]).plain) == b"a"
    said = b"".join([client.update_key(SLOT) for _ in range(IDLE_MAX + 1)])
    assert ends(server.open_many([(SLOT, said)])).ended == OUR_ALERT + Alert.UNEXPECTED_MESSAGE


@pytest.mark.parametrize("suite", range(len(SUITES)))
def test_no_key_is_used_for_more_than_it_may(suite: int) -> None:
    client, server = pair(suite, records_max=3)
    size = 0
    for turn in range(20):
        said = client.seal_many([SLOT], [b"a" * 100]).piece(0)
        size += len(said)
        assert ends(server.open_many([(SLOT, said)])) == Ends(b"a" * 100, 0, False, 0), turn
    # Three records of data under a key, then the KeyUpdate as its last.
    assert size == 20 * 122 + 6 * (22 + 5)
    long = client.seal(SLOT, bytes(10 * PLAIN_MAX))
    assert ends(server.open_many([(SLOT, long)])).plain == bytes(10 * PLAIN_MAX)
    client.sweep()
    assert ends(server.open_many([(SLOT, client.close_notify(SLOT))])).eof


def test_the_limits_of_the_suites() -> None:
    assert [suite.records_max for suite in SUITES] == [1 << 24, 1 << 24, 1 << 62]
    ours = Records(CAPACITY)
    ours.take_over(SLOT, 0, OURS[:32], THEIRS[:32], written=(1 << 24) - 1)
    assert len(ours.seal(SLOT, b"a")) == 23
    assert len(ours.seal(SLOT, b"a")) == 23 + 27


def test_no_count_is_too_high() -> None:
    ours = Records(CAPACITY)
    peer = Peer(2)
    peer.records.take_over(SLOT, 2, THEIRS[:32], OURS[:32], read=SEQUENCE_MAX - 1)
    peer.count = SEQUENCE_MAX - 1
    assert peer.say(peer.data(b"a")).plain == b"a"
    peer.check_refused(Alert.INTERNAL_ERROR, peer.data(b"a"))
    assert ours.tick(0) == -1


# --- messages behind the handshake ----------------------------------------------------------------


def ticket(size: int = 50, extensions: bytes = b"", lifetime: int = 7200) -> bytes:
    body = lifetime.to_bytes(4, "big") + bytes(4) + b"\x08" + bytes(8)
    body += size.to_bytes(2, "big") + bytes(size)
    body += len(extensions).to_bytes(2, "big") + extensions
    return b"\x04" + len(body).to_bytes(3, "big") + body


def test_tickets_are_skipped(server: Peer) -> None:
    message = ticket() + ticket(1, b"\0\x2a\0\x04\0\0\0\0") + ticket(65535)
    parts = [message[at : at + 16_000] for at in range(0, len(message), 16_000)]
    records = [server.data(b"a"), *[server.record(HANDSHAKE, part, 1) for part in parts]]
    assert server.say(*records, server.data(b"b")) == Ends(b"ab", 0, False, 0)
    assert not server.records._odd


@pytest.mark.parametrize("size", [1, 3, 4, 5, 50])
def test_messages_may_be_split(server: Peer, size: int) -> None:
    message = ticket() + ticket() + key_update(is_requested=True)
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    opened = [server.open(server.record(HANDSHAKE, part)) for part in parts]
    assert [len(each.replies) for each in opened] == [0] * (len(parts) - 1) + [1]
    assert not any(each.ended for each in opened)


def test_a_great_many_tickets(server: Peer) -> None:
    assert server.say(*[server.record(HANDSHAKE, ticket()) for _ in range(300)]).ended == 0


def test_messages_may_not_be_interrupted_by_data(server: Peer) -> None:
    assert server.say(server.record(HANDSHAKE, ticket()[:20])).ended == 0
    server.check_refused(Alert.UNEXPECTED_MESSAGE, server.data(b"a"))


def test_nor_by_empty_data(server: Peer) -> None:
    server.say(server.record(HANDSHAKE, ticket()[:1]))
    server.check_refused(Alert.UNEXPECTED_MESSAGE, server.data(b""))


def test_an_alert_may_come_within_a_message(server: Peer) -> None:
    server.say(server.record(HANDSHAKE, ticket()[:20]))
    assert server.say(server.record(ALERT_TYPE, b"\x02\x50")).ended == ALERT + 80


def test_a_new_key_ends_its_record(server: Peer) -> None:
    """Messages do not go over a change of keys (RFC 8446, 5.1)."""
    server.check_refused(
        Alert.UNEXPECTED_MESSAGE,
        server.record(HANDSHAKE, key_update(is_requested=False) + ticket()),
    )


def test_two_new_keys_in_one_record(peer: Peer) -> None:
    message = key_update(is_requested=False) * 2
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.record(HANDSHAKE, message))


def test_a_new_key_of_something_unknown(peer: Peer) -> None:
    peer.check_refused(Alert.ILLEGAL_PARAMETER, peer.record(HANDSHAKE, b"\x18\0\0\x01\x02"))


@pytest.mark.parametrize("message", [b"\x18\0\0\0", b"\x18\0\0\x02\0\0", b"\x18\0\x01\0"])
def test_a_new_key_of_a_wrong_length(peer: Peer, message: bytes) -> None:
    peer.check_refused(Alert.DECODE_ERROR, peer.record(HANDSHAKE, message))


@pytest.mark.parametrize("kind", [0, 1, 2, 5, 8, 11, 13, 15, 20, 254, 255])
def test_other_messages_may_not_come(server: Peer, kind: int) -> None:
    """A CertificateRequest (13) among them, for we have not said that we would answer (4.6.2)."""
    server.check_refused(Alert.UNEXPECTED_MESSAGE, server.record(HANDSHAKE, bytes((kind,))))


def test_a_server_takes_no_tickets(peer: Peer) -> None:
    peer.check_refused(Alert.UNEXPECTED_MESSAGE, peer.record(HANDSHAKE, ticket()))


@pytest.mark.parametrize(
    "message",
    [
        ticket(0),
        b"\x04" + (TICKET_MAX + 1).to_bytes(3, "big"),
        b"\x04\0\0\0",
        b"\x04\0\0\x0c" + bytes(12),
        b"\x04\0\0\x0e" + bytes(8) + b"\x01\0\0\x01\0\0",
        b"\x04\0\0\x0f" + bytes(8) + b"\0\0\x01x\0\0\0",
        b"\x04\0\0\x0e" + bytes(8) + b"\0\0\x01x\0\x01",
    ],
)
def test_tickets_that_are_none(server: Peer, message: bytes) -> None:
    server.check_refused(Alert.DECODE_ERROR, server.record(HANDSHAKE, message))


# --- what is kept ---------------------------------------------------------------------------------


def test_keys_go_when_nothing_is_said() -> None:
    client, server = pair()
    assert client.tick(0) == -1, "there are keys of a connection that was never used"
    for round_ns in (0, 10 * TICK_NS):
        said = client.seal(SLOT, b"a")
        assert text(server.open_many([(SLOT, said)]).plain) == b"a"
        client.tick(round_ns)
        assert client.seal(SLOT, b"b")
        assert client.tick(round_ns + TICK_NS) == TICK_NS
        assert len(client._writing) == 1, "a key was dropped while it was used"
        assert client.tick(round_ns + 2 * TICK_NS) == -1
        assert len(client._writing) == 0 == len(client._reading)
        client, server = pair()


def test_a_key_that_was_dropped_comes_back_with_its_count() -> None:
    client, server = pair()
    for turn in range(12):
        for _ in range(turn % 3):
            client.sweep()  # and the server goes on with its own
        if turn % 4 == 3:
            said = client.update_key(SLOT) + client.seal(SLOT, b"c")
            assert text(server.open_many([(SLOT, said)]).plain) == b"c"
        for one, other in ((client, server), (server, client)):
            said = one.seal(SLOT, b"a" * turn + b"b")
            assert text(other.open_many([(SLOT, said)]).plain) == b"a" * turn + b"b"


@pytest.mark.parametrize("as_array", [False, True])
def test_nothing_is_left_of_one_that_ended(as_array: bool) -> None:
    client, server = pair()
    server.open_many([(SLOT, client.seal(SLOT, b"a") + client.seal(SLOT, b"b")[:9])])
    server.seal(SLOT, b"x")
    server.close_notify(SLOT)
    server.forget(np.array([SLOT], np.int32) if as_array else SLOT)
    for keys in (server._reading, server._writing):
        assert not keys._secrets.any() and not keys._counts.any() and not len(keys)
    assert not server._odd


def test_nothing_is_left_at_the_end() -> None:
    client, _ = pair()
    client.seal(SLOT, b"a")
    client.forget_all()
    for keys in (client._reading, client._writing):
        assert not keys._secrets.any() and not len(keys)


def test_nothing_is_left_of_a_key_behind_the_next(peer: Peer) -> None:
    secret = peer.records._writing._secrets[SLOT].copy()
    peer.records.update_key(SLOT)
    assert (peer.records._writing._secrets[SLOT] != secret).sum() > 20
    assert len(peer.records._writing) == 0


def test_nothing_of_keys_is_shown(peer: Peer) -> None:
    peer.say(peer.data(b"a"))
    peer.records.seal(SLOT, b"b")
    shown = repr(peer.records) + repr(vars(peer.records)["_writing"])
    shown += repr(list(peer.records._reading.young.values()))
    for secret in (OURS[:32], THEIRS[:32]):
        assert str(secret)[2:-1] not in shown and secret.hex() not in shown
    assert str(peer.iv) not in shown
