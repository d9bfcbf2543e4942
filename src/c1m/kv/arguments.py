"""Arguments of commands as numbers, in the forms that Redis takes. Pure."""

from __future__ import annotations

import re

import numpy as np

from c1m.kv.errors import NOT_A_FLOAT, NOT_AN_INTEGER, CommandError

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
INTEGER_MAX = 20  # characters of the longest
LONG_MAX = 5 << 10  # characters, and one more, of a long double: Redis's MAX_LONG_DOUBLE_CHARS
LONG_EXPONENT_MAX = 4931  # decimal, of a long double

DECIMAL = re.compile(
    rb"[+-]?(?:inf(?:inity)?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e([+-]?[0-9]+))?)", re.I
)
HEX = re.compile(rb"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p([+-]?[0-9]+))?", re.I)


def integer(text: bytes, error: bytes = NOT_AN_INTEGER) -> int:
    """A signed 64-bit integer, as it would be shown: without a sign + and without zeros in front.

    Raises CommandError with `error` for anything else.
    """
    if len(text) <= INTEGER_MAX:
        try:
            number = int(text)
        except ValueError:
            raise CommandError(error) from None
        if INT64_MIN <= number <= INT64_MAX and b"%d" % number == text:
            return number
    raise CommandError(error)


def is_integer(text: bytes) -> bool:
    """Whether `integer` takes it."""
    try:
        integer(text)
    except CommandError:
        return False
    return True


def long_real(text: bytes, error: bytes = NOT_A_FLOAT) -> np.longdouble:
    """The same as C's long double, which INCRBYFLOAT and HINCRBYFLOAT count in."""
    match = DECIMAL.fullmatch(text) or HEX.fullmatch(text)
    if match and len(text) < LONG_MAX:
        exponent = abs(int(match[1] or b"0"))
        if exponent + len(text) <= LONG_EXPONENT_MAX:  # or it would be inf, or 0
            return np.longdouble(text.decode())
    raise CommandError(error)


def sum_of_reals(text: bytes, step: bytes) -> bytes:
    """Both added as C's long double, as text: 17 digits behind the point, no zeros at its end."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = long_real(text) + long_real(step)
    if not np.isfinite(total):
        raise CommandError(b"ERR increment would produce NaN or Infinity")
    shown = np.format_float_positional(total, precision=17, unique=False, trim="-")
    return b"0" if shown == "-0" else shown.encode()
