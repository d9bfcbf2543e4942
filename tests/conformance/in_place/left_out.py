"""A plugin of pytest that leaves out the tests whose names match one of $LEFT_OUT's patterns."""

from __future__ import annotations

import json
import os
from fnmatch import fnmatchcase

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    patterns = json.loads(os.environ["LEFT_OUT"])
    # [ and ] stand for themselves: parameters are in them.
    patterns = [pattern.replace("[", "[[]") for pattern in patterns]
    left_out = [item for item in items if any(fnmatchcase(item.nodeid, p) for p in patterns)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
