"""Mercure's topics, templates and updates: what is covered is what may be, at no more than a cost.

Whatever a template expands to is covered by it; a table finds what selectors cover; the steps that
matching takes are counted, and grow with the length of a name, not with the number of ways to read
it. Queries and updates of all kinds are understood or are Mistakes.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from uritemplate import expand

from c1m.push.asked import Limits
from c1m.push.mercure import FORM, subscription_of, update_of
from c1m.push.mistakes import Mistake
from c1m.push.topics import Selected, Selectors, key_of

LIMITS = Limits(20, 10_000)
OPERATORS = ("", "", "+", "#", ".", "/", ";", "?", "&")
NAMES = ("a", "b", "id", "x.y")
PIECES = ("https://e.com/", "/", "a", "b", "é", "☃", " ", ".", "?", "&", "=", "%2F", "x" * 50, "'")
ODD = ("{", "}", "{}", "{=a}", "{a,}", "{{a}}", "{a:0}", "{a:3}", "\0", "*", "{é}", "\x7f", "{a b}")
FIELDS = ("topic", "data", "id", "type", "retry", "private", "match", "Match", "lastEventID", "x")
VALUES = ("", "a", "*", "1", "-1", "99", "#a", "earliest", "a\nb", "\0", "é", "x" * 600, "{id}",
          "/.well-known/mercure", "http://[", "/u/{id}", "urn:uuid:1", "\r", "%00")  # fmt: skip


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    choice = random.random()
    if choice < 0.4:
        return _expansions(random)
    if choice < 0.7:
        return _names(random)
    return _asked(random)


def _template(random: Random, odd: float) -> str:
    parts = []
    for _ in range(random.choice((1, 2, 3, 5, 20))):
        if random.random() < odd:
            parts.append(random.choice(ODD))
        elif random.random() < 0.5:
            parts.append(random.choice(PIECES))
        else:
            names = random.sample(NAMES, random.randrange(1, 4))
            names = [name + random.choice(("", "", "*")) for name in names]
            parts.append("{" + random.choice(OPERATORS) + ",".join(names) + "}")
    return "".join(parts)


def _value(random: Random) -> Any:
    words = ["".join(random.choices("ab/%é☃,;=&?#. ", k=random.randrange(6))) for _ in range(3)]
    return random.choice((words[0], words, dict.fromkeys(words, "v"), "", [], 5))


def _expansions(random: Random) -> int:
    template = _template(random, 0)
    if template.count("{") > 8:
        return 0
    values = {name: _value(random) for name in NAMES if random.random() < 0.8}
    topic = expand(template, values)
    selectors = Selectors(templates=[template])
    assert len(topic) > 500 or selectors.covers(topic), (template, topic)
    return len(topic)


def _names(random: Random) -> int:
    texts = [(_template(random, 0.3), random.random() < 0.7) for _ in range(4)]
    names = ["".join(random.choices(PIECES + ODD, k=random.randrange(60))) for _ in range(4)]
    table = Selected(4)
    for slot, (text, is_template) in enumerate(texts):
        table.add_all(np.array([slot], np.int32), key_of(text, is_template))
    for name in [*names, *(text for text, _ in texts)]:
        found = {slot for key in table.covering(name) for slot in table.slots(key).tolist()}
        slow = {slot for slot, (text, is_template) in enumerate(texts)
                if Selectors.of([key_of(text, is_template)]).covers(name)}  # fmt: skip
        assert found == slow, (texts, name)
    table.forget(np.arange(4, dtype=np.int32))
    assert not table.covering(names[0])
    return sum(map(len, names))


def _asked(random: Random) -> int:
    fields = [(random.choice(FIELDS), random.choice(VALUES)) for _ in range(random.randrange(8))]
    body = "&".join(f"{name}={value}" for name, value in fields).encode()
    if random.random() < 0.2:
        at = random.randrange(len(body) + 1)
        body = body[:at] + random.randbytes(3) + body[at:]
    try:
        said = update_of(FORM, body, LIMITS)
        assert said.channels and not {"\n", "\r", "\0"} & set(said.id + said.event)
        assert "*" not in said.channels
    except Mistake as mistake:
        assert mistake.status in (400, 413) and mistake.why
    query: dict[str, list[str]] = {}
    for name, value in fields:
        query.setdefault(name, []).append(value)
    try:
        wanted = subscription_of(query, random.choice((None, b"x", b"\xff")), LIMITS)
        assert wanted.channels or wanted.selectors
    except Mistake as mistake:
        assert mistake.status == 400 and mistake.why
    return len(body)
