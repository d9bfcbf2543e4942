"""Records of TLS 1.3 as anybody may make them, and conversations of two of ours.

What a stream says must be what the plain reader (tls_streams.SlowReader) finds in it, however it is
cut; no byte of plain text that was not sealed by the peer, in order, may come out of a changed one.
"""

from __future__ import annotations

from random import Random

from c1m.tls.messages import TICKET_MAX
from c1m.tls.reasons import ALERT, OUR_ALERT
from c1m.tls.records import Records
from c1m.tls.suites import SUITES
from tls_streams import ALERT_TYPE, HANDSHAKE, PLAIN_MAX, Direction, Maker, SlowReader, cut, ticket

CAPACITY = 4
UPDATE = b"\x18\0\0\x01\0"  # a KeyUpdate
SIZES = (0, 1, 2, 15, 16, 17, 64, 255, 256, 1000, 2025, 2026, 2027)


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    return _read_somebody(random) if random.random() < 0.7 else _converse(random)


# --- what anybody may say -------------------------------------------------------------------------


def _read_somebody(random: Random) -> int:
    suite, is_client = random.randrange(len(SUITES)), random.random() < 0.5
    size = SUITES[suite].secret_size
    secret, ours = random.randbytes(size), random.randbytes(size)
    maker = Maker(suite, secret)
    meant: list[bytes] = []
    records = [_record(random, maker, meant, is_client) for _ in range(random.randrange(1, 12))]
    stream = b"".join(_disturbed(random, records))
    wanted = SlowReader(Direction(suite, secret), is_client).read(stream)
    assert b"".join(meant).startswith(wanted.plain), "plain text that nobody has sealed"
    records_of_ours, slot = Records(CAPACITY), random.randrange(CAPACITY)
    records_of_ours.take_over(slot, suite, secret, ours, is_client=is_client)
    plain, replies, reason, is_eof = b"", [], 0, False
    for piece in cut(random, stream):
        opened = records_of_ours.open_many([(slot, each) for each in cut(random, piece, 3)])
        plain += b"".join([each for _, each in opened.plain])
        replies += [reply for _, reply in opened.replies]
        assert not (reason or is_eof) or not (opened.plain or opened.ended or opened.eof)
        reason = opened.ended[0][1] if opened.ended else reason
        is_eof |= bool(opened.eof)
        if random.random() < 0.2:
            records_of_ours.sweep()
    assert plain == wanted.plain
    assert (reason, is_eof) == (wanted.reason, wanted.is_eof)
    _check_replies(suite, ours, replies, wanted.is_asked, reason, is_client)
    return len(stream)


def _check_replies(
    suite: int, secret: bytes, replies: list[bytes], is_asked: bool, reason: int, is_client: bool
) -> None:
    """They are KeyUpdates, where they were asked for, and the alert at the end."""
    got = SlowReader(Direction(suite, secret), not is_client).read(b"".join(replies))
    is_ours = OUR_ALERT <= reason < OUR_ALERT + 256
    assert not got.plain and not got.is_eof and not got.is_asked
    assert got.reason == (reason - OUR_ALERT + ALERT if is_ours else 0)
    if not reason:
        assert bool(replies) == is_asked


def _record(random: Random, maker: Maker, meant: list[bytes], is_client: bool) -> bytes:
    kind = random.random()
    zeros = random.choice(SIZES) if random.random() < 0.2 else 0
    if kind < 0.5:
        size = random.choice(SIZES) if random.random() < 0.95 else PLAIN_MAX - random.randrange(2)
        meant.append(random.randbytes(size))
        return maker.data(meant[-1], min(zeros, PLAIN_MAX - size))
    if kind < 0.65:
        return maker.key_update(random.randrange(2))
    if kind < 0.8:
        return _messages(random, maker, zeros, is_client)
    if kind < 0.85:
        content = random.choice((b"\x01\0", b"\x01\x5a", b"\x02\x28", b"", b"\x01", b"\x01\0\0"))
        return maker.record(ALERT_TYPE, content, zeros)
    if kind < 0.9:
        return b"".join([maker.data(b"") for _ in range(random.choice((1, 31, 32, 33)))])
    if kind < 0.95:
        other = random.choice((1, 20, 24, 25, 255))
        return maker.record(other, random.randbytes(random.randrange(9)), zeros)
    return maker.inner(bytes(random.choice(SIZES)))


def _messages(random: Random, maker: Maker, zeros: int, is_client: bool) -> bytes:
    choices = [UPDATE, b"\x18\0\0\x01\x02", b"\x18\0\0\x02\0\0", b"\x0d\0\0\0", b""]
    weights = [1, 1, 1, 1, 1]
    if is_client:
        choices += [
            ticket(random.choice(SIZES)),
            ticket(7, b"abcd"),
            ticket()[:-1],
            ticket() + b"x",
        ]
        choices.append(b"\x04" + random.choice((TICKET_MAX, TICKET_MAX + 1)).to_bytes(3, "big"))
        weights += [30, 10, 1, 1, 1]
    text = b"".join(random.choices(choices, weights, k=random.randrange(1, 4)))
    said, records = b"", []
    for part in filter(None, cut(random, text, 4)):
        records.append(maker.record(HANDSHAKE, part, zeros))
        said += part
        if said.endswith(UPDATE):  # else its next KeyUpdate would be to keys that are in use
            maker.update()
    return b"".join(records)


