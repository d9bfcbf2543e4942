"""Arguments of commands as numbers, in the forms that Redis takes. Pure."""

from __future__ import annotations

import math
import re

from c1m.kv.errors import NOT_A_FLOAT, NOT_AN_INTEGER, CommandError

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")  # string2ll(): no sign +, no zeros in front
_FLOAT = re.compile(rb"[+-]?(?:inf(?:inity)?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)", re.I)


def integer(text: bytes, error: bytes = NOT_AN_INTEGER) -> int:
    """A signed 64-bit integer. Raises CommandError with `error` for anything else."""
    if _INTEGER.fullmatch(text):
        number = int(text)
        if INT64_MIN <= number <= INT64_MAX:
            return number
    raise CommandError(error)


def real(text: bytes, error: bytes = NOT_A_FLOAT) -> float:
    """A float, infinities included. Raises CommandError with `error` for anything else."""
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isnan(number):
            return number
    raise CommandError(error)
