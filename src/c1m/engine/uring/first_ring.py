"""The first ring of an engine, or why there is none."""

from __future__ import annotations

from c1m.clock import Clock
from c1m.engine.uring.rings import RingSet, Tuning
from c1m.errors import EngineUnavailable, LimitError
from c1m.kernel.real import Kernel
from c1m.kernel.refusals import refusal


def first_ring(kernel: Kernel, tuning: Tuning, clock: Clock, needs_descriptors: bool) -> RingSet:
    """The rings, of which the first is there. Raises EngineUnavailable."""
    if needs_descriptors and not kernel.features.descriptors:
        kernel.shutdown()
        raise EngineUnavailable(
            "io_uring on this kernel makes no descriptor of a connection or does not name its peer,"
            " which an event loop, and limits by address, need.",
            "Use Linux 6.8 or later.",
        )
    try:
        return RingSet(kernel, tuning, clock)
    except LimitError as error:
        kernel.shutdown()
        raise EngineUnavailable(error.message, error.remedy) from None
    except (OSError, MemoryError) as error:
        kernel.shutdown()
        raise EngineUnavailable(*refusal("memory for the uring engine", error)) from None
