"""Dataclasses to JSON values and back, by their type annotations.

Knows what records are made of: dataclasses, lists, dicts with text keys, optional values, str, int,
float, bool and Any. Reading is strict in kind (a text is no number) and in range (integers of 63
bits, those of a field from 0: counts, sizes, numbers of things), and says where it stumbled; fields
that are absent take their default, fields that are unknown are passed over, so that a later c1m of
the same schema may add some.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")
# annotation -> the types of its JSON values, and what they are; a bool is no number
_PLAIN: dict[type, tuple[set[type], str]] = {
    float: ({int, float}, "a number"),
    int: ({int}, "an integer"),
    bool: ({bool}, "true or false"),
    str: ({str}, "a text"),
}
_INTEGER_END = 1 << 63  # what arrays of counts and sizes hold


def encode(value: Any) -> Any:
    """A value of the kinds above as JSON values; NumPy arrays and scalars become plain ones.

    A float that is not finite becomes null: JSON has none, and a figure that could not be computed
    must not cost the whole record.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return encode(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def decode(kind: type[T], value: Any) -> T:
    """A dataclass of type `kind` from JSON values. Raises ValueError that names the place."""
    result: T = _decode(kind, value, "")
    return result


def check_columns(table: Any, rows: int = 0) -> None:
    """Columns over time are of one length, or empty: an earlier c1m did not have all of them.

    Raises ValueError. `rows`: the length, where the table is part of another.
    """
    for name in (column.name for column in dataclasses.fields(table)):
        column = getattr(table, name)
        if isinstance(column, list) and column:
            rows = rows or len(column)
            if len(column) != rows:
                raise ValueError(f"the column {name} has {len(column)} rows, not {rows}")
        elif dataclasses.is_dataclass(column):
            check_columns(column, rows)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, value: Any, place: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):  # only "X | None" is used
        inner = next(argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _decode(inner, value, place)
    if origin is list:
        _expect(isinstance(value, list), value, "a list", place)
        if arguments[0] is float:  # a column: only a single figure may not be known
            _expect(None not in value, None, "a number", f"an item of {place}")
        return [_decode(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), value, "an object", place)
        return {key: _decode(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, place)
    return _decode_plain(kind, value, place)


def _decode_dataclass(kind: Any, value: Any, place: str) -> Any:
    _expect(isinstance(value, dict), value, "an object", place)
    hints = _hints(kind)
    given = {}
    for field in dataclasses.fields(kind):
        where = f"{place}.{field.name}".lstrip(".")
        if field.name in value:
            given[field.name] = _decode(hints[field.name], value[field.name], where)
            if hints[field.name] is int:
                _expect(given[field.name] >= 0, given[field.name], "a count", where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} is missing")
    return kind(**given)


def _decode_plain(kind: Any, value: Any, place: str) -> Any:
    assert kind in _PLAIN, f"a record has no field of type {kind}"
    if kind is float and value is None:
        return math.nan  # what `encode` made of a float that was not finite
    allowed, what = _PLAIN[kind]
    _expect(type(value) in allowed, value, what, place)
    if type(value) is int:
        _expect(abs(value) < _INTEGER_END, value, "an integer of 63 bits", place)
    return float(value) if kind is float else value


def _expect(is_right: bool, value: Any, what: str, place: str) -> None:
    if not is_right:
        raise ValueError(f"{place or 'it'} is {str(value)[:40]!r}, not {what}")
