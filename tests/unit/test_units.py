"""units: every form that is read, every form that is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m import units
from c1m.errors import UsageError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0), ("1", 1), ("1000", 1000), ("1,000", 1000), ("1_000_000", 10**6), ("50k", 50_000),
        ("1M", 10**6), ("1m", 10**6), ("2.5M", 2_500_000), ("1G", 10**9), ("1b", 10**9),
        (" 7 k ", 7000), ("0.5k", 500),
    ],
)  # fmt: skip
def test_parse_count(text: str, count: int) -> None:
    assert units.parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64", 64), ("64K", 65536), ("64k", 65536), ("64KiB", 65536), ("64KB", 65536),
        ("1M", 1 << 20), ("1.5G", 3 << 29), ("12B", 12), ("1 MiB", 1 << 20),
    ],
)  # fmt: skip
def test_parse_size(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("30s", 30 * 10**9), ("30", 30 * 10**9), ("1.5s", 1_500_000_000), ("100ms", 10**8),
        ("10us", 10_000), ("10µs", 10_000), ("7ns", 7), ("5m", 300 * 10**9),
        ("5min", 300 * 10**9), ("1h", 3600 * 10**9), ("0", 0),
    ],
)  # fmt: skip
def test_parse_duration(text: str, ns: int) -> None:
    assert units.parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "per_s"),
    [("50k/s", 50_000.0), ("50k", 50_000.0), ("300/m", 5.0), ("3600/h", 1.0), ("0.5/s", 0.5)],
)
def test_parse_rate(text: str, per_s: float) -> None:
    assert units.parse_rate(text) == per_s


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_count, ""), (units.parse_count, "-1"), (units.parse_count, "1.5"),
        (units.parse_count, "one"), (units.parse_count, "1T"), (units.parse_count, "1e6"),
        (units.parse_size, "1 byte"), (units.parse_size, "-4K"), (units.parse_size, "KiB"),
        (units.parse_duration, "5 days"), (units.parse_duration, "s"),
        (units.parse_duration, "-1s"),
        (units.parse_rate, "5/"), (units.parse_rate, "0/s"), (units.parse_rate, "5/day"),
        (units.parse_rate, "/s"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_a_usage_error_that_shows_a_right_one(
    parse: Callable[[str], object], text: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert repr(text) in caught.value.message
    assert caught.value.remedy.startswith(("Write", "Use"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (43_000_000, "41.0 MiB"),
     (7_097_000_000, "6.61 GiB"), (5 << 40, "5120.00 GiB")],
)  # fmt: skip
def test_format_bytes(value: int, text: str) -> None:
    assert units.format_bytes(value) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [(850, "850 ns"), (12_300, "12.3 us"), (4_560_000, "4.56 ms"), (1_500_000_000, "1.50 s"),
     (33_100_000_000, "33.1 s"), (303_000_000_000, "5 min 03 s")],
)  # fmt: skip
def test_format_duration(ns: int, text: str) -> None:
    assert units.format_duration(ns) == text


def test_format_count_and_rate() -> None:
    assert units.format_count(1_234_567) == "1,234,567"
    assert [units.format_number_of(n, "port") for n in (0, 1, 2_000)] == [
        "0 ports", "1 port", "2,000 ports"
    ]  # fmt: skip
    assert units.format_number_of(1, "address", "addresses") == "1 address"
    assert units.format_number_of(2, "address", "addresses") == "2 addresses"
    assert units.format_rate(53_200) == "53,200/s"
    assert units.format_rate(8.4) == "8.4/s"


@pytest.mark.parametrize(
    ("per_s", "text"),
    [
        (0.5, "0.5/s"), (999, "999/s"), (1_000, "1k/s"), (1_500, "1.5k/s"), (50_000, "50k/s"),
        (1_234_567, "1.235M/s"),
    ],
)  # fmt: skip
def test_format_short_rate(per_s: float, text: str) -> None:
    assert units.format_short_rate(per_s) == text


@pytest.mark.parametrize(
    ("part", "whole", "says"),
    [
        (0, 0, "-"),
        (0, 7, "0.00 %"),
        (7, 7, "100 %"),
        (999_999, 1_000_000, "99.9999 %"),
        (99_999_999, 100_000_000, "99.9999 %"),
        (9_999, 10_000, "99.9900 %"),
        (1, 1_000_000, "< 0.01 %"),
        (1, 3, "33.33 %"),
    ],
)
def test_a_share_is_never_rounded_up_to_all(part: int, whole: int, says: str) -> None:
    assert units.format_share(part, whole) == says


@given(st.integers(0, 10**12))
def test_a_count_that_is_written_can_be_read(value: int) -> None:
    assert units.parse_count(units.format_count(value)) == value


@given(st.text(max_size=12))
def test_parsers_accept_or_raise_usage_error(text: str) -> None:
    for parse in (units.parse_count, units.parse_size, units.parse_duration, units.parse_rate):
        with contextlib.suppress(UsageError):
            assert parse(text) >= 0
