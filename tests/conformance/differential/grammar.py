"""A small language for the shapes of commands, and what is drawn for its placeholders.

    ZADD {z} [NX|XX] [CH] ({score} {member})+

[...] may be left out, <...> and | are alternatives, (...)+ comes once or more often, and {...} is
drawn by the function of that name in `DRAWN`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from random import Random

Words = list[bytes]
Maker = Callable[[Random, Words], None]

KEYS = {kind: [f"{kind}{number}".encode() for number in range(4)] for kind in "shltzx"}
ANY_KEY = [key for kind in "shltz" for key in KEYS[kind]]
NEVER_WRITTEN = b"none"

_TOKEN = re.compile(r"\)\+|[\[\]()<>|]|\{[^}]*\}|(?:->|[^\s\[\]()<>|{}])+")


def compiled(shape: str) -> Maker:
    """What adds the words of one command of this shape."""
    tokens = _TOKEN.findall(shape)
    tokens.reverse()
    made = _alternatives(tokens)
    assert not tokens, f"{tokens[::-1]} is left of {shape}"
    return made


def _alternatives(tokens: list[str]) -> Maker:
    choices = [_sequence(tokens)]
    while tokens and tokens[-1] == "|":
        tokens.pop()
        choices.append(_sequence(tokens))
    if len(choices) == 1:
        return choices[0]
    return lambda draw, words: draw.choice(choices)(draw, words)


def _sequence(tokens: list[str]) -> Maker:
    items: list[Maker] = []
    while tokens and tokens[-1] not in ("]", ")+", ">", "|"):
        items.append(_item(tokens))

    def make(draw: Random, words: Words) -> None:
        for item in items:
            item(draw, words)

    return make


def _item(tokens: list[str]) -> Maker:
    token = tokens.pop()
    if token in ENCLOSING:
        inner = _alternatives(tokens)
        tokens.pop()
        return ENCLOSING[token](inner)
    name, _, argument = token[1:-1].partition(":")
    if token[0] == "{" and name == "keys":
        return _counted(argument)
    if token == "{field}":
        return _field
    if token == "{weights}":
        return _weights
    if token[0] == "{" and name[0] != "=":
        return _drawn(DRAWN[name])
    literal = token.encode()  # {=t}, too: see `fixed_keys`
    return lambda draw, words: words.append(literal)


def _maybe(inner: Maker) -> Maker:
    def make(draw: Random, words: Words) -> None:
        if draw.random() < 0.3:
            inner(draw, words)

    return make


def _repeated(inner: Maker) -> Maker:
    def make(draw: Random, words: Words) -> None:
        chance = draw.random()
        count = 1 if chance < 0.5 else draw.randint(2, 6)
        if chance > 0.985:
            count = draw.randint(60, 200)  # more than the compact encodings hold
        for _ in range(count):
            inner(draw, words)

    return make


ENCLOSING: dict[str, Callable[[Maker], Maker]] = {
    "[": _maybe,
    "(": _repeated,
    "<": lambda inner: inner,
}


def _field(draw: Random, words: Words) -> None:
    """A type and an offset of BITFIELD."""
    words.append(draw.choice([b"i", b"u"]) + b"%d" % draw.choice([1, 4, 8, 16, 31, 32, 33, 63, 64]))
    words.append(draw.choice([b"", b"", b"#"]) + b"%d" % draw.randrange(70))


def _weights(draw: Random, words: Words) -> None:
    """A weight for each key, whose count comes before the keys; now and then one too many."""
    counts = [at for at, word in enumerate(words) if word in (b"1", b"2", b"3", b"0", b"4")]
    keys = len(words) - 1 - max(counts, default=0) + draw.choice([0] * 20 + [1])
    words += [b"WEIGHTS", *(draw.choice(REALS) for _ in range(keys))]


def fixed_keys(draw: Random, words: Words) -> None:
    """Puts one key for all words {=s}, {=h}, ..."""
    for word in list(words):
        if word.startswith(b"{=") and len(word) == 4:
            chosen = key_of(chr(word[2]), draw)
            words[:] = [chosen if other == word else other for other in words]


def _drawn(function: Callable[[Random], bytes]) -> Maker:
    return lambda draw, words: words.append(function(draw))


def _counted(kind: str) -> Maker:
    """How many keys, and as many keys; now and then not as many."""

    def make(draw: Random, words: Words) -> None:
        keys = [key_of(kind, draw) for _ in range(draw.randint(1, 3))]
        count = len(keys) + draw.choice([0] * 20 + [-1, 1])
        words.append(b"%d" % count)
        words.extend(keys)

    return make


def key_of(kind: str, draw: Random) -> bytes:
    """A key that has mostly values of this type: s(tring), h(ash), l(ist), t(a set), z."""
    if kind == "x":
        return draw.choice(KEYS[kind])
    return draw.choice(KEYS[kind] if draw.random() < 0.93 else ANY_KEY)


TEXTS = [b"", b"a", b"b", b"abc", b"Hello World", b"v\x00\xff\r\n\x80", b"3.0", b"10", b"-7", b"0",
         b"9223372036854775807", b"-9223372036854775808", b"1e3", b"3.5", b"007", b" 1",
         b"12345678901234567890", b"\xc3\xa9", b"x" * 44, b"y" * 45, b"z" * 64, b"w" * 65,
         b"2"]  # fmt: skip
NUMBERS = [b"0", b"1", b"2", b"-1", b"3", b"10", b"-5", b"100", b"9223372036854775807",
           b"-9223372036854775808", b"9223372036854775806", b"1000000007"]  # fmt: skip
REALS = [b"0", b"1", b"-1", b"1.5", b"0.1", b"-0.25", b"1e3", b"3.14159265358979", b"1e-7",
         b"5e20", b"100000000000000000000", b"1e16", b"123456789.123",
         b"0.30000000000000004"]  # fmt: skip
SCORES = [*REALS[:9], b"2", b"3", b"4", b"5", b"10", b"inf", b"-inf", b"+inf", b"1e16", b"1e17",
          b"2.5", b"1.7976931348623157e308", b"4.9e-300", b"9007199254740993"]  # fmt: skip
BOUNDS = [
    b"-inf",
    b"+inf",
    b"(1",
    b"(2",
    b"1",
    b"3",
    b"0",
    b"5",
    b"(5",
    b"10",
    b"(-inf",
    b"(+inf",
    b"2.5",
]
LEX_BOUNDS = [b"-", b"+", b"[a", b"(a", b"[b", b"[c", b"(m3", b"[m5", b"(z", b"[", b"("]
GARBAGE = [b"", b"abc", b"-1", b"0", b"1.5", b"nan", b"4611686018427387904", b"9223372036854775807",
           b"9223372036854775808", b"-9223372036854775808", b"\xff", b"NX", b"LIMIT",
           b" 1", b"01", b"+1", b"(1", b"[a", b"COUNT", b"WITHSCORES", b"*"]  # fmt: skip
PATTERNS = [b"*", b"s*", b"?1", b"[shl]*", b"[^s]2", b"h[1-3]", b"m*", b"f[0-5]", b"*1*", b"a\\*",
            b"none", b"[", b"\\", b"**0", b"?", b""]  # fmt: skip


def _name(letter: bytes) -> Callable[[Random], bytes]:
    def draw_one(draw: Random) -> bytes:
        chance = draw.random()
        if chance < 0.75:
            return letter + b"%d" % draw.randrange(8)
        if chance < 0.85:
            return b"%d" % draw.randrange(-3, 12)
        if chance < 0.95:
            return letter + b"%d" % draw.randrange(300)
        return draw.choice(TEXTS)

    return draw_one


def _number(least: int, most: int) -> Callable[[Random], bytes]:
    return lambda draw: b"%d" % draw.randint(least, most)


def _one_of(choices: list[bytes]) -> Callable[[Random], bytes]:
    return lambda draw: draw.choice(choices)


def _text(draw: Random) -> bytes:
    if draw.random() < 0.02:
        return b"r" + draw.randbytes(draw.choice([100, 1000, 9000]))
    return draw.choice(TEXTS)


NOW_S = 1_900_000_000  # a time to come
DRAWN: dict[str, Callable[[Random], bytes]] = {
    **{kind: partial(key_of, kind) for kind in "shltzx"},
    "k": _one_of(ANY_KEY),
    "none": _one_of([NEVER_WRITTEN]),
    "v": _text,
    "f": _name(b"f"),
    "m": _name(b"m"),
    "e": _name(b"e"),
    "int": _one_of(NUMBERS),
    "step": _number(-100, 100),
    "index": _number(-8, 8),
    "count": _number(0, 6),
    "number": _number(0, 4),
    "minus": _number(-6, -1),
    "some": _number(1, 6),
    "offset": _number(0, 40),
    "bit": _number(0, 1),
    "bits": _number(0, 200),
    "real": _one_of(REALS),
    "score": _one_of(SCORES),
    "bound": _one_of(BOUNDS),
    "lex": _one_of(LEX_BOUNDS),
    "pattern": _one_of(PATTERNS),
    # None is drawn twice: which of two times is greater must not hang on the millisecond.
    "sec": _number(1_000, 100_000_000),
    "ms": _number(1_000_000, 100_000_000_000),
    "at": _number(NOW_S, NOW_S + 1_000_000_000),
    "at_ms": _number(NOW_S * 1000, NOW_S * 1000 + 10**12),
    "past": _one_of([b"0", b"-1", b"-1000"]),
    "past_at": _one_of([b"0", b"1", b"1000000000"]),
    "db": _number(0, 3),
    "channel": _number(0, 4),
    "channels": _one_of([b"*", b"[0-2]", b"?", b"[34]"]),
    "type": _one_of([b"string", b"list", b"set", b"zset", b"hash", b"stream", b"x"]),
}
