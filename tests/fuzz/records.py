"""Records that were changed, in several places or byte by byte: each is shown and compared, or
refused with what to do."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

from property.test_odd_records_property import BASES, ODD, PLACES, RECORDS, odd_text, show

from .streams import mutated

TOKENS = (
    *(odd.encode() for odd in ODD if len(odd) < 500),
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\ud800", b"\\u0000", b"\xff", b"-", b"e9", b"0"),
)


def run(random: Random) -> int:
    """One execution; the file's length."""
    which = random.randrange(len(BASES))
    base, text = BASES[which], ""
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        place = random.choice(PLACES[which])
        try:
            text = odd_text(base, place, random.choice(ODD))
            base = json.loads(text)
        except (KeyError, IndexError, TypeError, ValueError, RecursionError):
            continue  # that place has gone, or it is no JSON any more
    data = (text or json.dumps(base)).encode()
    if random.random() < 0.3:
        data = mutated(random, data, TOKENS, 0.6)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "odd.json"
        path.write_bytes(data)
        show(path, RECORDS[which])
    return len(data)
