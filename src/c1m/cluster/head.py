"""Who an attempt at a part is, where it runs, and what was asked of it. Pure.

It stands first in the file of its frames, and the controller is told it before anything is opened:
so what became of an attempt can be put together without its own record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from c1m.errors import C1mError
from c1m.loadgen.stages import Stage
from c1m.results import codec
from c1m.results.options import LoadOptions
from c1m.results.record import Metadata, StageResult

FORMAT = "c1m-part/1"


@dataclass(frozen=True, slots=True)
class Head:
    """Attempt `attempt`, from 0, at part `part` of `of`. `machine` and `network` tell the machine,
    and the network namespace, from others: what two parts share is not counted twice."""

    format: str = FORMAT
    run: str = ""
    part: int = 0
    of: int = 1
    attempt: int = 0
    worker: str = ""
    host: str = ""
    address: str = ""
    machine: str = ""
    network: str = ""
    started: str = ""  # as of a record
    scenario: str = ""
    assumed: str = ""
    asked: LoadOptions = field(default_factory=LoadOptions)  # of this part
    stages: list[StageResult] = field(default_factory=list)  # of this part, without results
    metadata: Metadata = field(default_factory=Metadata)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(codec.encode(self), allow_nan=False)

    @classmethod
    def read(cls, text: str | bytes) -> Head:
        """What `text` gave. Raises C1mError for anything else."""
        try:
            data: Any = json.loads(text)
            if not isinstance(data, dict) or data.get("format") != FORMAT:
                found = data.get("format") if isinstance(data, dict) else None
                raise C1mError(f"its format is {found!r}; this c1m reads {FORMAT!r}")
            return codec.decode(cls, data)
        except ValueError as error:
            raise C1mError(f"its head is damaged: {error}") from error


def planned(stages: Sequence[Stage]) -> list[StageResult]:
    """The stages of a plan as a record has them, without results."""
    return [
        StageResult(
            name=one.name, text=one.text, connections_from=one.connections_from,
            connections_to=one.connections_to, rate_from_per_s=one.rate_from,
            rate_to_per_s=one.rate_to,
        )
        for one in stages
    ]  # fmt: skip
