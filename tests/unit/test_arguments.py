"""Arguments of public calls: what is taken, and the sentence for what is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from c1m import arguments
from c1m.arguments import COUNT, DURATION, MESSAGE, RATE, Choice
from c1m.errors import UsageError


class Unprintable:
    """Whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    ("check", "given", "taken"),
    [
        (arguments.integer, 5, 5),
        (arguments.integer, 2.0, 2),
        (arguments.integer, np.int64(7), 7),
        (arguments.integer, np.array(7), 7),
        (COUNT.check, "50k", 50_000),
        (COUNT.check, 1e6, 1_000_000),
        (DURATION.check, "1.5s", 1_500_000_000),
        (DURATION.check, 0.25, 250_000_000),
        (DURATION.check, 0, 0),
        (DURATION.check, Fraction(1, 2), 500_000_000),
        (RATE.check, "300/m", 5.0),
        (RATE.check, np.float32(2), 2.0),
        (arguments.text, "", ""),
        (arguments.texts, "one", ["one"]),
        (arguments.texts, (x for x in ("a", "b")), ["a", "b"]),
        (arguments.texts, [], []),
        (arguments.flag, True, True),
        (MESSAGE.check, "x{n}", "x{n}"),
        (MESSAGE.check, bytearray(b"x"), b"x"),
        (Choice(("a", "b")).check, "b", "b"),
        (arguments.function, None, None),
    ],
)
def test_what_can_be_meant_is_taken(
    check: Callable[[str, Any], Any], given: Any, taken: Any
) -> None:
    found = check("it", given)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("check", "given", "words"),
    [
        (arguments.integer, "5", "it is '5', no whole number. Give a whole number: 0 or more"),
        (arguments.integer, 2.5, "it is 2.5, no whole number"),
        (arguments.integer, True, "it is True"),
        (arguments.integer, math.nan, "it is nan, no whole number"),
        (arguments.integer, -1, "-1 is too small for it. Give 0 or more"),
        (arguments.integer, 2**63, "9,223,372,036,854,775,808 is too large for it"),
        (arguments.integer, np.array([1, 2]), "no whole number"),
        (arguments.integer, Unprintable(), "it is a value of type Unprintable"),
        (COUNT.check, "x", "it: 'x' is not a count"),
        (COUNT.check, "-1", "it: '-1' is not a count"),
        (DURATION.check, math.nan, "it is nan"),
        (DURATION.check, math.inf, "inf is too large for it. Give 0 to 1,000,000h"),
        (DURATION.check, 10**400, "is too large for it"),
        (DURATION.check, -1, "-1 is too small for it"),
        (DURATION.check, "soon", "it: 'soon' is not a duration"),
        (DURATION.check, b"1s", "it is b'1s', no number"),
        (RATE.check, 0, "it is 0, which does nothing"),
        (RATE.check, math.nan, "it is nan"),
        (RATE.check, 1 + 2j, "no number"),
        (arguments.text, b"x", "it is b'x', no text"),
        (arguments.texts, None, "it is None"),
        (arguments.texts, b"x", "it is b'x'"),
        (arguments.texts, ["a", 5], r"it\[1\] is 5, no text"),
        (arguments.flag, "no", "it is 'no'. Give True or False"),
        (arguments.flag, 1, "it is 1"),
        (MESSAGE.check, 5, "it is 5. Give a str or bytes"),
        (Choice(("a", "b")).check, "c", "it is 'c'. Use a or b"),
        (COUNT.within(1, 5).check, 6, "6 is too large for it. Give 1 to 5"),
        (arguments.function, 5, "it is 5, which cannot be called"),
        (arguments.text, ["x" * 1000], r"\.\.\. \(list\), no text"),
    ],
)
def test_what_cannot_is_told_by_its_name(
    check: Callable[[str, Any], Any], given: Any, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        check("it", given)


def test_a_number_too_long_to_be_printed() -> None:
    with pytest.raises(UsageError, match="a value of type int is too large for it"):
        arguments.integer("it", 1 << 20_000)
