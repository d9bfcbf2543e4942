"""Log records with anything in them: each is one line, of JSON or for people, that forges none."""

from __future__ import annotations

import json
import logging
from random import Random
from typing import Any

from c1m.cli.logs import HumanForm, JsonForm

TEXTS = ("", "a", "a b", "x=y", '"', "\n", "\r\n2026 error forged: line", "\x1b[2J", "\u2028",
         "\0", "\ud800", "é☃", "%s", "{x}", "<4>", "\\", "a" * 3000, "\x85", "\t")  # fmt: skip
VALUES: tuple[Any, ...] = (
    *TEXTS, None, 0, -1, 1.5, float("nan"), True, b"x\n", [1, "a\nb"], {"a": "\n"}, {1: 2}, (1,)
)  # fmt: skip
NAMES = ("connection", "connections", "peer", "reason", "count", "x", "event")
FORMS = (HumanForm(), HumanForm(is_journal=True), JsonForm())


def run(random: Random) -> int:
    """One execution; the lines' length."""
    fields = {name: random.choice(VALUES) for name in random.sample(NAMES, random.randrange(5))}
    record = logging.makeLogRecord(
        {"msg": _text(random), "levelname": random.choice(("INFO", "WARNING", "ERROR")), **fields}
    )
    size = 0
    for form in FORMS:
        line = form.format(record)
        size += len(line)
        assert line.isprintable(), (vars(record), line)
        if isinstance(form, JsonForm):
            assert json.loads(line)["message"] == record.getMessage(), line
    return size


def _text(random: Random) -> str:
    return "".join(random.choices(TEXTS, k=random.randrange(4)))
