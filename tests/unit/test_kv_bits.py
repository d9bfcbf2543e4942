"""Commands on the bits of strings, against forms that look at one bit after the other."""

from __future__ import annotations

import random

import pytest

from kv_session import Refused, Session

WRONG_TYPE = Refused("WRONGTYPE Operation against a key holding the wrong kind of value")
SYNTAX = Refused("ERR syntax error")


@pytest.fixture
def session() -> Session:
    made = Session()
    made.clients[0].db.put(b"hash", {b"f": b"v"})
    return made


def bits_of(value: bytes) -> list[int]:
    return [byte >> 7 - at & 1 for byte in value for at in range(8)]


def part(size: int, start: int, end: int) -> range:
    """What a range with negative ends is of."""
    first = max(start + size if start < 0 else start, 0)
    return range(first, min(max(end + size if end < 0 else end, 0), size - 1) + 1)


def test_single_bits(session: Session) -> None:
    assert session("SETBIT", "k", 9, 1) == 0
    assert session("SETBIT", "k", 9, 1) == 1
    assert session("GET", "k") == b"\0\x40"
    assert [session("GETBIT", "k", at) for at in (8, 9, 10, 100)] == [0, 1, 0, 0]
    for offset in ("-1", "x", str(1 << 32)):
        refused = Refused("ERR bit offset is not an integer or out of range")
        assert session("SETBIT", "k", offset, 1) == session("GETBIT", "k", offset) == refused
    for bit in ("2", "x", "-1"):
        refused = Refused("ERR bit is not an integer or out of range")
        assert session("SETBIT", "hash", 1, bit) == refused
    assert session("SETBIT", "hash", 1, 1) == session("GETBIT", "hash", 1) == WRONG_TYPE


def test_counting_and_finding_in_every_range(session: Session) -> None:
    draw = random.Random(12)
    for _ in range(2000):
        value = draw.choice([b"", b"\0", b"\xff", b"\xff\xff\xff", draw.randbytes(3)])
        session("SET", "k", value)
        bits, bit = bits_of(value), draw.randrange(2)
        start, end = draw.randint(-30, 30), draw.randint(-30, 30)
        in_bits = part(len(bits), start, end)
        in_bytes = [
            at for byte in part(len(value), start, end) for at in range(byte * 8, byte * 8 + 8)
        ]
        counted = [sum(bits[at] for at in where) for where in (in_bytes, in_bits)]
        if start < 0 and end < 0 and start > end:
            counted = [0, 0]
        assert session("BITCOUNT", "k", start, end) == counted[0]
        assert session("BITCOUNT", "k", start, end, "BIT") == counted[1]
        found = [next((at for at in w if bits[at] == bit), -1) for w in (in_bytes, in_bits)]
        assert session("BITPOS", "k", bit, start, end) == found[0]
        assert session("BITPOS", "k", bit, start, end, "bit") == found[1]
        to_end = [
            at for byte in part(len(value), start, -1) for at in range(byte * 8, byte * 8 + 8)
        ]
        otherwise = len(bits) if to_end and not bit else -1
        wanted = next((at for at in to_end if bits[at] == bit), otherwise)
        assert session("BITPOS", "k", bit, start) == wanted
    assert session("BITCOUNT", "k") == sum(bits)


def test_what_counting_refuses(session: Session) -> None:
    session("SET", "k", "abc")
    assert session("BITCOUNT", "k", 1) == session("BITCOUNT", "k", 1, 2, "X") == SYNTAX
    assert session("BITCOUNT", "none", 1) == 0
    assert (
        session("BITPOS", "k", 1, 0, 1, "X") == session("BITPOS", "k", 1, 0, 1, "BIT", 1) == SYNTAX
    )
    assert session("BITPOS", "k", 2) == Refused("ERR The bit argument must be 1 or 0.")
    assert (session("BITPOS", "none", 0), session("BITPOS", "none", 1)) == (0, -1)
    assert session("BITCOUNT", "hash") == session("BITPOS", "hash", 1) == WRONG_TYPE


