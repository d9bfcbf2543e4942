"""A sample of the tests of `make torture`: each in small, for what it shows but not for figures."""

from __future__ import annotations

import pytest

from torture import churn, hostile, hour, killed, reconnect, sigterm, takeover
from torture.verdict import Torture

SAMPLES = [
    (churn.TORTURE, 0.0002),
    (killed.TORTURE, 0.001),
    (reconnect.TORTURE, 0.001),
    (sigterm.TORTURE, 0.003),
    (takeover.TORTURE, 0.05),
    (hostile.TORTURE, 0.01),
    (hour.TORTURE, 0.002),
]


@pytest.mark.parametrize(("test", "scale"), SAMPLES, ids=lambda value: getattr(value, "name", ""))
def test_a_sample(test: Torture, scale: float) -> None:
    verdict = test.run(scale)
    assert verdict.wrong == [], verdict.figures
