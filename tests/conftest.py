"""For all tests: a test says what is right, never how long it may take on a busy machine.

The examples of a property are the same in each run: what passed for its author passes for all.
`C1M_EXAMPLES=50` tries 50 times as many, and others each time: do so with a property that is new.
"""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("C1M_EXAMPLES", "0"))

settings.register_profile(
    "c1m",
    deadline=None,
    derandomize=not TIMES,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # it looks at the clock
)
settings.load_profile("c1m")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `C1M_EXAMPLES`, that many times the examples that each property asks for."""
    if not TIMES:
        return
    changed = set()
    for item in items:
        for owner, name in (
            (getattr(item, "function", None), "_hypothesis_internal_use_settings"),
            (getattr(item, "cls", None), "settings"),  # of a state machine
        ):
            own = getattr(owner, name, None)
            if isinstance(own, settings) and owner not in changed:
                changed.add(owner)
                setattr(owner, name, settings(own, max_examples=own.max_examples * TIMES))


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: collections, of which some tests make many, leave them."""
    gc.collect()
    gc.freeze()