def test_whole_strings_combined(session: Session) -> None:
    session("MSET", "a", b"\xf0\x0f\xff", "b", b"\xff\x01")
    for name, wanted in (("AND", b"\xf0\x01\0"), ("OR", b"\xff\x0f\xff"), ("xor", b"\x0f\x0e\xff")):
        assert session("BITOP", name, "to", "a", "b") == 3
        assert session("GET", "to") == wanted
    assert session("BITOP", "NOT", "to", "a") == 3
    assert session("GET", "to") == b"\x0f\xf0\0"
    assert session("BITOP", "OR", "to", "none") == 0
    assert session("GET", "to") is None
    assert session("BITOP", "NAND", "to", "a") == SYNTAX
    one = Refused("ERR BITOP NOT must be called with a single source key.")
    assert session("BITOP", "NOT", "to", "a", "b") == one
    assert session("BITOP", "AND", "to", "hash") == WRONG_TYPE


def test_fields_against_arithmetic(session: Session) -> None:
    """Fields of all widths in one string, beside a list of their numbers."""
    draw = random.Random(7)
    for _ in range(300):
        session("DEL", "k")
        widths = [draw.randint(1, 63) for _ in range(6)]
        offsets = [sum(widths[:at]) for at in range(6)]
        numbers = [0] * 6
        for _ in range(20):
            at = draw.randrange(6)
            bits, is_signed = widths[at], bool(draw.randrange(2))
            name = f"{'i' if is_signed else 'u'}{bits}"
            least = -(1 << bits - 1) if is_signed else 0
            was = (numbers[at] - least) % (1 << bits) + least
            step = draw.choice([1, -1, draw.randint(-(1 << 62), 1 << 62)])
            policy = draw.choice(["WRAP", "SAT", "FAIL"])
            total, most = was + step, least + (1 << bits) - 1
            wanted: int | None = total
            if not least <= total <= most:
                wrapped = (total - least) % (1 << bits) + least
                limit = most if total > most else least
                wanted = {"WRAP": wrapped, "SAT": limit, "FAIL": None}[policy]
            said = session("BITFIELD", "k", "GET", name, offsets[at], "OVERFLOW", policy,
                           "INCRBY", name, offsets[at], step)  # fmt: skip
            assert said == [was, wanted]
            numbers[at] = was if wanted is None else wanted


def test_fields(session: Session) -> None:
    assert session("BITFIELD", "k", "SET", "u8", "#1", 255, "GET", "i4", 10) == [0, -1]
    assert session("BITFIELD", "k", "OVERFLOW", "SAT", "SET", "u8", 0, -1, "GET", "u8", 0) == [
        0,
        255,
    ]
    assert session("GET", "k") == b"\xff\xff"
    lowest = -(1 << 63)
    assert session("BITFIELD", "s", "OVERFLOW", "SAT", "SET", "i63", 0, lowest, "GET", "i63", 0,
                   "SET", "i64", 64, -1, "INCRBY", "i64", 64, lowest) == [
        0, (1 << 62) - 1, 0, lowest,
    ]  # fmt: skip
    assert session("BITFIELD_RO", "none", "GET", "u63", 4) == [0]
    assert session("GET", "none") is None
    for words, error in (
        ("GET u64 0", "ERR Invalid bitfield type. Use something like i16 u8. "
         "Note that u64 is not supported but i64 is."),
        ("GET u8 -1", "ERR bit offset is not an integer or out of range"),
        ("GET u8 #4611686018427387904", "ERR bit offset is not an integer or out of range"),
        ("OVERFLOW x", "ERR Invalid OVERFLOW type specified"),
        ("SET u8 0", "ERR syntax error"),
    ):  # fmt: skip
        assert session("BITFIELD", "k", *words.split()) == Refused(error)
    read_only = Refused("ERR BITFIELD_RO only supports the GET subcommand")
    assert session("BITFIELD_RO", "hash", "SET", "u8", 0, 1) == read_only
    assert session("BITFIELD", "hash", "GET", "u8", 0) == WRONG_TYPE
