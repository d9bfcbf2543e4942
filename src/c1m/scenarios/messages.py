"""Messages made from a template and compared, by whole batches. Pure.

What a template is: see template.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged
from c1m.errors import UsageError
from c1m.protocols.framing import windows
from c1m.scenarios.message_rows import MessageRows, stride_of
from c1m.scenarios.template import Placeholder, length_bytes, parse, pattern_of
from c1m.scenarios.template import unescape as unescape

Numbers = npt.NDArray[np.int64]
MESSAGE_MAX = 1 << 20
KEPT_BYTES_MAX = 1 << 27  # four million messages of the usual size, 131,072 of 1 KiB
BLOCK_ROWS = 1 << 12  # kept messages are made in blocks: so many, or fewer
BLOCK_BYTES = 1 << 20  # of long ones
COMPARED_MAX = 1 << 18  # bytes compared at once (they are copied: what is near stays near)
FEW = 8  # messages that are made one by one, where they are not kept
FEW_FORMATTED = 256  # of those that are formatted: measured, arrays are quicker from 400 on

_POWERS = 10 ** np.arange(1, 19, dtype=np.int64)
_FOUR = 10_000
_TEXTS = (np.arange(_FOUR)[:, None] // [1000, 100, 10, 1] % 10 + ord("0")).astype(np.uint8)
_LETTERS = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8
)
_SEQ_DIGITS = 10  # of the highest seq: they are uint32


class Message:
    """A template, ready for connections 0 .. `count` - 1. Raises UsageError for a bad one.

    `first`: what {n} is for connection 0, where these are a part of a run's.
    `prefix`: so many bytes before each message say how long it is, big-endian (0: none do).
    Where {n} is all that differs the messages are kept, made block by block when first asked for,
    if those of all connections take at most KEPT_BYTES_MAX; otherwise, and where `is_kept` is
    False, they are made every time.
    """

    def __init__(
        self, template: str | bytes, count: int, seed: int = 0, *, prefix: int = 0,
        is_kept: bool = True, first: int = 0,
    ) -> None:  # fmt: skip
        self.template = template
        self._shift = first
        self._seed, self._prefix = seed, prefix
        self._parts, self._places = parse(template)
        kinds = [place.kind for place in self._places]
        self.has_n, self.has_seq = "n" in kinds, "seq" in kinds
        self.has_any, self.has_random = "any" in kinds, "random" in kinds
        self._is_fixed = not {"n", "seq", "random"} & set(kinds)  # the same but for {any}
        self._constant = prefix + sum(map(len, self._parts)) + sum(p.size for p in self._places)
        # Where only numbers are put in, formatting makes one message ten times as fast.
        self._order = [kind == "n" for kind in kinds]
        self._format, self._few = b"", FEW
        if not prefix and set(kinds) <= {"n", "seq"}:
            self._few = FEW_FORMATTED
            self._format = b"%d".join(part.replace(b"%", b"%%") for part in self._parts)
        self._n_places, self._seq_places = kinds.count("n"), kinds.count("seq")
        self._size_min = self._constant + self._n_places + self._seq_places
        digits = len(str(max(first + count - 1, 0)))
        most = self._n_places * digits + self._seq_places * _SEQ_DIGITS
        self.size_max = self._constant + most
        if self.size_max == 0:
            raise UsageError("The message is empty.", "Give at least one byte to echo.")
        if self.size_max > MESSAGE_MAX:
            raise UsageError(
                f"The message has {self.size_max:,} bytes; at most {MESSAGE_MAX:,} can be sent.",
                "Use a shorter one.",
            )
        # One without a number in it is the same for all: a single row.
        kept = max(count, 1) if self.has_n else 1
        stride = stride_of(self._size_min, self.size_max)
        self._kept: MessageRows | None = None
        is_kept &= not self.has_seq and "random" not in kinds
        if is_kept and kept * stride <= KEPT_BYTES_MAX:
            self._kept = MessageRows(kept, self._size_min, self.size_max)
        self._block = max(min(BLOCK_ROWS, BLOCK_BYTES // stride), 1)
        self._is_made = np.zeros(-(-kept // self._block), np.bool_)
        self._to_make = len(self._is_made)

    def one(self, number: int, seq: int = 0, came: bytes = b"") -> bytes:
        """The message of one connection: the slow reference of all that follows.

        In the place of {any} it has the bytes that `came` has there, or zeros.
        """
        number += self._shift
        if self._format:
            return self._format % tuple([number if is_n else seq for is_n in self._order])
        made = bytearray(self._prefix) + self._parts[0]
        for at, (place, part) in enumerate(zip(self._places, self._parts[1:], strict=True)):
            if place.kind == "n":
                made += str(number).encode()
            elif place.kind == "seq":
                made += str(seq).encode()
            elif place.kind == "random":
                numbers, seqs = np.array([number], np.int64), np.array([seq], np.int64)
                made += random_letters(numbers, seqs, at, place.size, self._seed).tobytes()
            else:
                made += came[len(made) : len(made) + place.size].ljust(place.size, b"\0")
            made += part
        made[: self._prefix] = length_bytes(len(made) - self._prefix, self._prefix)
        return bytes(made)

    def size(self, number: int, seq: int) -> int:
        """Bytes of one message: `len(self.one(number, seq))`."""
        digits = self._n_places * len(str(number + self._shift)) + self._seq_places * len(str(seq))
        return self._constant + digits

    def lengths(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32]:
        """How long the messages of n connections are: int32[n]."""
        sizes = np.full(len(numbers), self._constant, np.int64)
        if self.has_n:
            sizes += self._n_places * _digits(numbers + self._shift)
        if self.has_seq:
            sizes += self._seq_places * _digits(seqs)
        return sizes.astype(np.int32)

    def matrix(self, numbers: Numbers, seqs: Numbers) -> tuple[Bytes, npt.NDArray[np.int32]]:
        """The messages of n connections: uint8[n, m] padded with zeros, lengths int32[n]."""
        made = self._make(numbers, seqs)
        return made.rows[:, : made.size_max], made.lengths

    def pieces(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """The messages as pieces to send."""
        if self._kept is None and len(numbers) <= self._few:
            return Ragged.of(self._each(numbers, seqs))
        rows, index = self._ready(numbers, seqs)
        return rows.pieces(index)

    def equal(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        """Whether piece i is message seqs[i] of connection numbers[i], for all i.

        The slow form: `data.pieces() == [self.one(n, s) for n, s in zip(numbers, seqs)]`, where
        bytes in the place of {any:..} are passed over.
        """
        count, step = len(numbers), max(COMPARED_MAX // self.size_max, 1)
        if count > step:
            parts = [slice(at, at + step) for at in range(0, count, step)]
            return all(self.equal(numbers[p], seqs[p], data.take(p)) for p in parts)
        if self.has_any and self._is_fixed:
            return self._parts_equal(data)
        if self.has_any:
            return bool(self.matching(numbers, seqs, data).all())
        if self._kept is None and count <= self._few:
            view, ends = data.memory.data, (data.offsets + data.lengths).tolist()
            came = [view[a:b].tobytes() for a, b in zip(data.offsets.tolist(), ends, strict=True)]
            return came == self._each(numbers, seqs)
        rows, index = self._ready(numbers, seqs)
        return rows.equal(index, data)

    def _each(self, numbers: Numbers, seqs: Numbers) -> list[bytes]:
        """The messages one by one: for a few hundred quicker than by arrays."""
        if not self._format or not self._order:
            return list(map(self.one, numbers.tolist(), seqs.tolist()))
        said = numbers + self._shift if self._shift else numbers
        values = [(said if is_n else seqs).tolist() for is_n in self._order]
        return list(map(self._format.__mod__, zip(*values, strict=True)))

    def _parts_equal(self, data: Ragged) -> bool:
        """`equal` of a template whose messages differ in {any} only."""
        if np.count_nonzero(data.lengths != self._constant):
            return False
        at = self._prefix
        parts = [(0, length_bytes(self._constant - at, at))]
        for place, part in zip([Placeholder("", 0), *self._places], self._parts, strict=True):
            at += place.size
            parts.append((at, part))
            at += len(part)
        return all(
            windows(data.memory, f"V{len(part)}")[data.offsets + at].tobytes() == part * len(data)
            for at, part in parts
            if part and len(data)
        )

    def matching(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        """Which pieces are the message of their connection: bool[n]; for batches not all right."""
        same: npt.NDArray[np.bool_] = data.lengths == self.lengths(numbers, seqs)
        which = np.flatnonzero(same)
        step = max(COMPARED_MAX // self.size_max, 1)
        for at in range(0, len(which), step):
            some = which[at : at + step]
            ours = numbers[some], seqs[some]
            if self.has_any:
                same[some] = matches(data.take(some), *self.matrix(*ours), self._anything(*ours))
            elif not self.equal(*ours, data.take(some)):
                same[some] = matches(data.take(some), *self.matrix(*ours))
        return same

    @property
    def ends(self) -> tuple[bytes, bytes]:
        """The constant bytes that every message begins with, and those that end every one.

        The latter only where they are nowhere else in it, so that seeing them is seeing an end.
        """
        head, tail = self._parts[0], self._parts[-1]
        is_end = len(self._parts) > 1 and not self.has_any
        if not is_end or any(tail in part for part in self._parts[:-1]):
            tail = b""
        return (b"" if self._prefix else head), tail

    @property
    def ends_in_number(self) -> bool:
        """Whether nothing ends a message but its number, and none could be of the next one's."""
        head = self._parts[0]
        kind = self._places[-1].kind if self._places else ""
        return (
            kind in ("n", "seq") and not self._parts[-1] and not head[:1].isdigit() and head != b""
        )

    def pattern(self) -> re.Pattern[bytes]:
        """What any message of this template looks like: see `template.pattern_of`."""
        return pattern_of(self._parts, self._places, self._prefix)

    def _ready(self, numbers: Numbers, seqs: Numbers) -> tuple[MessageRows, Numbers]:
        """Rows with these messages in them, and which rows these are."""
        if self._kept is None:
            return self._make(numbers, seqs), np.arange(len(numbers))
        if not self.has_n:
            numbers = np.zeros(len(numbers), np.int64)
        if self._to_make and len(numbers):
            self._keep(numbers // self._block)
        return self._kept, numbers

    def _keep(self, blocks: Numbers) -> None:
        """Make the blocks of kept messages that are not there yet."""
        assert self._kept is not None
        for block in sorted(set(blocks[~self._is_made[blocks]].tolist())):
            first = block * self._block
            numbers = np.arange(first, min(first + self._block, len(self._kept.lengths)))
            self._write(self._kept, numbers, numbers, numbers)
            self._is_made[block] = True
            self._to_make -= 1

    def _make(self, numbers: Numbers, seqs: Numbers) -> MessageRows:
        """Rows with just these messages, as wide as the longest of them."""
        lengths = self.lengths(numbers, seqs)
        least = int(lengths.min()) if len(lengths) else self._size_min
        most = int(lengths.max()) if len(lengths) else self._size_min
        rows = MessageRows(len(numbers), least, most)
        self._write(rows, np.arange(len(numbers)), numbers, seqs)
        return rows

    def _write(self, rows: MessageRows, index: Numbers, numbers: Numbers, seqs: Numbers) -> None:
        """Write messages into rows: those whose numbers have as many digits at a time."""
        numbers = numbers + self._shift
        n_widths = _digits(numbers) if self.has_n else np.zeros(len(numbers), np.int64)
        seq_widths = _digits(seqs) if self.has_seq else np.zeros(len(numbers), np.int64)
        keys = n_widths * 32 + seq_widths
        present = np.flatnonzero(np.bincount(keys)).tolist()
        for key in present:
            which = slice(None) if len(present) == 1 else np.flatnonzero(keys == key)
            made = self._fill(numbers[which], seqs[which], key // 32, key % 32)
            rows.put(index[which], made)

    def _fill(self, numbers: Numbers, seqs: Numbers, n_width: int, seq_width: int) -> Bytes:
        """Messages whose numbers and seqs have so many digits."""
        columns: list[tuple[int, Bytes]] = []
        size = self._constant + self._n_places * n_width + self._seq_places * seq_width
        row = bytearray(length_bytes(size - self._prefix, self._prefix) + self._parts[0])
        for at, (place, part) in enumerate(zip(self._places, self._parts[1:], strict=True)):
            if place.kind == "n":
                columns.append((len(row), decimal(numbers, n_width)))
            elif place.kind == "seq":
                columns.append((len(row), decimal(seqs, seq_width)))
            elif place.kind == "random":
                letters = random_letters(numbers, seqs, at, place.size, self._seed)
                columns.append((len(row), letters))
            row += bytes(place.size or (n_width if place.kind == "n" else seq_width)) + part
        rows = np.repeat(np.frombuffer(bytes(row), np.uint8)[None, :], len(numbers), axis=0)
        for at, column in columns:
            rows[:, at : at + column.shape[1]] = column
        return rows

    def _anything(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.bool_]:
        """Which bytes of the messages may be anything: bool[n, m]."""
        at = np.full(len(numbers), self._prefix + len(self._parts[0]), np.int64)
        free = np.zeros((len(numbers), int(self.lengths(numbers, seqs).max(initial=0))), np.bool_)
        columns = np.arange(free.shape[1])
        widths = {"n": _digits(numbers + self._shift), "seq": _digits(seqs)}
        for place, part in zip(self._places, self._parts[1:], strict=True):
            end = at + widths.get(place.kind, place.size)
            if place.kind == "any":
                free |= (columns >= at[:, None]) & (columns < end[:, None])
            at = end + len(part)
        return free


def matches(
    data: Ragged,
    rows: Bytes,
    lengths: npt.NDArray[np.int32],
    anything: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Which pieces equal which rows, byte for byte but where `anything` is set: bool[n].

    For batches that are not all right: `Message.equal` is far quicker for those that are. The slow
    form: `data.piece(i) == rows[i, :lengths[i]].tobytes()`.
    """
    same: npt.NDArray[np.bool_] = data.lengths == lengths
    if not len(rows) or not len(data.memory):
        return same
    width = rows.shape[1]
    columns = np.arange(width)
    index = data.offsets[:, None] + columns[None, :]
    np.minimum(index, len(data.memory) - 1, out=index)
    equal = data.memory[index] == rows
    equal |= columns[None, :] >= lengths[:, None]
    if anything is not None:
        equal |= anything
    same &= equal.all(axis=1)
    return same


def random_letters(numbers: Numbers, seqs: Numbers, place: int, size: int, seed: int) -> Bytes:
    """uint8[n, size] letters by connection, request, place (below 65,536) and seed.

    Counter-based, so that what is expected is made again instead of kept: splitmix64's output
    function (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) over the
    counter.
    """
    with np.errstate(over="ignore"):
        key = _mix(numbers.astype(np.uint64) + np.uint64((seed + 1 << 32) % 2**64))
        key = _mix(key ^ (seqs.astype(np.uint64) << np.uint64(16)) ^ np.uint64(place))
        counter = np.arange(-(-size // 8), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        words = _mix(key[:, None] + counter[None, :])
    letters: Bytes = _LETTERS[words.view(np.uint8) & 63]
    return letters[:, :size]


def draws(numbers: Numbers, seqs: Numbers, seed: int) -> npt.NDArray[np.uint64]:
    """uint64[n] by connection, request and seed: as random as these letters."""
    with np.errstate(over="ignore"):
        key = _mix(numbers.astype(np.uint64) + np.uint64((seed + 1 << 32) % 2**64))
        return _mix(key ^ seqs.astype(np.uint64))


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


def _digits(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Decimal digits of each number."""
    return np.searchsorted(_POWERS, numbers, side="right").astype(np.int64) + 1


def decimal(numbers: Numbers, width: int) -> Bytes:
    """The numbers as text of `width` digits: uint8[n, width]; by a table of all texts of four."""
    groups = -(-width // 4)
    text = np.empty((len(numbers), groups, 4), np.uint8)
    for group in range(groups - 1, -1, -1):
        text[:, group] = _TEXTS[numbers % _FOUR]
        numbers = numbers // _FOUR
    return text.reshape(len(numbers), groups * 4)[:, groups * 4 - width :]
