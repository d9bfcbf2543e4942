"""The JSON schema of a record (draft 2020-12), made from the dataclasses that a record is.

Types come from their annotations, descriptions from their docstrings and from the comments behind
their fields, so that the published schema cannot say something else than the code. As the reader
does, it lets unknown fields pass (a later c1m may add some) and takes absent ones for their
defaults. A single number may be null: what was not finite cannot be written as JSON.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from c1m.results.options import OPTIONS, LoadOptions
from c1m.results.record import SCHEMA, RunRecord

_TITLE = "The record of a run of c1m load"
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},
}


def schema() -> dict[str, Any]:
    """The schema as JSON values."""
    definitions: dict[str, Any] = {}
    whole = _of_dataclass(RunRecord, definitions)
    whole["properties"]["schema"] = {"const": SCHEMA, "description": "The version of this format."}
    whole["required"] = ["schema"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        "title": _TITLE,
        **whole,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of an annotation; dataclasses go into `definitions` under their names."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if origin in (Union, types.UnionType):  # only "X | None" is used, as in codec.py
        inner = _of(next(one for one in arguments if one is not types.NoneType), definitions)
        if isinstance(inner.get("type"), str):
            return {**inner, "type": [inner["type"], "null"]}
        return inner if "type" in inner else {"anyOf": [inner, {"type": "null"}]}
    if origin is list:
        items = {"type": "number"} if arguments[0] is float else _of(arguments[0], definitions)
        return {"type": "array", "items": items}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # named before it is done, should it hold itself
            definitions[kind.__name__] = _of_dataclass(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    assert kind in _PLAIN, f"a record has no field of type {kind}"
    return dict(_PLAIN[kind])


def _of_dataclass(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    comments = field_comments(kind)
    if kind is LoadOptions:  # the options' own words
        comments = {option.field: option.plain_help for option in OPTIONS.values()}
    properties, required = {}, []
    assert dataclasses.is_dataclass(kind)
    for field in dataclasses.fields(kind):
        properties[field.name] = _of(hints[field.name], definitions)
        if hints[field.name] is int:
            properties[field.name]["minimum"] = 0
        if count := field.metadata.get("count"):
            properties[field.name]["description"] = count.help
        elif field.name in comments:
            properties[field.name]["description"] = comments[field.name]
        if field.default is not dataclasses.MISSING:
            properties[field.name]["default"] = field.default
        elif field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    made: dict[str, Any] = {
        "description": _as_text(kind.__doc__ or ""),
        "type": "object",
        "properties": properties,
    }
    return made | ({"required": required} if required else {})


def _as_text(docstring: str) -> str:
    """Lines of a paragraph joined, paragraphs kept."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def field_comments(kind: type) -> dict[str, str]:
    """Field -> the comment behind it, with those of the lines after it that hold nothing else."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.getsource(kind).splitlines():
        if match := re.match(r"    (\w+): [^#]*(?:# (.*))?", line):
            name = match[1]
            if match[2]:
                found[name] = match[2]
        elif name in found and (match := re.match(r"    # (.*)", line)):
            found[name] += f" {match[1]}"
    return found
