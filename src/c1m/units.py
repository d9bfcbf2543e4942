"""Numbers with units: the only parser and the only formatter of counts, sizes, times and rates.

Counts are decimal (1k = 1,000; 1M = 1,000,000), sizes binary (1K = 1KiB = 1,024 bytes), times are
integers of nanoseconds, rates are floats per second.
"""

from __future__ import annotations

import re

from c1m.errors import UsageError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

_COUNT = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKmMgGbB]?)")
_COUNT_SCALE = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "b": 1_000_000_000}
_SIZE = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKmMgG]?)(?:i?[bB])?")
_SIZE_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?)\s*(ns|us|µs|ms|s|m|min|h|)")
_TIME_SCALE = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": NS_PER_MS,
    "": NS_PER_S,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}


def _number(text: str, digits: str, scale: float) -> float:
    """Digits times their unit. Raises UsageError beyond what an int64 holds: 292 years of ns."""
    value = float(digits.replace("_", "").replace(",", "")) * scale
    if value >= 2.0**63:
        raise UsageError(f"{_shortened(text)!r} is too large.", "Ask for less.")
    return value


def _shortened(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:20]}...{text[-5:]}"


def parse_count(text: str) -> int:
    """`1M`, `50k`, `1,000`, `2.5M` -> an int. Raises UsageError for anything else."""
    match = _COUNT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a count.", "Write for example 1000, 50k or 1M.")
    value = _number(text, match[1], _COUNT_SCALE[match[2].lower()])
    if value != int(value):
        raise UsageError(f"{text!r} is not a whole number.", "Write for example 1000, 50k or 1M.")
    return int(value)


def parse_size(text: str) -> int:
    """`64`, `64K`, `64KiB`, `1M` -> bytes (binary multiples). Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size.", "Write for example 512, 64K or 1M.")
    return int(_number(text, match[1], _SIZE_SCALE[match[2].lower()]))


def parse_duration(text: str) -> int:
    """`30s`, `1.5s`, `100ms`, `5m`, `1h`, `30` (seconds) -> nanoseconds. Raises UsageError."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a duration.", "Write for example 100ms, 30s or 5m.")
    return round(_number(text, match[1], _TIME_SCALE[match[2]]))


def parse_rate(text: str) -> float:
    """`50k/s`, `50k`, `300/m` -> a float per second. Raises UsageError."""
    head, slash, per = text.strip().partition("/")
    seconds = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}.get(per.strip())
    if seconds is None or (slash and not per.strip()) or _COUNT.fullmatch(head.strip()) is None:
        raise UsageError(f"{text!r} is not a rate.", "Write for example 500/s or 50k/s.")
    match = _COUNT.fullmatch(head.strip())
    assert match is not None
    value = _number(text, match[1], _COUNT_SCALE[match[2].lower()]) / seconds
    if value <= 0:
        raise UsageError(f"{text!r} is not above zero.", "Write for example 500/s or 50k/s.")
    return value


def format_count(value: float) -> str:
    """1234567 -> '1,234,567'."""
    return f"{round(value):,}"


def format_bytes(value: float) -> str:
    """Bytes for people: 12 B, 3.4 KiB, 41.0 MiB, 6.61 GiB."""
    size = float(value)
    if abs(size) < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if abs(size) < 1024 or unit == "GiB":
            break
    return f"{size:.2f} {unit}" if unit == "GiB" else f"{size:.1f} {unit}"


def format_duration(ns: float) -> str:
    """Nanoseconds for people: 850 ns, 12.3 us, 4.56 ms, 33.1 s, 5 min 03 s."""
    if abs(ns) < 1_000:
        return f"{ns:.0f} ns"
    if abs(ns) < NS_PER_MS:
        return f"{ns / 1e3:.3g} us"
    if abs(ns) < NS_PER_S:
        return f"{ns / 1e6:.3g} ms"
    if abs(ns) < 120 * NS_PER_S:
        return f"{ns / 1e9:.1f} s" if abs(ns) >= 10 * NS_PER_S else f"{ns / 1e9:.2f} s"
    minutes, seconds = divmod(round(ns / 1e9), 60)
    return f"{minutes} min {seconds:02d} s"


def format_rate(per_s: float) -> str:
    """Per second for people: 53,200/s, 8.4/s."""
    return f"{per_s:,.0f}/s" if per_s >= 100 else f"{per_s:.1f}/s"
