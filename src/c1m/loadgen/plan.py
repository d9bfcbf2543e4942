"""What a run is to do, made and checked before anything is opened. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from c1m.loadgen.pacing import Window
from c1m.loadgen.sources import AddressPlan
from c1m.loadgen.stages import Stage
from c1m.scenarios.base import Scenario

REQUEST_BYTES_MAX = 1 << 26  # messages made before the engine is waited for again


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a run is to do; made and checked before anything is opened."""

    connections: int  # the most that there are at once
    stages: list[Stage]
    scenario: Scenario  # begun for so many connections
    addresses: AddressPlan
    window: Window
    timeout_ns: int  # a connect or a reply that takes longer is given up
    pipeline: int = 1  # requests in flight on a connection at most
    is_poisson: bool = False
    zipf: float | None = None  # None: uniform over the connections
    seed: int = 0
    spins: bool = False  # looks for replies instead of sleeping, while there is load
    message_bytes: int = 64  # about: bounds what is made at once
    target: str = ""


def wanted(stage: Stage, elapsed_s: float) -> int:
    """How many connections a stage wants so long after it began."""
    if stage.is_timed or stage.seconds is None:
        return stage.connections_to
    share = min(elapsed_s / stage.seconds, 1.0)
    return stage.connections_from + round(share * (stage.connections_to - stage.connections_from))


def end_of(start_ns: int, stage: Stage) -> int:
    """When a stage that began at `start_ns` is over by its time; `start_ns` where it has none."""
    return start_ns + round((stage.seconds or 0) * 1e9)