def _disturbed(random: Random, records: list[bytes]) -> list[bytes]:
    """Most often as they are; else one is changed, left out, doubled or comes elsewhere."""
    if random.random() < 0.6:
        return records
    at = random.randrange(len(records))
    kind = random.randrange(5)
    if kind == 0 and records[at]:
        changed = bytearray(records[at])
        changed[random.randrange(min(len(changed), random.choice((5, 1 << 20))))] ^= (
            1 << random.randrange(8)
        )
        return [*records[:at], bytes(changed), *records[at + 1 :]]
    if kind == 1:
        return records[:at] + records[at + 1 :]
    if kind == 2:
        return [*records[:at], records[at], *records[at:]]
    if kind == 3:
        return random.sample(records, len(records))
    return [*records[:at], random.randbytes(random.randrange(40)), *records[at:]]


# --- conversations --------------------------------------------------------------------------------


class _End:
    """One of the two: what it has said, and what of that is still under way."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.said: dict[int, bytes] = {}
        self.heard: dict[int, bytes] = {}
        self.under_way: dict[int, bytes] = {}
        self.is_closed: set[int] = set()

    def send(self, slot: int, data: bytes) -> None:
        """Bytes of records go out."""
        self.under_way[slot] = self.under_way.get(slot, b"") + data

    def note(self, slot: int, data: bytes) -> None:
        """This plain text was given to it."""
        if slot not in self.is_closed:
            self.said[slot] = self.said.get(slot, b"") + data


def _converse(random: Random) -> int:
    """Several connections of two ends: all that is said is heard, in order, and nothing else."""
    most = random.choice((1, 2, 3, 10, 1 << 62))
    ends = [_End(Records(CAPACITY, records_max=most)) for _ in range(2)]
    slots = random.sample(range(CAPACITY), random.randrange(1, CAPACITY + 1))
    for slot in slots:
        suite = random.randrange(len(SUITES))
        one, other = (random.randbytes(SUITES[suite].secret_size) for _ in range(2))
        ends[0].records.take_over(slot, suite, one, other, is_client=True)
        ends[1].records.take_over(slot, suite, other, one)
    size = 0
    for _ in range(random.randrange(1, 30)):
        mine, theirs = random.sample(ends, 2)
        size += _act(random, mine, random.choices(slots, k=random.randrange(1, 6)))
        _deliver(random, mine, theirs, slots, is_all=False)
    for mine, theirs in ((ends[0], ends[1]), (ends[1], ends[0]), (ends[0], ends[1])):
        _deliver(random, mine, theirs, slots, is_all=True)
    for mine, theirs in ((ends[0], ends[1]), (ends[1], ends[0])):
        for slot in slots:
            assert theirs.heard.get(slot, b"") == mine.said.get(slot, b"")
            assert theirs.records.is_heard(slot) == (slot in mine.is_closed)
        assert not any(mine.under_way.values())
    return size


def _act(random: Random, mine: _End, slots: list[int]) -> int:
    records, kind = mine.records, random.random()
    if kind < 0.6:
        pieces = [random.randbytes(random.choice(SIZES)) for _ in slots]
        if random.random() < 0.03:
            pieces[0] = random.randbytes(random.randrange(70_000))
        sealed = records.seal_many(slots, pieces)
        sealed.check()
        for slot, piece, out in zip(slots, pieces, sealed.pieces(), strict=True):
            mine.note(slot, piece)
            mine.send(slot, out)
        return sum(map(len, pieces))
    if kind < 0.8:
        mine.send(slots[0], records.update_key(slots[0], is_requested=random.random() < 0.5))
    elif kind < 0.82:
        mine.send(slots[0], records.close_notify(slots[0]))
        mine.is_closed.add(slots[0])
    elif kind < 0.95:
        records.sweep()
    else:
        piece = random.randbytes(random.choice(SIZES))
        mine.note(slots[0], piece)
        mine.send(slots[0], records.seal(slots[0], piece))
    return 1


def _deliver(random: Random, mine: _End, theirs: _End, slots: list[int], *, is_all: bool) -> None:
    came = []
    for slot in slots:
        data = mine.under_way.get(slot, b"")
        end = len(data) if is_all or random.random() < 0.5 else random.randrange(len(data) + 1)
        came += [(slot, piece) for piece in cut(random, data[:end], 5)]
        mine.under_way[slot] = data[end:]
    opened = theirs.records.open_many(came)
    assert not opened.ended, opened.ended
    for slot, piece in opened.plain:
        theirs.heard[slot] = theirs.heard.get(slot, b"") + piece
    for slot, reply in opened.replies:
        theirs.send(slot, reply)
