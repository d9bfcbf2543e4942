"""No number is ever read as another one: wherever one is read, against a strict grammar.

The grammar is written here once more, character by character, with nothing of c1m's in it: a text
is what the grammar says or it is refused. The texts are made of what numbers are made of, and of
what looks like it: commas in the wrong place, two kinds of groups, digits of other scripts, signs,
exponents, units of something else.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from c1m import units
from c1m.addresses import parse_url
from c1m.cli.compare import compare as compare_command
from c1m.cli.demo import demo
from c1m.cli.doctor import _targets, doctor
from c1m.cli.live import prometheus
from c1m.cli.load import load, read_plan
from c1m.cli.options import COUNT, DURATION, RATE, SIZE, Unit
from c1m.cli.report import report
from c1m.cli.serve import serve
from c1m.errors import UsageError
from c1m.loadgen.arrivals import parse_spread
from c1m.loadgen.sources import parse_sources
from c1m.loadgen.stages import parse_stages
from c1m.protocols.resp.replies import reply_size
from c1m.results import thresholds
from c1m.results.options import LoadOptions
from c1m.scenarios import template
from c1m.scenarios.template import Placeholder

DIGITS = "0123456789"
K, M, G = 1_000, 1_000_000, 1_000_000_000
COUNTS = {"": 1, "k": K, "K": K, "m": M, "M": M, "g": G, "G": G, "b": G, "B": G}
SIZES = {"": 1, "b": 1, "B": 1} | {
    prefix + i + b: 1 << bits
    for prefix, bits in (("k", 10), ("K", 10), ("m", 20), ("M", 20), ("g", 30), ("G", 30))
    for i, b in (("", ""), ("", "b"), ("", "B"), ("i", "b"), ("i", "B"), ("I", "b"), ("I", "B"))
}
TIMES = {"": G, "ns": 1, "us": K, "µs": K, "ms": M, "s": G, "m": 60 * G, "min": 60 * G,
         "h": 3600 * G}  # fmt: skip
PERS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}


def digits_of(text: str) -> int | None:
    """The number that digits are, nothing else; None: there is something else."""
    value = 0
    for sign in text:
        if sign not in DIGITS:
            return None
        value = 10 * value + DIGITS.index(sign)
    return value if text else None


def whole_of(text: str) -> int | None:
    """Digits, or groups of three by commas or by underscores; the first of one to three, not 0."""
    signs = [sign for sign in ",_" if sign in text]
    if not signs:
        return digits_of(text)
    if len(signs) > 1:
        return None
    first, *others = text.split(signs[0])
    if not 1 <= len(first) <= 3 or first[0] == "0" or any(len(one) != 3 for one in others):
        return None
    return digits_of(first + "".join(others))


def number_of(text: str, scales: Mapping[str, Fraction | int]) -> Fraction | None:
    """A number with a unit, exactly; None: it is none, or beyond 2**63."""
    text = text.strip()
    end = next((i for i, sign in enumerate(text) if sign not in DIGITS + ",_."), len(text))
    number, unit = text[:end], text[end:].lstrip()
    whole, point, decimals = number.partition(".")
    value, part = whole_of(whole), digits_of(decimals) if point else 0
    if value is None or part is None or unit not in scales:
        return None
    exact = (value + Fraction(part, 10 ** len(decimals))) * scales[unit]
    return exact if exact < 1 << 63 else None


def count_of(text: str) -> Fraction | None:
    value = number_of(text, COUNTS)
    return value if value is not None and value.denominator == 1 else None


def size_of(text: str) -> Fraction | None:
    value = number_of(text, SIZES)
    return value if value is not None and value.denominator == 1 else None


def time_of(text: str) -> Fraction | None:
    value = number_of(text, TIMES)
    return value if value is not None and value.denominator == 1 else None


def time_with_unit_of(text: str) -> Fraction | None:
    return None if text.strip()[-1:] in DIGITS else time_of(text)


def rate_or_zero_of(text: str) -> Fraction | None:
    head, slash, per = text.partition("/")
    value = number_of(head, COUNTS)
    if value is None or (slash and per.strip() not in PERS):
        return None
    return value / (PERS[per.strip()] if slash else 1)


def rate_of(text: str) -> Fraction | None:
    return rate_or_zero_of(text) or None


def share_of(text: str) -> Fraction | None:
    value = number_of(text, {"": 1, "%": Fraction(1, 100)})
    return value if value is not None and value <= 1 else None


Reference = Callable[[str], Fraction | None]

pieces = st.sampled_from(
    [*DIGITS, "00", "000", "123", "500", "1,000", "12_345", ",", ",", "_", ".", "..", ",000", "1,5",
     "k", "K", "M", "m", "G", "b", "B", "i", "s", "ms", "us", "µs", "ns", "min", "h", "/", "/s",
     "/m", "%", " ", "-", "+", "e", "E3", "x", "'", "٣", "²", "½", "１", "，", "٫", "K", "inf",
     "nan", "\u00a0", "\n"]
)  # fmt: skip
whole = st.one_of(
    st.integers(0, 99_999).map(str), st.integers(0, 10**13).map("{:,}".format),
    st.integers(0, 10**13).map("{:_}".format),
    st.sampled_from(["0", "00", "007", "9007199254740993"]),
)  # fmt: skip
decimals = st.one_of(st.just(""), st.integers(0, 99_999).map(".{}".format))
suffix = st.sampled_from(["", *COUNTS, *SIZES, *TIMES, "/s", "k/s", "/m", "M/h", "%", " k", " %"])
written = st.tuples(whole, decimals, suffix).map("".join)


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A number with something put in, or left out."""
    text: str = draw(written)
    at = draw(st.integers(0, len(text)))
    piece: str = draw(pieces)
    return text[:at] + piece + text[at + draw(st.integers(0, 2)) :]


