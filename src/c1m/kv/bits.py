"""Commands on the bits of strings. The first bit of a byte is its highest."""

from __future__ import annotations

from dataclasses import dataclass

from c1m.kv.arguments import INT64_MAX, integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.strings import writable
from c1m.protocols.resp.replies import NULLS, array
from c1m.protocols.resp.replies import integer as number

_NO_OFFSET = b"ERR bit offset is not an integer or out of range"
_NO_TYPE = (
    b"ERR Invalid bitfield type. Use something like i16 u8. "
    b"Note that u64 is not supported but i64 is."
)


def _offset(client: Client, text: bytes) -> int:
    offset = integer(text, _NO_OFFSET)
    if not 0 <= offset < client.store.value_max * 8:
        raise CommandError(_NO_OFFSET)
    return offset


def _grown(client: Client, key: bytes, last_bit: int) -> tuple[bytearray, bool]:
    """A string that has this bit; whether it had not before."""
    value = writable(client, key, client.db.string(key))
    lacks = last_bit // 8 + 1 - len(value)
    if lacks > 0:
        value.extend(bytes(lacks))
    return value, lacks > 0


@command("setbit", 4, "write denyoom", (1, 1, 1))
def setbit(client: Client, args: Args) -> bytes:
    """Set a bit of a string, and answer what it was."""
    offset = _offset(client, args[2])
    bit = integer(args[3], b"ERR bit is not an integer or out of range")
    if bit not in (0, 1):
        raise CommandError(b"ERR bit is not an integer or out of range")
    value, has_grown = _grown(client, args[1], offset)
    mask = 128 >> offset % 8
    was = int(value[offset // 8] & mask != 0)
    if has_grown or was != bit:
        value[offset // 8] ^= mask if was != bit else 0
        client.db.changed(args[1], b"setbit", "$")
    return number(was)


@command("getbit", 3, "readonly fast", (1, 1, 1))
def getbit(client: Client, args: Args) -> bytes:
    """A bit of a string; 0 behind its end."""
    offset = _offset(client, args[2])
    value = client.db.string(args[1]) or b""
    return number(value[offset // 8] >> 7 - offset % 8 & 1 if offset // 8 < len(value) else 0)


@command("bitcount", -2, "readonly", (1, 1, 1))
def bitcount(client: Client, args: Args) -> bytes:
    """Count the bits that are set, in all of a string or from one place to another."""
    value = client.db.string(args[1])
    if value is None:
        return number(0)
    start, stop = 0, len(value) * 8
    if len(args) > 2:
        if len(args) > 5 or len(args) == 3:
            raise CommandError(SYNTAX)
        first, last = integer(args[2]), integer(args[3])
        if last < first < 0:
            return number(0)
        start, stop = _bit_range(value, first, last, args[4:])
    return number(int.from_bytes(_ones_apart(value, start, stop, 0)).bit_count())


@command("bitpos", -3, "readonly", (1, 1, 1))
def bitpos(client: Client, args: Args) -> bytes:
    """The first bit that is 1 (or 0), in all of a string or from one place to another."""
    bit = integer(args[2])
    if bit not in (0, 1):
        raise CommandError(b"ERR The bit argument must be 1 or 0.")
    value = client.db.string(args[1])
    if value is None:
        return number(-1 if bit else 0)
    start, stop = 0, len(value) * 8
    if len(args) > 3:
        if len(args) > 6:
            raise CommandError(SYNTAX)
        first = integer(args[3])
        last = integer(args[4]) if len(args) > 4 else -1
        start, stop = _bit_range(value, first, last, args[5:])
    if start >= stop:
        return number(-1)
    # What is not asked for is made the other bit, and skipped with all the bytes of it in front.
    part = _ones_apart(value, start, stop, 1 - bit)
    rest = part.lstrip(b"\0" if bit else b"\xff")
    if not rest:  # a string goes on with zeros, but not a range that has an end
        return number(len(value) * 8 if not bit and len(args) < 5 else -1)
    in_byte = 8 - (rest[0] if bit else rest[0] ^ 255).bit_length()
    return number((start // 8 + len(part) - len(rest)) * 8 + in_byte)


def _bit_range(
    value: bytes | bytearray, first: int, last: int, units: list[bytes]
) -> tuple[int, int]:
    """From which bit up to which one, this excluded; `units` is BYTE (or nothing) or BIT."""
    unit = units[0].upper() if units else b"BYTE"
    if unit not in (b"BYTE", b"BIT"):
        raise CommandError(SYNTAX)
    size = len(value) * 8 if unit == b"BIT" else len(value)
    first = max(first + size if first < 0 else first, 0)
    last = min(max(last + size if last < 0 else last, 0), size - 1)
    if first > last:
        return 0, 0
    return (first, last + 1) if unit == b"BIT" else (first * 8, last * 8 + 8)


def _ones_apart(value: bytes | bytearray, start: int, stop: int, outside: int) -> bytearray:
    """The bytes that bits from `start` to `stop` are in; their other bits become `outside`."""
    part = bytearray(value[start // 8 : -(-stop // 8)])
    if part:
        before, behind = 255 << 8 - start % 8 & 255, 255 >> (stop - 1) % 8 + 1
        part[0] = part[0] | before if outside else part[0] & ~before
        part[-1] = part[-1] | behind if outside else part[-1] & ~behind
    return part


@command("bitop", -4, "write denyoom", (2, -1, 1))
def bitop(client: Client, args: Args) -> bytes:
    """AND, OR, XOR or NOT of strings, the shorter ones filled up with zeros, into a key."""
    name, target = args[1].upper(), args[2]
    if name not in (b"AND", b"OR", b"XOR", b"NOT"):
        raise CommandError(SYNTAX)
    if name == b"NOT" and len(args) != 4:
        raise CommandError(b"ERR BITOP NOT must be called with a single source key.")
    values = [client.db.string(key) or b"" for key in args[3:]]
    size = max(map(len, values))
    numbers = [int.from_bytes(value.ljust(size, b"\0")) for value in values]
    total = numbers[0]
    if name == b"NOT":
        total ^= (1 << 8 * size) - 1
    for other in numbers[1:]:
        total = (
            total & other if name == b"AND" else total | other if name == b"OR" else total ^ other
        )
    client.db.find(target)
    if size:
        client.db.put(target, bytearray(total.to_bytes(size)))
        client.db.changed(target, b"set", "$")
    elif client.db.remove(target):
        client.db.changed(target, b"del", "g")
    return number(size)


@dataclass(frozen=True, slots=True)
class _Field:
    """An integer within a string, and what is to be done with it."""

    action: bytes  # GET, SET or INCRBY
    is_signed: bool
    bits: int
    offset: int
    operand: int
    overflow: bytes  # WRAP, SAT or FAIL

    def read(self, value: bytes | bytearray) -> int:
        """Its number; a string goes on with zeros."""
        end = self.offset + self.bits
        part = value[self.offset // 8 : -(-end // 8)].ljust(-(-end // 8) - self.offset // 8, b"\0")
        found = int.from_bytes(part) >> -end % 8 & (1 << self.bits) - 1
        return found - (1 << self.bits) if self.is_signed and found >> self.bits - 1 else found

    def write(self, value: bytearray, to: int) -> None:
        """Set it in a string that is long enough."""
        end = self.offset + self.bits
        where = slice(self.offset // 8, -(-end // 8))
        shift, mask = -end % 8, (1 << self.bits) - 1
        others = int.from_bytes(value[where]) & ~(mask << shift)
        value[where] = (others | (to & mask) << shift).to_bytes(where.stop - where.start)

    def fitted(self, number: int, step: int) -> int | None:
        """What a sum that may be out of range becomes; None: nothing is done."""
        least = -(1 << self.bits - 1) if self.is_signed else 0
        most = least + (1 << self.bits) - 1
        total = number + step
        if least <= total <= most:
            return total
        if self.overflow == b"WRAP":
            return (total - least) % (1 << self.bits) + least
        if self.overflow == b"FAIL":
            return None
        # Redis says above, too, where a SET is farther below than 64 bits can say.
        wraps = self.is_signed and self.bits < 64 and most - number > INT64_MAX
        is_above = total > most or wraps
        return most if is_above else least


@command("bitfield", -2, "write denyoom", (1, 1, 1))
def bitfield(client: Client, args: Args) -> bytes:
    """Read, set and add to integers of any width within a string."""
    return _bitfield(client, args, _fields(client, args[2:]))


@command("bitfield_ro", -2, "readonly fast", (1, 1, 1))
def bitfield_ro(client: Client, args: Args) -> bytes:
    """Read integers of any width within a string."""
    fields = _fields(client, args[2:])
    if any(field.action != b"GET" for field in fields):
        raise CommandError(b"ERR BITFIELD_RO only supports the GET subcommand")
    return _bitfield(client, args, fields)


def _bitfield(client: Client, args: Args, fields: list[_Field]) -> bytes:
    written = [field.offset + field.bits for field in fields if field.action != b"GET"]
    value: bytes | bytearray = client.db.string(args[1]) or b""
    has_grown = is_changed = False
    if written:
        value, has_grown = _grown(client, args[1], max(written) - 1)
    replies: list[bytes] = []
    for field in fields:
        was = field.read(value)
        reply: int | None = was
        if field.action != b"GET":
            assert isinstance(value, bytearray)
            is_sum = field.action == b"INCRBY"
            new = field.fitted(was, field.operand) if is_sum else field.fitted(field.operand, 0)
            if new is None or field.action == b"INCRBY":
                reply = new
            if new is not None:
                field.write(value, new)
                is_changed = is_changed or has_grown or new != was
        replies.append(NULLS[client.protocol] if reply is None else number(reply))
    if is_changed:
        client.db.changed(args[1], b"setbit", "$")
    return array(replies)


def _fields(client: Client, words: Args) -> list[_Field]:
    """The fields that BITFIELD's arguments describe."""
    fields: list[_Field] = []
    overflow = b"WRAP"
    at = 0
    while at < len(words):
        action = words[at].upper()
        count = {b"GET": 3, b"SET": 4, b"INCRBY": 4, b"OVERFLOW": 2}.get(action, 0)
        if not count or at + count > len(words):
            raise CommandError(SYNTAX)
        if action == b"OVERFLOW":
            overflow = words[at + 1].upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise CommandError(b"ERR Invalid OVERFLOW type specified")
        else:
            is_signed, bits = _width(words[at + 1])
            offset = _field_offset(client, words[at + 2], bits)
            operand = integer(words[at + 3]) if count == 4 else 0
            if action == b"SET" and not is_signed and operand < 0:
                operand += 1 << 64  # as C takes it
            fields.append(_Field(action, is_signed, bits, offset, operand, overflow))
        at += count
    return fields


def _width(text: bytes) -> tuple[bool, int]:
    bits = integer(text[1:], _NO_TYPE)
    is_signed = text[:1] == b"i"
    if text[:1] not in (b"i", b"u") or not 1 <= bits <= (64 if is_signed else 63):
        raise CommandError(_NO_TYPE)
    return is_signed, bits


def _field_offset(client: Client, text: bytes, bits: int) -> int:
    """In bits; with # in front, in fields of this width."""
    if not text.startswith(b"#"):
        return _offset(client, text)
    offset = integer(text[1:], _NO_OFFSET) * bits
    if not 0 <= offset < client.store.value_max * 8:
        raise CommandError(_NO_OFFSET)
    return offset
