"""Numbers with units: the only parser and the only formatter of counts, sizes, times and rates.

Counts are decimal (1k = 1,000; 1M = 1,000,000), sizes binary (1K = 1KiB = 1,024 bytes), times are
integers of nanoseconds, rates are floats per second.

A number is digits, with a point before decimals: 1500, 1.5. Its whole part may be in groups of
three, by commas or by underscores: 1,000,000. A comma anywhere else is refused, because for half of
the world it is the decimal point, and so are groups that begin with a 0: 0,500. What is read is
exact: 1.0005k of what is counted, half a byte or a part of a nanosecond are refused, not rounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from c1m.errors import UsageError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

DIGITS_MAX = 40  # an int64 has 19
_GROUPS = r"[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:_[0-9]{3})+)"
_NUMBER = re.compile(rf"((?:{_GROUPS}|[0-9]+)(?:\.[0-9]+)?)\s*([a-zA-Zµ%]*)")


class _Kind(NamedTuple):
    """What is read: what it is called, right forms of it, and what its units count for."""

    what: str
    forms: str
    scales: Mapping[str, Fraction | int]
    is_cased: bool = False  # 5M is no duration: minutes, or a million of something


_COUNT = _Kind(
    "count",
    "Write for example 1000, 50k or 1M.",
    {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "b": 1_000_000_000},
)
_SIZE = _Kind(
    "size",
    "Write for example 512, 64K or 1M.",
    {
        letter + rest: 1 << bits
        for letter, bits in (("", 0), ("k", 10), ("m", 20), ("g", 30))
        for rest in ("", "b", "ib")[: 3 if letter else 2]
    },
)
_TIME = _Kind(
    "duration",
    "Write for example 100ms, 30s or 5m.",
    {
        "ns": 1, "us": 1_000, "µs": 1_000, "ms": NS_PER_MS, "s": NS_PER_S, "": NS_PER_S,
        "m": 60 * NS_PER_S, "min": 60 * NS_PER_S, "h": 3600 * NS_PER_S,
    },
    is_cased=True,
)  # fmt: skip
_RATE = _COUNT._replace(what="rate", forms="Write for example 500/s or 50k/s.")
_SHARE = _Kind("share", "Write for example 99.9% or 0.999.", {"": 1, "%": Fraction(1, 100)})
_PLAIN = _Kind("number", "Write for example 1 or 1.5.", {"": 1})
_PER_S = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}


def _read(text: str, kind: _Kind, whole: str = "") -> Fraction:
    """A number times its unit, exactly. `whole`: the text that it is a part of.

    Raises UsageError for anything else, and beyond what an int64 holds: 292 years of ns.
    """
    said = _shortened(whole or text)
    text = text.strip()
    match = _NUMBER.fullmatch(text)
    unit = "?" if match is None else match[2] if kind.is_cased else match[2].lower()
    if match is None or unit not in kind.scales:
        why = ": decimals stand behind a point, commas between groups of three digits only"
        raise UsageError(f"{said!r} is not a {kind.what}{why * (',' in text)}.", kind.forms)
    digits = re.sub("[,_]", "", match[1])
    if len(digits) > DIGITS_MAX:
        raise UsageError(f"{said!r} is too large, or has too many decimals.", kind.forms)
    value = Fraction(digits) * kind.scales[unit]
    if value >= 1 << 63:
        raise UsageError(f"{said!r} is too large.", "Ask for less.")
    return value


def _whole(text: str, kind: _Kind, of: str = "") -> int:
    value = _read(text, kind)
    if value.denominator != 1:
        raise UsageError(f"{_shortened(text)!r} is not a whole number{of}.", kind.forms)
    return int(value)


def _shortened(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:20]}...{text[-5:]}"


def parse_count(text: str) -> int:
    """`1M`, `50k`, `1,000`, `2.5M` -> an int. Raises UsageError for anything else."""
    return _whole(text, _COUNT)


def parse_size(text: str) -> int:
    """`64`, `64K`, `64KiB`, `1M` -> bytes (binary multiples). Raises UsageError."""
    return _whole(text, _SIZE, " of bytes")


def parse_mean_size(text: str) -> float:
    """The same of what may be a part of a byte, as a mean is: `38.5`, `1.3K`."""
    return float(_read(text, _SIZE))


def parse_duration(text: str, *, needs_unit: bool = False) -> int:
    """`30s`, `1.5s`, `100ms`, `5m`, `1h`, `30` (seconds) -> nanoseconds. Raises UsageError."""
    if needs_unit and text.strip()[-1:].isdigit():
        raise UsageError(f"{_shortened(text)} of what?", _TIME.forms)
    return _whole(text, _TIME, " of nanoseconds")


def parse_rate(text: str, *, may_be_zero: bool = False) -> float:
    """`50k/s`, `50k`, `300/m` -> a float per second. Raises UsageError."""
    head, slash, per = text.partition("/")
    seconds = _PER_S.get(per.strip()) if slash else 1
    if seconds is None:
        raise UsageError(f"{_shortened(text)!r} is not a rate.", _RATE.forms)
    value = _read(head, _RATE, text) / seconds
    if not (value or may_be_zero):
        raise UsageError(f"{_shortened(text)!r} is not above zero.", _RATE.forms)
    return float(value)


def parse_share(text: str) -> float:
    """`99.9%` or `0.999` -> 0.999. Raises UsageError for anything else, and above all of them."""
    value = _read(text, _SHARE)
    if value > 1:
        raise UsageError(f"{_shortened(text)} is too much.", "Give at most 100%, which is 1.")
    return float(value)


def parse_number(text: str) -> float:
    """`1.5`, without a unit. Raises UsageError."""
    return float(_read(text, _PLAIN))


def format_count(value: float) -> str:
    """1234567 -> '1,234,567'."""
    return f"{round(value):,}"


def format_number_of(count: int, noun: str, several: str = "") -> str:
    """1 and 'reply' -> '1 reply'; 2 -> '2 replies', where `several` is that; else an s is added."""
    return f"{format_count(count)} {noun if count == 1 else several or noun + 's'}"


def format_bytes(value: float) -> str:
    """Bytes for people: 12 B, 3.4 KiB, 41.0 MiB, 6.61 GiB."""
    for unit, decimals in (("B", 0), ("KiB", 1), ("MiB", 1)):
        if abs(value) < 1024:
            return f"{value:.{decimals}f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def format_duration(ns: float) -> str:
    """Nanoseconds for people: 850 ns, 12.3 us, 4.56 ms, 33.1 s, 5 min 03 s; - for NaN."""
    if math.isnan(ns):
        return "-"
    if abs(ns) < 1_000:
        return f"{ns:.0f} ns"
    if abs(ns) < 999.5e3:  # beyond that it is 1,000 in three digits
        return f"{ns / 1e3:.3g} us"
    if abs(ns) < 999.5e6:
        return f"{ns / 1e6:.3g} ms"
    if abs(ns) < 120 * NS_PER_S:
        return f"{ns / 1e9:.1f} s" if abs(ns) >= 10 * NS_PER_S else f"{ns / 1e9:.2f} s"
    minutes, seconds = divmod(round(ns / 1e9), 60)
    return f"{minutes} min {seconds:02d} s"


def format_rate(per_s: float) -> str:
    """Per second for people: 53,200/s, 8.4/s."""
    return f"{per_s:,.0f}/s" if per_s >= 100 else f"{per_s:.1f}/s"


def format_short_count(value: float, digits: int = 4) -> str:
    """A count as it is typed: 50k, 1.5k, 1.235M."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def format_short_rate(per_s: float) -> str:
    """Per second as it is typed: 50k/s."""
    return f"{format_short_count(per_s)}/s"


def format_share(part: int, whole: int) -> str:
    """A percentage that is 100 % only for all of it and 0 % only for nothing; - of nothing."""
    if whole == 0:
        return "-"
    if part == whole:
        return "100 %"
    percent = 100 * part / whole
    if 99.9 < percent < 100:  # show the digits that matter, cut off rather than rounded up
        return f"{min(int(percent * 10_000), 999_999) / 10_000:.4f} %"
    return f"{percent:.2f} %" if percent >= 0.01 or part == 0 else "< 0.01 %"