texts = st.one_of(written, broken(), st.lists(pieces, max_size=6).map("".join))
words = texts.filter(lambda text: text == "".join(text.split()) and ".." not in text and text)


def agrees(read: Callable[[str], Any], text: str, expected: Fraction | None) -> None:
    """`read` says what the grammar says, to the nearest float where it is no integer."""
    try:
        found = read(text)
    except UsageError:
        found = None
    if expected is None or found is None:
        assert (found, expected) == (None, None), text
    elif isinstance(found, int):
        assert found == expected, text
    else:
        assert found == float(expected), text


READERS: dict[str, tuple[Callable[[str], Any], Reference]] = {
    "count": (units.parse_count, count_of),
    "size": (units.parse_size, size_of),
    "mean size": (units.parse_mean_size, lambda text: number_of(text, SIZES)),
    "duration": (units.parse_duration, time_of),
    "rate": (units.parse_rate, rate_of),
    "share": (units.parse_share, share_of),
    "number": (units.parse_number, lambda text: number_of(text, {"": 1})),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=400)
@given(text=texts)
@example("1,5s")
@example("1,5k/s")
@example("1,00k")
@example("0,500")
@example("1,000_000")
@example("1.001k")
@example("1_5")
@example("0.5 B")
def test_a_number_is_what_the_grammar_says(name: str, text: str) -> None:
    read, reference = READERS[name]
    agrees(read, text, reference(text))


BOUNDS: dict[str, Reference] = {
    "p99": time_with_unit_of, "lost": count_of, "rate": rate_or_zero_of, "reach": share_of,
    "server_bytes": lambda text: number_of(text, SIZES),
}  # fmt: skip


@pytest.mark.parametrize("metric", BOUNDS)
@given(text=texts.filter(str.strip))
@example("1,000")
@example("38.5B")
@example("9_%")
def test_a_threshold_has_the_bound_that_is_written(metric: str, text: str) -> None:
    agrees(lambda value: thresholds.parse(f"{metric} < {value}").bound, text, BOUNDS[metric](text))


def stage_of(text: str) -> Any:
    return parse_stages(["ramp 1M", text], LoadOptions())[-1]


IN_STAGES: dict[str, tuple[Callable[[str], Any], Reference]] = {
    "hold for {}": (lambda text: stage_of(text).duration_ns, time_of),
    "hold for 1s think {}": (lambda text: stage_of(text).think_ns, time_of),
    "hold for 1s at {}": (lambda text: stage_of(text).rate_to, rate_of),
    "hold for 1s at 1/s..{}": (lambda text: stage_of(text).rate_to, rate_of),
    "hold for 1s churn {}": (lambda text: stage_of(text).churn_rate, rate_of),
    "hold {} for 1s": (lambda text: stage_of(text).connections_to, count_of),
    "drain to {}": (lambda text: stage_of(text).connections_to, count_of),
    "storm {}": (lambda text: stage_of(text).share, share_of),
}


@pytest.mark.parametrize("form", IN_STAGES)
@given(text=words)
@example("1,5s")
@example("10k/s..20k/s")
@example("1")
def test_a_stage_has_the_numbers_that_are_written(form: str, text: str) -> None:
    read, reference = IN_STAGES[form]
    expected = reference(text)
    if ".." in text and form.startswith("hold for 1s at"):
        return  # a rate that rises
    if expected is not None:
        if form.startswith("storm") and not (text.endswith("%") and expected):
            expected = None  # 'storm 1' is not to be guessed: one, or all
        elif form == "hold for {}" and not expected:
            expected = None  # takes no time
        elif form.startswith("drain") and expected > M:
            expected = None  # goes backwards
        elif form.startswith("hold for 1s at") and (expected > 10**11 or "1/s" in form):
            return  # more than a million connections carry; or an end takes the other's unit
    agrees(lambda value: read(form.format(value)), text, expected)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("at 10..50/m", (10 / 60, 50 / 60)), ("at 10/m..50", (10 / 60, 50 / 60)),
        ("at 10..50", (10, 50)), ("at 10/s..50/s", (10, 50)), ("at 10/m..50/s", None),
    ],
)  # fmt: skip
def test_a_unit_at_one_end_of_a_range_is_that_of_both(
    text: str, rates: tuple[float, float] | None
) -> None:
    try:
        stage = stage_of(f"hold for 1s {text}")
    except UsageError as error:
        assert rates is None and "rates per m and per s" in error.message
    else:
        assert (stage.rate_from, stage.rate_to) == rates


def test_steps_of_rates_have_one_unit() -> None:
    for text in ("60/m..180/m by 60/m", "60..180/m by 60", "60/m..180 by 60", "60/m..180/m by 60"):
        steps = parse_stages(["ramp 10", f"steps {text} every 1s"], LoadOptions())[1:]
        assert [step.rate_from for step in steps] == [1, 2, 3], text
    with pytest.raises(UsageError, match="rates per m and per s"):
        parse_stages(["ramp 10", "steps 60/m..180/m by 1/s every 1s"], LoadOptions())


COMMANDS: dict[str, click.Command] = {
    "load": load, "serve": serve, "doctor": doctor, "demo": demo, "compare": compare_command,
    "report": report,
}  # fmt: skip
KINDS: dict[str, Reference] = {
    COUNT.name: count_of, DURATION.name: time_of, RATE.name: rate_of, SIZE.name: size_of
}  # fmt: skip


def in_range(kind: object, text: str) -> Fraction | None:
    """What an option of this kind reads; None: it refuses it, also for being out of its range."""
    assert isinstance(kind, Unit)
    number = KINDS[kind.name](text)
    is_in = number is not None and kind.kind.least <= number <= kind.kind.most
    return Fraction(number) if number is not None and is_in else None


OPTIONS = [
    (name, option) for name, command in COMMANDS.items() for option in command.params
    if isinstance(option.type, Unit)
]  # fmt: skip


def test_every_option_that_is_a_number_is_read_by_units() -> None:
    """But the process, which has no unit."""
    assert len(OPTIONS) >= 20
    others = {
        option.name
        for command in COMMANDS.values()
        for option in command.params
        if isinstance(option.type, type(click.INT) | type(click.FLOAT))
    }
    assert others <= {"server_pid"}


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda one: getattr(one, "name", one))
@settings(max_examples=30)
@given(text=texts)
def test_an_option_has_the_number_that_is_written(
    command: str, option: click.Parameter, text: str
) -> None:
    agrees(lambda value: option.type.convert(value, None, None), text, in_range(option.type, text))


def planned(path: Path, name: str, value: str) -> Any:
    """What a plan file with `name = value` has the command read."""
    path.write_text(f"{name} = {value}\n", encoding="utf-8")
    option = next(one for one in load.params if one.name == name)
    return option.type.convert(read_plan(str(path), load)[name], None, None)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans") / "plan.toml"


@pytest.mark.parametrize("name", ["connections", "hold", "rate", "think", "pipeline"])
@given(text=texts)
def test_a_plan_file_has_the_number_that_is_written(plan: Path, name: str, text: str) -> None:
    kind = next(one.type for one in load.params if one.name == name)
    agrees(lambda value: planned(plan, name, json.dumps(value)), text, in_range(kind, text))


@given(number=st.one_of(st.integers(0, 2**63), st.floats(0, 1e12), st.floats(0, 1e-9)))
@example(1e-05)
@example(1e16)
@example(float("nan"))
@example(float("inf"))
@example(10**5000)
def test_a_number_of_toml_is_itself(plan: Path, number: float) -> None:
    is_number = number == number and 0 < number <= RATE.kind.most
    text = "1" + "0" * 5000 if number == 10**5000 else repr(number)
    try:
        found = planned(plan, "rate", text)
    except UsageError:
        # Beyond 40 digits nothing is read, rather than a part of it.
        assert not is_number or number < 1e-20, number
    else:
        assert is_number and found == float(number)


@given(text=texts)
@example("1,2")
@example("9" * 400)
def test_a_spread_has_the_exponent_that_is_written(text: str) -> None:
    expected = number_of(text, {"": 1}) or None
    agrees(parse_spread, f"zipf:{text}", expected)


@given(text=texts)
def test_a_message_has_as_many_letters_as_are_written(text: str) -> None:
    size = digits_of(text)
    is_size = bool(size) and len(text) <= 7
    try:
        parts, places = template.parse(f"a{{random:{text}}}b")
    except UsageError:
        assert not is_size
    else:
        assert is_size and (parts, places) == ([b"a", b"b"], [Placeholder("random", size or 0)])


ports = st.one_of(st.integers(0, 70_000).map(str), texts, st.just("9" * 5000))


@given(first=ports, last=ports)
@example("0\xa0", "1")
def test_a_port_is_the_number_that_is_written(first: str, last: str) -> None:
    low, high = digits_of(first), digits_of(last)
    is_port = low is not None and low <= 65_535
    reads: list[Callable[[], int]] = [
        lambda: parse_url(f"tcp://127.0.0.1:{first}")[2],
        lambda: prometheus.parse_address(f"127.0.0.1:{first}")[1],
    ]
    for read in reads:
        try:
            assert read() == low and is_port
        except UsageError:
            assert not is_port or len(first) > 9, first
    is_range = is_port and high is not None and 0 < (low or 0) <= high <= 65_535
    try:
        found = _targets((f"tcp://127.0.0.1:{first}-{last}",))[0]
    except UsageError:
        assert not is_range or (high or 0) - (low or 0) >= 4096 or len(first + last) > 9
    else:
        assert is_range and found == list(range(low or 0, (high or 0) + 1))


numbers = st.one_of(
    st.integers(0, 300).map(str), st.sampled_from(["010", "00", "0x7f", "0X", "256", "4294967295"])
)
hosts = st.one_of(
    st.lists(numbers, min_size=1, max_size=5).map(".".join),
    st.sampled_from(["127.1", "1", "2130706433", "0x7f000001", "127.0.0.010", "1.2.3.4."]),
)


def address_of(text: str) -> tuple[int, ...] | None:
    """Four numbers of 0 to 255 without zeros before them."""
    parts = [digits_of(part) for part in text.split(".")]
    is_plain = all(str(part) == one for part, one in zip(parts, text.split("."), strict=True))
    if len(parts) != 4 or not is_plain or any(part is None or part > 255 for part in parts):
        return None
    return tuple(part for part in parts if part is not None)


@given(host=hosts)
def test_a_host_of_numbers_is_the_address_that_is_written(host: str) -> None:
    """The C library has 010.0.0.1 as 8.0.0.1, 127.1 as 127.0.0.1 and 1 as 0.0.0.1."""
    expected = address_of(host)
    reads: list[Callable[[], str]] = [
        lambda: parse_url(f"tcp://{host}:80")[1],
        lambda: prometheus.parse_address(f"{host}:80")[0],
        lambda: parse_sources(host)[0],
    ]
    for read in reads:
        try:
            assert tuple(ipaddress.ip_address(read()).packed) == expected
        except UsageError:
            assert expected is None


@given(host=st.sampled_from(["localhost", "a1", "1a", "server-7", "10.example", "x.0y", "0xyz"]))
def test_a_name_may_have_digits(host: str) -> None:
    assert parse_url(f"tcp://{host}:80") == ("tcp", host, 80, 80)


@given(low=hosts, high=hosts)
@example("10.0.0.1", "10.0.0.9")
@example("10.0.0.1", "9")
@example("10.0.0.1", "10.0.0.09")
def test_a_range_of_sources_is_from_the_first_to_the_last(low: str, high: str) -> None:
    first, last = address_of(low), address_of(high)
    try:
        found = parse_sources(f"{low}-{high}")
    except UsageError:
        assert first is None or last is None or first > last or last > (*first[:2], 255, 255)[:4]
    else:
        assert first is not None and last is not None
        least, most = (int.from_bytes(bytes(one)) for one in (first, last))
        assert [int(ipaddress.ip_address(one)) for one in found] == list(range(least, most + 1))


@pytest.mark.parametrize("size", [b"--5", b"+5", b"1_0", b" 5", b"5 ", b"-", b"", b"9" * 5000])
def test_what_is_no_length_is_a_reply_of_its_own(size: bytes) -> None:
    assert reply_size(b"$" + size + b"\r\nhello\r\n") == len(size) + 3
